from typing import Any

import pytest
from airflow.sdk.definitions.param import ParamsDict
from airflow.sdk.exceptions import ParamValidationError

from nightreel.airflow.params import SEARCHED, form, job_arguments, last_winner
from nightreel.bundle.schema import BundleMetadata


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


def trained(parameters: dict[str, Any], **details: Any) -> BundleMetadata:
    return BundleMetadata(
        run_id="r1",
        created="2026-01-01T00:00:00Z",
        dataset={},
        parameters=parameters,
        versions={},
        evaluation=[],
        taste={},
        code_revision="unknown",
        details=details,
    )


def test_a_search_s_winner_fills_the_fields_it_searched() -> None:
    parameters = {"rank": 48, "reg": 0.1, "alpha": 2.0, "half_like": 0.25, "kinship": 1.0, "iterations": 10}
    winner = last_winner(trained(parameters, search=[{"score": 0.7}]))
    assert winner == {"rank": 48, "regularisation": 0.1, "alpha": 2.0, "half_like": 0.25, "kinship": 1.0}
    assert set(winner) <= set(form())
    assert winner.keys() == SEARCHED.keys()


def test_parameters_without_a_search_are_no_winner() -> None:
    assert last_winner(trained({"rank": 48})) == {}
