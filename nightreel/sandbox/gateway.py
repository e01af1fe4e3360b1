"""The sandbox's AWS endpoint: moto, behind a gateway that owns what moto lacks of EC2.

That is client tokens, MinCount below MaxCount, what EC2 refuses, security groups in use, the console output, the spot
market, prices, faults on demand, and a journal of every request. Launch templates are still moto's own: it ignores
their subnet, metadata and shutdown options, so pass those in the call.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from werkzeug.wrappers import Request, Response

from nightreel.sandbox.account import DEAD, Account
from nightreel.sandbox.calls import ApiError, Call, ec2_answer
from nightreel.sandbox.control import ControlPath
from nightreel.sandbox.faults import FaultPlan
from nightreel.sandbox.hosts import Hosts
from nightreel.sandbox.launches import Launches
from nightreel.sandbox.pricing import get_products
from nightreel.sandbox.refusals import refuse_tags
from nightreel.sandbox.spot import SpotMarket

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DENIED = "AKIADENIED"
"""Access keys that begin like this are refused; all others are let in."""


class Gateway:
    """A WSGI application: the control path, or AWS."""

    def __init__(self, aws: "WSGIApplication", account: Account, hosts: Hosts, *, journal: Path, host: str) -> None:
        self._aws = aws
        self._account = account
        self._hosts = hosts
        self._faults = FaultPlan()
        self._control = ControlPath(account, hosts, self._faults, host=host)
        self._spot = SpotMarket(account)
        self._launches = Launches(account, hosts, faults=self._faults, spot=self._spot, forward=self._forward)
        self._journal = journal.open("a", buffering=1)
        self._journal_lock = Lock()
        self._actions: dict[str, Callable[[Call], Response]] = {
            "RunInstances": self._launches.run_instances,
            "StartInstances": self._change_living,
            "StopInstances": self._stop,
            "RebootInstances": self._refuse_reboot,
            "TerminateInstances": self._change,
            "ModifyInstanceAttribute": self._modify_instance,
            "DeleteSecurityGroup": self._delete_security_group,
            "GetConsoleOutput": self._console_output,
            "CreateTags": self._create_tags,
            "DescribeSpotInstanceRequests": self._describe_spot_requests,
            "CancelSpotInstanceRequests": self._spot.cancel,
            "DescribeSpotPriceHistory": self._spot.price_history,
        }

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if environ.get("PATH_INFO", "").startswith("/sandbox/"):
            return self._control.answer(Request(environ))(environ, start_response)
        call = Call.read(environ)
        try:
            response = self._answer(call)
        except ApiError as error:
            response = error.response(call)
        self._note(call, response.status_code)
        return response(environ, start_response)

    def _answer(self, call: Call) -> Response:
        if call.access_key.startswith(DENIED):
            raise _denied(call)
        with self._hosts.lock:
            if call.service == "ec2" and not self._account.has_region(call.region):
                raise ApiError(
                    "AuthFailure",
                    f"Credential should be scoped to a valid region: there is no region '{call.region}'.",
                    401,
                )
            facts = self._launches.facts(call) if call.action == "RunInstances" else call.params
        if delay := self._faults.take(["delay"], call.action, facts):
            time.sleep(delay.seconds)
        if fault := self._faults.take(["error"], call.action, facts):
            message = fault.message or f"{fault.code}: injected by the sandbox."
            raise ApiError(fault.code, message, fault.http_status)
        if (call.service, call.action) == ("pricing", "GetProducts"):
            return get_products(call)
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

    # ---- actions

    def _change(self, call: Call) -> Response:
        response = self._forward(call)
        self._account.speak_as_ec2(call.ids)
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

    def _stop(self, call: Call) -> Response:
        for instance in filter(None, map(self._account.find, call.ids)):
            self._spot.refuse_stop(instance)
        return self._change_living(call)

    def _refuse_reboot(self, call: Call) -> Response:
        raise ApiError("UnsupportedOperation", "The sandbox does not simulate reboots; stop and start the instance.")

    def _modify_instance(self, call: Call) -> Response:
        response = self._forward(call)
        instance = self._account.find(call.params.get("InstanceId", ""))
        if instance and call.numbered("GroupId"):
            self._account.regroup(instance)
        return response

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
        return ec2_answer(
            call.action, f"<instanceId>{instance_id}</instanceId><timestamp>{now}</timestamp><output>{output}</output>"
        )

    def _describe_spot_requests(self, call: Call) -> Response:
        self._spot.require_known(call)
        return self._forward(call)

    def _create_tags(self, call: Call) -> Response:
        keys = {name: key for name, key in call.params.items() if name.startswith("Tag.") and name.endswith(".Key")}
        refuse_tags({key: call.params.get(f"{name.removesuffix('Key')}Value", "") for name, key in keys.items()})
        return self._forward(call)


def _denied(call: Call) -> ApiError:
    """What the services of AWS say to credentials that they do not know, each in its own words."""
    if call.service == "ec2":
        return ApiError("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    message = "The security token included in the request is invalid."
    if call.speaks_json:
        return ApiError("UnrecognizedClientException", message)
    return ApiError("InvalidClientTokenId", message, 403)
