"""What can be made to go wrong in the sandbox, and when. Set over its control path; see `client.Sandbox.inject`."""

import threading
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Kind = Literal["error", "delay", "capacity", "mute", "host-key", "crash", "drop", "cut", "heal", "reclaim"]
HOST_KINDS = ("crash", "drop", "cut", "heal", "reclaim")
"""Kinds that happen to one running instance at once, rather than to calls that are still to come."""

_STATUS = {
    "InsufficientInstanceCapacity": 500,
    "InternalError": 500,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
    "AuthFailure": 401,
    "UnauthorizedOperation": 403,
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong.

    kind: `error` answers a call with an error; `delay` lets it wait; `capacity` lets RunInstances have no more than
        `available` instances; `mute` gives a launched instance a host that accepts SSH connections and never answers;
        `host-key` one with another host key than its user data asks for. At once, to the host of `instance`: `crash`
        kills it; `drop` cuts its SSH sessions; `cut` pulls its network plug and `heal` puts it in again (where hosts
        have networks of their own); `reclaim` lets EC2 take back a spot instance.
    action: the API action that is hit, `*` for every one (host faults: always RunInstances).
    params: request parameters that must have these values, in the wire's flat names (`InstanceType`,
        `InstanceMarketOptions.MarketType`), and of RunInstances also the `AvailabilityZone` that comes of them; a value
        that ends in `*` stands for all that begin like it.
    tags: tags that the request must put on its instances.
    after: how many matching calls (host faults: instances) pass first; times: how many are hit then.
    code, status, message: the error; the HTTP status follows from the code unless given.
    seconds: how long a delay is.
    """

    kind: Kind = "error"
    action: str = "RunInstances"
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    after: int = 0
    times: int = 1
    code: str = "InternalError"
    status: int | None = None
    message: str = ""
    seconds: float = 0.0
    available: int = 0
    instance: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"there is no fault kind {self.kind!r}; supported: {', '.join(get_args(Kind))}")
        if self.after < 0 or self.times < 1 or self.seconds < 0 or self.available < 0:
            raise ValueError("`after`, `seconds` and `available` are at least 0 and `times` is at least 1")
        if self.kind in HOST_KINDS and not self.instance:
            raise ValueError(f"the fault {self.kind!r} needs the id of an `instance`")

    @classmethod
    def from_json(cls, value: Any) -> "Fault":
        """Read a fault from decoded JSON; ValueError says what is wrong with it."""
        try:
            return cls(**value)
        except TypeError as error:
            raise ValueError(f"not a fault: {error}") from error

    def as_json(self) -> dict[str, Any]:
        """The fault as JSON can carry it."""
        return asdict(self)

    @property
    def http_status(self) -> int:
        """The status of the error, as EC2 pairs it with the code."""
        return self.status or _STATUS.get(self.code, 400)

    def matches(self, action: str, params: Mapping[str, str]) -> bool:
        """Whether a call to `action` with these flat parameters is one that this fault is about."""
        if self.action not in (action, "*"):
            return False
        if not all(_is_like(params.get(name), value) for name, value in self.params.items()):
            return False
        return not self.tags or self.tags.items() <= instance_tags(params).items()


def _is_like(value: str | None, pattern: str) -> bool:
    if value is None:
        return False
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def instance_tags(params: Mapping[str, str]) -> dict[str, str]:
    """The tags that a RunInstances request puts on its instances."""
    return tags_of(params, "instance")


def tags_of(params: Mapping[str, str], resource: str) -> dict[str, str]:
    """The tags that a request puts on resources of this type ('instance', 'volume', 'network-interface', …)."""
    specifications = [
        name.removesuffix("ResourceType")
        for name, value in params.items()
        if name.startswith("TagSpecification.") and name.endswith(".ResourceType") and value == resource
    ]
    return {
        value: params.get(name.removesuffix("Key") + "Value", "")
        for name, value in params.items()
        if name.startswith(tuple(f"{start}Tag." for start in specifications)) and name.endswith(".Key")
    }


class FaultPlan:
    """The faults that are set, and how often each has been met. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        """Set a fault behind those that are set already."""
        with self._lock:
            self._faults.append((fault, 0))

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._faults.clear()

    def view(self) -> list[dict[str, Any]]:
        """Every fault with the number of calls it has `met`, those that it let pass included."""
        with self._lock:
            return [{**fault.as_json(), "met": met} for fault, met in self._faults]

    def take(self, kinds: Collection[Kind], action: str, params: Mapping[str, str]) -> Fault | None:
        """The first fault of these kinds that hits this call, if any; it is counted."""
        with self._lock:
            for index, (fault, met) in enumerate(self._faults):
                exhausted = met >= fault.after + fault.times
                if fault.kind not in kinds or exhausted or not fault.matches(action, params):
                    continue
                self._faults[index] = (fault, met + 1)
                if met >= fault.after:
                    return fault
            return None
