"""The OpenAPI document: what ninja derives from the code, plus the refusals, headers and bodies that it can not see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from ninja import NinjaAPI

from recommender.api_schemas import ProblemOut

REASONS = {
    400: "The request asks for something that can not be answered; the sentence says what can.",
    401: "There is no good token.",
    403: "The token may do something else.",
    404: "There is no such thing, or no model yet.",
    411: "The length is missing.",
    413: "The body is too large.",
    422: "The content is not valid; whatever served before goes on.",
    503: "The published model can not be opened.",
    507: "The disk is nearly full.",
}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}
MODEL_HEADER = "Nightreel-Model"
CACHE_HEADERS = {
    "ETag": {"schema": {"type": "string"}, "description": "Changes with the model and with nothing else."},
    MODEL_HEADER: {"schema": {"type": "string"}, "description": "SHA-256 of the model that answered."},
}


def refusals(*statuses: int) -> dict[int, Any]:
    """Return the documentation of refusals with these statuses."""
    return {status: {"description": REASONS[status], "content": PROBLEM} for status in statuses}


def documented(*statuses: int, cached: bool = False, **operation: Any) -> dict[str, Any]:
    """Return an operation's `openapi_extra`: its refusals, and for what is cached by model the headers and the 304."""
    responses: dict[int, Any] = refusals(*statuses)
    if cached:
        responses[200] = {"headers": CACHE_HEADERS}
        responses[304] = {"description": "The model is still the one of `If-None-Match`.", "headers": CACHE_HEADERS}
        condition = {
            "in": "header",
            "name": "If-None-Match",
            "required": False,
            "schema": {"type": "string"},
            "description": "The ETag of an answer that is at hand.",
        }
        operation["parameters"] = [condition, *operation.get("parameters", [])]
    return {"responses": responses, **operation}


class DocumentedApi(NinjaAPI):
    """An API whose document is whole: refusals have their shape, and examples the form that OpenAPI 3.1 asks for."""

    def get_openapi_schema(self, **options: Any) -> Any:
        """Return the document."""
        document = super().get_openapi_schema(**options)
        document["components"]["schemas"]["ProblemOut"] = ProblemOut.model_json_schema()
        for methods in document["paths"].values():
            for operation in methods.values():
                for parameter in operation["parameters"]:
                    _name_examples(parameter)
        return document


def _name_examples(parameter: dict[str, Any]) -> None:
    """Turn a list of examples, as a schema has it, into a parameter's mapping of examples."""
    examples = parameter.get("examples")
    if isinstance(examples, list):
        parameter["examples"] = {f"example {number}": {"value": value} for number, value in enumerate(examples, 1)}


def page_view(api: NinjaAPI) -> Any:
    """Return the view of the document as a page: no script, nothing from elsewhere."""

    @require_safe
    def api_page(request: HttpRequest) -> HttpResponse:
        document = api.get_openapi_schema()
        operations = [
            {"method": method.upper(), "path": path, "example": _example(path, operation), **operation}
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ]
        return render(request, "recommender/api.html", {"operations": operations, "title": document["info"]["title"]})

    return api_page


def _example(path: str, operation: Mapping[str, Any]) -> str:
    """Return the address of an example: the required parameters and those with an example."""
    words = []
    for parameter in operation["parameters"]:
        values = [example["value"] for example in parameter.get("examples", {}).values()]
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(values[0]) if values else f"{{{parameter['name']}}}")
        elif parameter["in"] == "query" and values and values[0] != "":
            several = values[0] if isinstance(values[0], list) else [values[0]]
            words += [f"{parameter['name']}={value}" for value in several]
    return path + (f"?{'&'.join(words)}" if words else "")
