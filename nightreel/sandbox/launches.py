"""RunInstances: once per client token, as many as there are, and with what moto leaves out."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping

from werkzeug.wrappers import Response

from nightreel.sandbox.account import ROOT_DEVICE, Account
from nightreel.sandbox.calls import ApiError, Call, ec2_answer
from nightreel.sandbox.faults import FaultPlan
from nightreel.sandbox.hosts import Hosts
from nightreel.sandbox.refusals import refuse_launch
from nightreel.sandbox.spot import SpotMarket

Forward = Callable[[Call], Response]
"""Let moto answer."""


class Launches:
    """The launches of the account so far. Every method is called under the lock of the hosts."""

    def __init__(
        self, account: Account, hosts: Hosts, *, faults: FaultPlan, spot: SpotMarket, forward: Forward
    ) -> None:
        self._account = account
        self._hosts = hosts
        self._faults = faults
        self._spot = spot
        self._forward = forward
        self._known: dict[tuple[str, str], tuple[str, list[str]]] = {}

    def run_instances(self, call: Call) -> Response:
        """Launch once per client token; the answer always shows the states of now."""
        token = call.params.get("ClientToken")
        if not token or call.params.get("DryRun") == "true":
            return self._launch(call)[0]
        digest = _digest(call.params)
        known = self._known.get((call.region, token))
        if known is None:
            response, ids = self._launch(call)
            if ids:
                self._known[call.region, token] = (digest, ids)
            return response
        if known[0] != digest:
            raise ApiError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        return self._reservation(call, known[1])

    def facts(self, call: Call) -> dict[str, str]:
        """The parameters, and the zone that the instances would be in as `AvailabilityZone`, for faults to match."""
        zone = self._account.zone(call.region, subnet=_subnet(call.params), zone=_zone(call.params))
        return {**call.params, "AvailabilityZone": zone}

    def _launch(self, call: Call) -> tuple[Response, list[str]]:
        refuse_launch(call, self._account)
        self._spot.refuse_price(call)
        response = self._forward(call.altered(self._params(call)))
        ids = re.findall(r"<instanceId>(i-\w+)</instanceId>", response.get_data(as_text=True))
        if response.status_code != 200 or not ids:
            return response, []
        self._account.complete_launch(ids, call.params)
        self._spot.register(call, ids)
        for instance_id in ids:
            if fault := self._faults.take(["mute", "host-key"], call.action, self.facts(call)):
                self._hosts.expect_fault(instance_id, fault)
        self._hosts.reconcile()
        return self._reservation(call, ids), ids

    def _params(self, call: Call) -> dict[str, str]:
        """What moto needs to be told to do as EC2 does."""
        count = str(self._count(call))
        # EC2 ignores mappings of instance stores that the type does not have, which moto refuses.
        stores = tuple(name.removesuffix("VirtualName") for name in call.params if name.endswith(".VirtualName"))
        params = {name: value for name, value in call.params.items() if not name.startswith(stores)}
        params |= {"MinCount": count, "MaxCount": count}  # moto launches MinCount
        prefix = ""
        for name, value in call.params.items():
            match re.sub(r"\.\d+\.", ".N.", name), value:
                case "NetworkInterface.N.DeviceIndex", "0":
                    prefix = name.removesuffix("DeviceIndex")
                    params.setdefault(f"{prefix}DeleteOnTermination", "true")
                case "BlockDeviceMapping.N.DeviceName", device if device == ROOT_DEVICE:
                    params.setdefault(name.removesuffix("DeviceName") + "Ebs.DeleteOnTermination", "true")
        default = self._account.default_subnet(call.region, _zone(params))
        if default and f"{prefix}NetworkInterfaceId" not in params and not params.get(f"{prefix}SubnetId"):
            params[f"{prefix}SubnetId"] = default
        return params

    def _count(self, call: Call) -> int:
        least, most = int(call.params.get("MinCount", 1)), int(call.params.get("MaxCount", 1))
        if not 1 <= least <= most:
            raise ApiError("InvalidParameterValue", f"MinCount {least} and MaxCount {most} are no range of counts.")
        facts = self.facts(call)
        shortage = self._faults.take(["capacity"], call.action, facts)
        if shortage and shortage.available < least:
            raise ApiError(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {call.params.get('InstanceType', '')} capacity in the "
                f"Availability Zone you requested ({facts['AvailabilityZone']}). (Injected by the sandbox.)",
                500,
            )
        return min(most, shortage.available) if shortage else most

    def _reservation(self, call: Call, ids: list[str]) -> Response:
        """The answer of RunInstances, made of a fresh description: one reservation has the same members in both."""
        query = {f"InstanceId.{number}": instance_id for number, instance_id in enumerate(ids, 1)}
        described = self._forward(call.altered({"Action": "DescribeInstances", "Version": "2016-11-15", **query}))
        text = described.get_data(as_text=True)
        match = re.search(r"<reservationSet>\s*<item>(.*)</item>\s*</reservationSet>", text, re.DOTALL)
        return described if match is None else ec2_answer("RunInstances", match[1])


def _zone(params: Mapping[str, str]) -> str | None:
    return params.get("Placement.AvailabilityZone")


def _subnet(params: Mapping[str, str]) -> str | None:
    """The subnet of the call, whichever way it names it."""
    names = (name for name in params if re.fullmatch(r"NetworkInterface\.\d+\.SubnetId", name))
    return params.get("SubnetId") or next((params[name] for name in names), None)


def _digest(params: Mapping[str, str]) -> str:
    """What must be the same in a repeat with the same client token."""
    return hashlib.sha256(json.dumps(sorted(params.items())).encode()).hexdigest()
