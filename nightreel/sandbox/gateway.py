"""The sandbox's AWS endpoint: moto, behind a gateway that owns what moto lacks of EC2.

That is client tokens, MinCount below MaxCount, security groups in use, the console output, faults on demand, and a
journal of every request. Launch templates are still moto's own: it ignores their subnet, metadata and shutdown options,
so pass those in the call. Everything under `/sandbox/` is the control path, for callers on this machine.
"""

import base64
import hashlib
import io
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode
from xml.sax.saxutils import escape

from werkzeug.wrappers import Request, Response

from nightreel.sandbox.account import DEAD, ROOT_DEVICE, Account
from nightreel.sandbox.faults import Fault, FaultPlan
from nightreel.sandbox.hosts import Hosts

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15/"
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request to the AWS endpoint. `params` are those of an EC2 call in the wire's flat names, else empty."""

    environ: "WSGIEnvironment"
    service: str
    region: str
    action: str
    params: Mapping[str, str]

    @classmethod
    def read(cls, environ: "WSGIEnvironment") -> "Call":
        """Read the request; the body of a form is consumed, any other body is left alone."""
        scope = re.search(r"Credential=[^/]+/\d+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        region, service = (scope[1], scope[2]) if scope else ("", "")
        action = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
        form: dict[str, str] = {}
        if environ.get("CONTENT_TYPE", "").startswith(_FORM):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            form = dict(parse_qsl(body.decode(), keep_blank_values=True))
            action = form.get("Action", action)
        return cls(environ=environ, service=service, region=region, action=action, params=form)

    def altered(self, params: Mapping[str, str]) -> "Call":
        """The same call with other parameters."""
        body = urlencode(params).encode()
        environ = {**self.environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        return Call(environ=environ, service=self.service, region=self.region, action=params["Action"], params=params)

    @property
    def ids(self) -> list[str]:
        """The instances that the call names."""
        return [value for name, value in self.params.items() if re.fullmatch(r"InstanceId(\.\d+)?", name)]


class ApiError(Exception):
    """An answer that is an EC2 error."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status

    def response(self) -> Response:
        """The error as EC2 writes it."""
        return _xml(
            f"<Response><Errors><Error><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message>"
            "</Error></Errors><RequestID>sandbox</RequestID></Response>",
            status=self.status,
        )


class Gateway:
    """A WSGI application: the control path, or AWS."""

    def __init__(self, aws: "WSGIApplication", account: Account, hosts: Hosts, *, journal: Path, host: str) -> None:
        self._aws = aws
        self._account = account
        self._hosts = hosts
        self._host = host
        self._faults = FaultPlan()
        self._launches: dict[tuple[str, str], tuple[str, list[str]]] = {}
        self._journal = journal.open("a", buffering=1)
        self._journal_lock = Lock()
        self._actions: dict[str, Callable[[Call], Response]] = {
            "RunInstances": self._run_instances,
            "StartInstances": self._change_living,
            "StopInstances": self._change_living,
            "RebootInstances": self._refuse_reboot,
            "TerminateInstances": self._change,
            "DeleteSecurityGroup": self._delete_security_group,
            "GetConsoleOutput": self._console_output,
        }

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if environ.get("PATH_INFO", "").startswith("/sandbox/"):
            return self._control(Request(environ))(environ, start_response)
        call = Call.read(environ)
        try:
            response = self._answer(call)
        except ApiError as error:
            response = error.response()
        self._note(call, response.status_code)
        return response(environ, start_response)

    def _answer(self, call: Call) -> Response:
        if delay := self._faults.take(["delay"], call.action, call.params):
            time.sleep(delay.seconds)
        if fault := self._faults.take(["error"], call.action, call.params):
            message = fault.message or f"{fault.code}: injected by the sandbox."
            raise ApiError(fault.code, message, fault.http_status)
        if call.service != "ec2":
            return self._forward(call)
        with self._hosts.lock:
            return self._actions.get(call.action, self._forward)(call)

    def _forward(self, call: Call) -> Response:
        return Response.from_app(self._aws, call.environ, buffered=True)

    def _note(self, call: Call, status: int) -> None:
        params = {name: value for name, value in call.params.items() if name not in ("Action", "Version")}
        if user_data := params.get("UserData"):  # it carries private keys
            params["UserData"] = f"sha256:{hashlib.sha256(user_data.encode()).hexdigest()}"
        entry = {
            "time": time.time(), "service": call.service, "region": call.region, "action": call.action,
            "method": call.environ["REQUEST_METHOD"], "path": call.environ.get("PATH_INFO", ""),
            "params": params, "status": status,
        }  # fmt: skip
        with self._journal_lock:
            self._journal.write(json.dumps(entry) + "\n")

    # ---- RunInstances

    def _run_instances(self, call: Call) -> Response:
        """Launch once per client token; the answer always shows the states of now."""
        token = call.params.get("ClientToken")
        if not token or call.params.get("DryRun") == "true":
            return self._launch(call)[0]
        digest = _digest(call.params)
        known = self._launches.get((call.region, token))
        if known is None:
            response, ids = self._launch(call)
            if ids:
                self._launches[call.region, token] = (digest, ids)
            return response
        if known[0] != digest:
            raise ApiError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        return self._reservation(call, known[1])

    def _launch(self, call: Call) -> tuple[Response, list[str]]:
        response = self._forward(call.altered(self._launch_params(call)))
        ids = re.findall(r"<instanceId>(i-\w+)</instanceId>", response.get_data(as_text=True))
        if response.status_code != 200 or not ids:
            return response, []
        self._account.complete_launch(ids, call.params)
        for instance_id in ids:
            if fault := self._faults.take(["mute", "host-key"], call.action, call.params):
                self._hosts.expect_fault(instance_id, fault)
        self._hosts.reconcile()
        return self._reservation(call, ids), ids

    def _launch_params(self, call: Call) -> dict[str, str]:
        """What moto needs to be told to do as EC2 does."""
        count = str(self._launch_count(call))
        params = {**call.params, "MinCount": count, "MaxCount": count}  # moto launches MinCount
        prefix = ""
        for name, value in call.params.items():
            match re.sub(r"\.\d+\.", ".N.", name), value:
                case "NetworkInterface.N.DeviceIndex", "0":
                    prefix = name.removesuffix("DeviceIndex")
                    params.setdefault(f"{prefix}DeleteOnTermination", "true")
                case "BlockDeviceMapping.N.DeviceName", device if device == ROOT_DEVICE:
                    params.setdefault(name.removesuffix("DeviceName") + "Ebs.DeleteOnTermination", "true")
        default = self._account.default_subnet(call.region, params.get("Placement.AvailabilityZone"))
        if default and f"{prefix}NetworkInterfaceId" not in params:
            params.setdefault(f"{prefix}SubnetId", default)
        return params

    def _launch_count(self, call: Call) -> int:
        least, most = int(call.params.get("MinCount", 1)), int(call.params.get("MaxCount", 1))
        if not 1 <= least <= most:
            raise ApiError("InvalidParameterValue", f"MinCount {least} and MaxCount {most} are no range of counts.")
        shortage = self._faults.take(["capacity"], call.action, call.params)
        if shortage and shortage.available < least:
            raise ApiError(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {call.params.get('InstanceType', '')} capacity in the "
                "Availability Zone you requested. (Injected by the sandbox.)",
                500,
            )
        return min(most, shortage.available) if shortage else most

    def _reservation(self, call: Call, ids: list[str]) -> Response:
        """The answer of RunInstances, made of a fresh description: one reservation has the same members in both."""
        query = {f"InstanceId.{number}": instance_id for number, instance_id in enumerate(ids, 1)}
        described = self._forward(call.altered({"Action": "DescribeInstances", "Version": "2016-11-15", **query}))
        text = described.get_data(as_text=True)
        match = re.search(r"<reservationSet>\s*<item>(.*)</item>\s*</reservationSet>", text, re.DOTALL)
        if match is None:
            return described
        return _xml(
            f'<RunInstancesResponse xmlns="{_NAMESPACE}"><requestId>sandbox</requestId>{match[1]}'
            "</RunInstancesResponse>"
        )

    # ---- other actions

    def _change(self, call: Call) -> Response:
        response = self._forward(call)
        self._hosts.reconcile()
        return response

    def _change_living(self, call: Call) -> Response:
        """Start or stop; moto would raise the dead."""
        for instance in filter(None, map(self._account.find, call.ids)):
            if instance.state in DEAD:
                raise ApiError(
                    "IncorrectInstanceState",
                    f"The instance '{instance.id}' is not in a state from which it can be started or stopped.",
                )
        return self._change(call)

    def _refuse_reboot(self, call: Call) -> Response:
        raise ApiError("UnsupportedOperation", "The sandbox does not simulate reboots; stop and start the instance.")

    def _delete_security_group(self, call: Call) -> Response:
        group = call.params.get("GroupId", "")
        if users := self._account.users_of_group(group):
            raise ApiError(
                "DependencyViolation", f"resource {group} has a dependent object (in use by {', '.join(users)})"
            )
        return self._forward(call)

    def _console_output(self, call: Call) -> Response:
        instance_id = call.params.get("InstanceId", "")
        if self._account.find(instance_id) is None:
            return self._forward(call)  # moto knows the error
        output = base64.b64encode(self._hosts.console(instance_id).encode()).decode()
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        return _xml(
            f'<GetConsoleOutputResponse xmlns="{_NAMESPACE}"><requestId>sandbox</requestId><instanceId>{instance_id}'
            f"</instanceId><timestamp>{now}</timestamp><output>{output}</output></GetConsoleOutputResponse>"
        )

    # ---- the control path

    def _control(self, request: Request) -> Response:
        """`/sandbox/faults` (GET, POST, DELETE) and `/sandbox/instances` (GET)."""
        caller = ip_address(request.remote_addr or "::")
        # The Host header keeps web pages out that had their name resolve to this address.
        if not caller.is_loopback or request.host != self._host:
            return _json({"error": f"the control path answers on {self._host} to callers on this machine alone"}, 403)
        match request.method, request.path:
            case "GET", "/sandbox/instances":
                return _json(self._hosts.view())
            case "GET", "/sandbox/faults":
                return _json(self._faults.view())
            case "DELETE", "/sandbox/faults":
                self._faults.clear()
                return _json([])
            case "POST", "/sandbox/faults":
                return self._set_fault(request)
        return _json({"error": f"there is no {request.method} {request.path} on the control path"}, 404)

    def _set_fault(self, request: Request) -> Response:
        try:
            fault = Fault.from_json(json.loads(request.get_data()))
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        if fault.kind != "crash":
            self._faults.add(fault)
        elif not self._hosts.crash(fault.instance):
            return _json({"error": f"{fault.instance} has no running host"}, 404)
        return _json(fault.as_json(), 201)


def _digest(params: Mapping[str, str]) -> str:
    """What must be the same in a repeat with the same client token."""
    return hashlib.sha256(json.dumps(sorted(params.items())).encode()).hexdigest()


def _xml(body: str, status: int = 200) -> Response:
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>{body}', status, content_type="text/xml;charset=UTF-8")


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, content_type="application/json")
