import json

import pytest

from nightreel.airflow.params import form
from nightreel.airflow.settings import Settings


def test_no_variable_means_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_NIGHTREEL_SETTINGS", "")
    assert Settings.load() == Settings()


def test_the_variable_gives_the_forms_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_NIGHTREEL_SETTINGS", json.dumps({"form": {"workers": 7, "rank": 128}}))
    params = form(Settings.load().form)
    assert (params["workers"].value, params["rank"].value, params["alpha"].value) == (7, 128, None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        ('{"workers": 3}', "has workers; supported: form,"),
        ('{"approval_hours": 0}', "approval_hours must be a number above 0"),
        ('{"publish_within_hours": "3"}', "publish_within_hours must be a number"),
        ('{"spark": {"spark.executor.memory": 6}}', "spark must be an object such as"),
        ('{"spark": {"--master": "local"}}', "spark must be an object such as"),
        ('{"archive": "/tmp"}', "archive must be s3://"),
    ],
)
def test_a_variable_that_can_not_be_used_says_why(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Settings.parse(text)


def test_a_default_of_no_field_is_refused() -> None:
    with pytest.raises(ValueError, match="the form has no wokers; it has dataset,"):
        form({"wokers": 3})
