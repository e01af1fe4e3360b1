"""Which calls a fault hits, and how often."""

import pytest

from nightreel.sandbox.faults import Fault, FaultPlan

TAGGED = {
    "TagSpecification.1.ResourceType": "instance",
    "TagSpecification.1.Tag.1.Key": "role",
    "TagSpecification.1.Tag.1.Value": "worker",
    "TagSpecification.2.ResourceType": "volume",
    "TagSpecification.2.Tag.1.Key": "role",
    "TagSpecification.2.Tag.1.Value": "disk",
}


def plan(*faults: Fault) -> FaultPlan:
    made = FaultPlan()
    for fault in faults:
        made.add(fault)
    return made


def test_take_hits_the_given_number_of_times() -> None:
    faults = plan(Fault(times=2))
    assert [faults.take(["error"], "RunInstances", {}) is not None for _ in range(3)] == [True, True, False]


def test_take_lets_the_first_calls_pass() -> None:
    faults = plan(Fault(after=2))
    assert [faults.take(["error"], "RunInstances", {}) is not None for _ in range(4)] == [False, False, True, False]


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        (Fault(), True),
        (Fault(action="StopInstances"), False),
        (Fault(params={"InstanceType": "m7i.large"}), True),
        (Fault(params={"InstanceType": "r7i.large"}), False),
        (Fault(params={"InstanceType": "m7i.*"}), True),
        (Fault(params={"InstanceType": "m7g.*"}), False),
        (Fault(params={"KeyName": "*"}), False),
        (Fault(action="*"), True),
        (Fault(tags={"role": "worker"}), True),
        (Fault(tags={"role": "disk"}), False),
        (Fault(kind="delay"), False),
    ],
)
def test_take_matches_action_params_and_tags(fault: Fault, hit: bool) -> None:
    call = {"InstanceType": "m7i.large", **TAGGED}
    assert (plan(fault).take(["error"], "RunInstances", call) is not None) == hit


def test_take_asks_faults_in_order() -> None:
    faults = plan(Fault(code="First"), Fault(code="Second"))
    taken = [faults.take(["error"], "RunInstances", {}) for _ in range(2)]
    assert [fault.code for fault in taken if fault] == ["First", "Second"]


def test_view_counts_what_a_fault_has_met() -> None:
    faults = plan(Fault(after=5))
    faults.take(["error"], "RunInstances", {})
    assert [entry["met"] for entry in faults.view()] == [1]


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "flood"},
        {"colour": "red"},
        {"times": 0},
        {"after": -1},
        {"kind": "crash"},
        {"kind": "reclaim"},
        [1],
        "text",
    ],
)
def test_from_json_refuses_nonsense(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        Fault.from_json(value)


def test_json_round_trip() -> None:
    fault = Fault(kind="capacity", available=2, tags={"role": "worker"})
    assert Fault.from_json(fault.as_json()) == fault


def test_http_status_follows_from_the_code() -> None:
    codes = ("InsufficientInstanceCapacity", "UnauthorizedOperation", "VcpuLimitExceeded")
    assert [Fault(code=code).http_status for code in codes] == [500, 403, 400]
