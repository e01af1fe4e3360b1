"""A request to the AWS endpoint as the gateway reads it, and the answers it can give by itself."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from werkzeug.wrappers import Response

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/x-amz-json-1.1"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to the AWS endpoint. `params` are those of an EC2 call in the wire's flat names, else empty."""

    environ: "WSGIEnvironment"
    service: str
    region: str
    access_key: str
    action: str
    params: Mapping[str, str]

    @classmethod
    def read(cls, environ: "WSGIEnvironment") -> "Call":
        """Read the request; the body of a form is consumed, any other body is left alone."""
        scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        access_key, region, service = scope.groups() if scope else ("", "", "")
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        form: dict[str, str] = {}
        if environ.get("CONTENT_TYPE", "").startswith(_FORM):
            body = _body(environ)
            environ["wsgi.input"] = io.BytesIO(body)
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
            action = form.get("Action", action)
        return cls(
            environ=environ, service=service, region=region, access_key=access_key, action=action, params=form
        )  # fmt: skip

    def altered(self, params: Mapping[str, str]) -> "Call":
        """The same call with other parameters."""
        body = urlencode(params).encode()
        environ = {**self.environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return Call(
            environ=environ, service=self.service, region=self.region, access_key=self.access_key,
            action=params["Action"], params=params,
        )  # fmt: skip

    def json(self) -> dict[str, Any]:
        """The body of a call that carries JSON; it is consumed. Raises ApiError when it is no object."""
        try:
            value = json.loads(_body(self.environ) or b"{}")
        except ValueError as error:
            raise ApiError("SerializationException", f"the body is not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ApiError("SerializationException", "the body is not a JSON object")
        return value

    def numbered(self, name: str) -> list[str]:
        """The values of a list parameter: `name` alone, or `name.1`, `name.2`, …"""
        return [value for key, value in self.params.items() if re.fullmatch(rf"{re.escape(name)}(\.\d+)?", key)]

    def filters(self) -> dict[str, list[str]]:
        """The `Filter.N` of a Describe call: name and values."""
        starts = [key.removesuffix("Name") for key in self.params if re.fullmatch(r"Filter\.\d+\.Name", key)]
        return {self.params[f"{start}Name"]: self.numbered(f"{start}Value") for start in starts}

    @property
    def ids(self) -> list[str]:
        """The instances that the call names."""
        return self.numbered("InstanceId")

    @property
    def speaks_json(self) -> bool:
        """Whether the service of the call speaks JSON rather than XML."""
        return bool(self.environ.get("CONTENT_TYPE", "").startswith("application/x-amz-json"))


class ApiError(Exception):
    """An answer that is an error of the API."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status

    def response(self, call: Call) -> Response:
        """The error as the service of the call writes it."""
        if call.speaks_json:
            body = json.dumps({"__type": self.code, "message": self.message})
            return Response(body, self.status, content_type=_JSON)
        return xml_response(
            f"<Response><Errors><Error><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message>"
            "</Error></Errors><RequestID>sandbox</RequestID></Response>",
            status=self.status,
        )


def ec2_answer(action: str, content: str) -> Response:
    """The answer of an EC2 action with this XML content."""
    name = f"{action}Response"
    return xml_response(f'<{name} xmlns="{_NAMESPACE}"><requestId>sandbox</requestId>{content}</{name}>')


def xml_response(body: str, status: int = 200) -> Response:
    """An answer in XML."""
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{body}', status, content_type="text/xml;charset=UTF-8")


def aws_json_response(value: object) -> Response:
    """An answer of a service that speaks JSON."""
    return Response(json.dumps(value), content_type=_JSON)


def _body(environ: "WSGIEnvironment") -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return body
