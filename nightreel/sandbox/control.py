"""The control path: everything under `/sandbox/`, for callers on this machine."""

import json
from ipaddress import ip_address

from werkzeug.wrappers import Request, Response

from nightreel.sandbox.account import RECLAIMED, Account
from nightreel.sandbox.faults import HOST_KINDS, Fault, FaultPlan
from nightreel.sandbox.hosts import Hosts
from nightreel.sandbox.settings import SandboxError


class ControlPath:
    """`/sandbox/faults` (GET, POST, DELETE) and `/sandbox/instances` (GET)."""

    def __init__(self, account: Account, hosts: Hosts, faults: FaultPlan, *, host: str) -> None:
        self._account = account
        self._hosts = hosts
        self._faults = faults
        self._host = host

    def answer(self, request: Request) -> Response:
        """Answer one request."""
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
            if fault.kind in HOST_KINDS and not self._afflict(fault):
                return _json({"error": f"{fault.instance} has no running host"}, 404)
        except (ValueError, SandboxError) as error:
            return _json({"error": str(error)}, 400)
        if fault.kind not in HOST_KINDS:
            self._faults.add(fault)
        return _json(fault.as_json(), 201)

    def _afflict(self, fault: Fault) -> bool:
        """Let it happen to a running instance at once; False when there is no such one. Raises SandboxError."""
        match fault.kind:
            case "crash":
                return self._hosts.crash(fault.instance)
            case "drop":
                return self._hosts.drop(fault.instance)
            case "reclaim":
                return self._reclaim(fault.instance)
        return self._hosts.plug(fault.instance, connected=fault.kind == "heal")

    def _reclaim(self, instance_id: str) -> bool:
        with self._hosts.lock:
            instance = self._account.find(instance_id)
            if instance is None or instance.state not in ("pending", "running"):
                return False
            if instance.lifecycle != "spot":
                raise SandboxError(f"{instance_id} is no spot instance, which alone EC2 takes back")
            message = "Spot instance termination"
            self._account.shut_down(instance, code=RECLAIMED, message=message, terminate=True)
            self._hosts.reconcile()
            return True


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, content_type="application/json")
