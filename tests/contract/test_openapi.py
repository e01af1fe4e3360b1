"""Schemathesis against the API's own document: whatever it generates, no answer may be one that is not in there.

`make contract` asks far more per operation than `make test` does: CONTRACT_EXAMPLES says how many.
"""

from __future__ import annotations

import os

import pytest
import schemathesis
from django.core.handlers.wsgi import WSGIHandler
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks

from recommender import exports
from recommender.tokens import EXPORT, UPLOAD, ApiToken
from tests.web.made_bundles import IDS, MadeBundle
from tests.web.test_api_contract import ROWS

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "10"))
CHECKED = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
    checks.unsupported_method,
    checks.allow_header_conformance,
]


@schemathesis.serializer("application/vnd.apache.arrow.file", "text/html")
def raw_bytes(context, value):
    """Bodies are sent as they were made up."""
    return getattr(value, "data", value) if not isinstance(value, str) else value.encode(errors="replace")


document = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", WSGIHandler())


@pytest.fixture
def token(model, monkeypatch):
    """A token for every door of a site with a model, and ratings behind the one of the export."""
    monkeypatch.setattr(exports, "consented_ratings", lambda moment: ROWS)
    return ApiToken.objects.issue(name="tester", scopes=[UPLOAD, EXPORT], lifetime=None)[1]


@pytest.mark.timeout(600 + 10 * EXAMPLES)
@document.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES <= 10,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_answers_are_those_of_the_document(case, token, model, make):
    if case.operation.security:
        case.headers["Authorization"] = f"Bearer {token}"
    lead_home(case, model)
    case.call_and_validate(checks=CHECKED)


def lead_home(case, model):
    """Let every other case name what there is, so that good answers are held to the document too."""
    if len(repr((case.query, case.path_parameters, case.headers))) % 2:
        return
    query = dict(case.query or {})
    if "sha256" in case.path_parameters:
        case.path_parameters["sha256"] = model.sha256
    if "movie_id" in case.path_parameters:
        case.path_parameters["movie_id"] = IDS["Toy Story"]
    if case.operation.path.endswith("/recommendations"):
        known = {"without": ["Drama"]} | ({} if "surprise" in query else {"seed": ["100:5", "101:1.5"]})
        case.query = {name: value for name, value in query.items() if name not in {"seed", "genre", "without"}} | known
    if case.operation.path.endswith("/ratings"):
        case.query = {name: value for name, value in query.items() if name == "limit"}
    if case.method == "PUT" and case.operation.path.endswith("{sha256}"):
        case.headers["Content-Digest"] = MadeBundle(model.stored.path.read_bytes()).content_digest
        case.body = model.stored.path.read_bytes()
