import pytest
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from nightreel.airflow.params import form, job_arguments


def test_empty_fields_leave_the_job_its_defaults() -> None:
    assert job_arguments(ParamsDict(form()).dump()) == []


def test_filled_fields_become_options() -> None:
    params = ParamsDict(form()).dump() | {"rank": 32, "regularisation": 0.5}
    assert job_arguments(params) == ["--rank", "32", "--reg", "0.5"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workers", 0),
        ("workers", 51),
        ("rank", 4),
        ("alpha", -1),
        ("instance_type", "big one"),
        ("lifetime_hours", 7.9),
    ],
)
def test_values_out_of_bounds_are_refused(field: str, value: object) -> None:
    params = ParamsDict(form())
    with pytest.raises(ParamValidationError):
        params[field] = value  # checked as it is set
