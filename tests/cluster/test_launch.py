"""Where machines are found when EC2 has none of the first kind, against the live sandbox."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.config import Config

from nightreel.cluster import firewall, images, placement
from nightreel.cluster.cost import aws_prices
from nightreel.cluster.destroy import leftovers
from nightreel.cluster.errors import CapacityError, ClusterError, RefusedError
from nightreel.cluster.instances import Offer, Template, request_nodes
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.launch import cleaned_on_failure, launch_machines
from nightreel.cluster.spec import ClusterSpec
from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault
from nightreel.sandbox.settings import ARM_IMAGE
from tests.cluster.conftest import await_the_next_second

pytestmark = pytest.mark.sandbox
WORKER = {"nightreel:role": "worker"}
SPOT = {"InstanceMarketOptions.MarketType": "spot"}


def living(sandbox: Sandbox) -> set[str]:
    return {entry["id"] for entry in sandbox.instances() if entry["state"] != "terminated"}


def launches(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Parameters of the RunInstances calls since the sandbox began."""
    return [entry["params"] for entry in sandbox.journal() if entry["action"] == "RunInstances"]


@pytest.fixture
def session(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> boto3.Session:
    """A session as an operator's shell has it after `nightreel sandbox env`."""
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    return boto3.Session()


@pytest.fixture
def zones(ec2: Any, make_spec: Callable[..., ClusterSpec]) -> list[placement.Subnet]:
    return placement.subnets(ec2, make_spec())[:2]


@pytest.fixture
def in_zones(zones: list[placement.Subnet]) -> tuple[str, ...]:
    return tuple(zone.subnet_id for zone in zones)


def lacking(**request: str) -> Fault:
    return Fault(kind="capacity", params=request, times=100)


def test_the_next_type_is_taken_where_the_first_is_lacking(launch: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.inject(lacking(InstanceType="c7i.large"))
    cluster = launch(workers=1, fallback_types=("m7i.large",))
    assert [node.instance_type for node in cluster.nodes] == ["m7i.large", "m7i.large"]


def test_the_rest_of_a_partial_answer_is_asked_for_with_the_next_type(
    launch: Callable[..., Any], sandbox: Sandbox
) -> None:
    sandbox.inject(Fault(kind="capacity", tags=WORKER, params={"InstanceType": "c7i.large"}, available=1))
    cluster = launch(workers=2, fallback_types=("m7i.large",))
    assert sorted(node.instance_type for node in cluster.workers) == ["c7i.large", "m7i.large"]


def test_fewer_workers_are_accepted_down_to_the_minimum(launch: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.inject(Fault(kind="capacity", tags=WORKER, times=1, available=1))
    assert len(launch(workers=3, minimum_workers=1).workers) == 1


def test_a_zone_that_lacks_workers_gives_the_master_back(
    launch: Callable[..., Any], sandbox: Sandbox, in_zones: tuple[str, ...]
) -> None:
    first, second = in_zones
    sandbox.inject(Fault(kind="capacity", tags=WORKER, params={"NetworkInterface.1.SubnetId": first}, times=100))
    cluster = launch(workers=1, subnets=in_zones)
    assert {node.subnet for node in cluster.nodes} == {second}
    assert living(sandbox) == {node.instance_id for node in cluster.nodes}


def test_a_zone_that_gives_too_few_workers_gives_them_back(
    launch: Callable[..., Any], sandbox: Sandbox, in_zones: tuple[str, ...]
) -> None:
    first, second = in_zones
    sandbox.inject(
        Fault(kind="capacity", tags=WORKER, params={"NetworkInterface.1.SubnetId": first}, times=1, available=1)
    )
    cluster = launch(workers=2, subnets=in_zones)
    assert {node.subnet for node in cluster.nodes} == {second}
    assert len(living(sandbox)) == 3


def test_without_subnets_the_default_network_is_searched_zone_by_zone(
    launch: Callable[..., Any], sandbox: Sandbox, zones: list[placement.Subnet]
) -> None:
    sandbox.inject(lacking(**{"NetworkInterface.1.SubnetId": zones[0].subnet_id}))
    assert {node.zone for node in launch(workers=1).nodes} == {zones[1].zone}


def test_when_all_is_lacking_every_answer_is_told_and_nothing_is_left(
    launch: Callable[..., Any], sandbox: Sandbox, zones: list[placement.Subnet], in_zones: tuple[str, ...]
) -> None:
    sandbox.inject(Fault(kind="capacity", tags=WORKER, times=100))
    with pytest.raises(CapacityError) as caught:
        launch(workers=1, fallback_types=("m7i.large",), subnets=in_zones)
    asked = [line for line in str(caught.value).splitlines() if line.startswith("- ")]
    assert asked == [
        f"- worker, {kind} on-demand in {zone.zone}: InsufficientInstanceCapacity"
        for zone in zones
        for kind in ("c7i.large", "m7i.large")
    ]
    assert living(sandbox) == set()


@pytest.mark.parametrize(
    "fault",
    [
        Fault(kind="capacity", params=SPOT, times=100),
        Fault(params=SPOT, times=100, code="SpotMaxPriceTooLow"),
        Fault(params=SPOT, times=100, code="MaxSpotInstanceCountExceeded"),
    ],
    ids=lambda fault: fault.kind if fault.kind == "capacity" else fault.code,
)
def test_workers_are_bought_on_demand_where_spot_is_lacking(
    launch: Callable[..., Any], sandbox: Sandbox, fault: Fault
) -> None:
    sandbox.inject(fault)
    assert [node.market for node in launch(workers=1, market="spot-or-on-demand").nodes] == ["on-demand", "on-demand"]


def test_spot_workers_have_a_master_on_demand(launch: Callable[..., Any]) -> None:
    assert [node.market for node in launch(workers=1, market="spot").nodes] == ["on-demand", "spot"]


def test_spot_alone_is_not_bought_on_demand(
    launch: Callable[..., Any], sandbox: Sandbox, in_zones: tuple[str, ...]
) -> None:
    sandbox.inject(Fault(kind="capacity", params=SPOT, times=100))
    with pytest.raises(CapacityError):
        launch(workers=1, market="spot", subnets=in_zones)
    assert living(sandbox) == set()


def test_a_spot_request_is_tagged_and_never_made_again(launch: Callable[..., Any], sandbox: Sandbox) -> None:
    launch(workers=1, market="spot")
    request = launches(sandbox)[-1]
    assert "spot-instances-request" in request.values()
    assert request["InstanceMarketOptions.SpotOptions.SpotInstanceType"] == "one-time"


def test_a_type_that_a_zone_does_not_have_is_looked_for_in_the_next(
    launch: Callable[..., Any], sandbox: Sandbox, in_zones: tuple[str, ...]
) -> None:
    message = "Your requested instance type (c7i.large) is not supported in your requested Availability Zone (x)."
    sandbox.inject(Fault(code="Unsupported", message=message))
    assert {node.subnet for node in launch(workers=1, subnets=in_zones).nodes} == {in_zones[1]}


def test_a_refusal_ends_the_search(launch: Callable[..., Any], sandbox: Sandbox, in_zones: tuple[str, ...]) -> None:
    sandbox.inject(Fault(code="VcpuLimitExceeded"))
    with pytest.raises(RefusedError):
        launch(workers=1, subnets=in_zones, fallback_types=("m7i.large",))
    assert living(sandbox) == set()


def test_nodes_that_are_there_bind_the_others_to_their_zone(
    launch: Callable[..., Any], sandbox: Sandbox, in_zones: tuple[str, ...]
) -> None:
    first, second = in_zones
    before = launch(workers=1, subnets=(second,))
    sandbox.inject(Fault(kind="capacity", params={"NetworkInterface.1.SubnetId": second}, times=100))
    with pytest.raises(CapacityError, match="destroy it to try elsewhere"):
        launch(workers=2, subnets=(first, second))
    assert living(sandbox) == {node.instance_id for node in before.nodes}


def test_a_master_may_have_a_type_of_its_own(launch: Callable[..., Any]) -> None:
    assert [node.instance_type for node in launch(workers=1, master_type="m7i.large").nodes] == [
        "m7i.large",
        "c7i.large",
    ]


def test_processors_that_differ_are_refused_naming_both(launch: Callable[..., Any], sandbox: Sandbox) -> None:
    with pytest.raises(RefusedError, match=r"c7i\.large \(x86_64\) and m7g\.large \(arm64\) do not go together"):
        launch(fallback_types=("m7g.large",))
    assert living(sandbox) == set()


def test_an_image_for_other_processors_is_refused(launch: Callable[..., Any], sandbox: Sandbox) -> None:
    with pytest.raises(RefusedError, match=r"is for x86_64 and m7g\.large is arm64"):
        launch(instance_type="m7g.large")
    assert living(sandbox) == set()


def test_the_image_follows_the_processors(
    launch: Callable[..., Any], session: boto3.Session, ec2: Any, make_spec: Callable[..., ClusterSpec], keys: KeyRing
) -> None:
    spec = make_spec(workers=1, instance_type="m7g.large")
    cluster = launch_machines(ec2, spec, image=images.image_for(ec2, session.client("ssm"), spec), keys=keys)
    assert {node.image_id for node in cluster.nodes} == {ARM_IMAGE}


def test_an_image_that_is_named_is_the_image(ec2: Any, make_spec: Callable[..., ClusterSpec]) -> None:
    assert images.image_for(ec2, None, make_spec(ami="ami-7")) == "ami-7"


def test_subnets_of_two_networks_are_refused(
    launch: Callable[..., Any], ec2: Any, in_zones: tuple[str, ...], sandbox: Sandbox
) -> None:
    vpc = ec2.create_vpc(CidrBlock="10.98.0.0/16")["Vpc"]["VpcId"]
    other = ec2.create_subnet(VpcId=vpc, CidrBlock="10.98.0.0/24")["Subnet"]["SubnetId"]
    with pytest.raises(RefusedError, match="a cluster lies in one VPC"):
        launch(subnets=(in_zones[0], other))
    assert living(sandbox) == set()


def test_what_is_asked_for_reaches_the_machines(
    launch: Callable[..., Any], ec2: Any, sandbox: Sandbox, session: boto3.Session
) -> None:
    iam = session.client("iam")
    iam.create_instance_profile(InstanceProfileName="nodes")
    ec2.create_key_pair(KeyName="mine")
    cluster = launch(workers=1, key_pair="mine", instance_profile="nodes", tags={"team": "films"}, volume_gb=40)
    request = launches(sandbox)[-1]
    worker = cluster.workers[0]
    assert (worker.key_pair, worker.instance_profile) == ("mine", "arn:aws:iam::123456789012:instance-profile/nodes")
    assert request["BlockDeviceMapping.1.Ebs.VolumeSize"] == "40"
    assert request["MetadataOptions.HttpPutResponseHopLimit"] == "1"
    tagged = ec2.describe_tags(Filters=[{"Name": "tag:team", "Values": ["films"]}])["Tags"]
    assert {tag["ResourceType"] for tag in tagged if tag["ResourceId"] in living(sandbox)} == {"instance"}
    assert {tag["ResourceType"] for tag in tagged} >= {"instance", "volume", "network-interface", "security-group"}


def test_of_two_masters_the_eldest_is_kept(
    launch: Callable[..., Any], sandbox: Sandbox, ec2: Any, make_spec: Callable[..., ClusterSpec], keys: KeyRing
) -> None:
    before = launch(workers=1)
    await_the_next_second(before)
    spec = make_spec(workers=1)
    image = sandbox.environment["NIGHTREEL_AMI"]
    template = Template(image=image, root_device="/dev/xvda", group=firewall.find_groups(ec2, "films")[0], keys=keys)
    offer = Offer(instance_type="c7i.large", market="on-demand", subnet=before.master.subnet)
    request_nodes(ec2, spec, role="master", offer=offer, template=template, count=1, known=[])
    assert launch(workers=1).nodes == before.nodes
    assert living(sandbox) == {node.instance_id for node in before.nodes}


# ---- retries of the client below us


def retrying(session: boto3.Session, mode: Any, **options: Any) -> Any:
    return session.client("ec2", config=Config(retries={"mode": mode, "total_max_attempts": 4}, **options))


@pytest.mark.parametrize(
    ("mode", "code"),
    [("standard", "RequestLimitExceeded"), ("standard", "InternalError"), ("legacy", "RequestLimitExceeded")],
)
def test_throttling_and_server_errors_are_ridden_out_without_a_second_launch(
    *,
    sandbox: Sandbox,
    session: boto3.Session,
    make_spec: Callable[..., ClusterSpec],
    keys: KeyRing,
    mode: str,
    code: str,
) -> None:
    sandbox.inject(Fault(code=code, times=2))
    ec2 = retrying(session, mode)
    cluster = launch_machines(ec2, make_spec(workers=1), image=sandbox.environment["NIGHTREEL_AMI"], keys=keys)
    assert living(sandbox) == {node.instance_id for node in cluster.nodes}
    assert len(cluster.nodes) == 2


def test_an_answer_that_was_lost_is_no_second_launch(
    sandbox: Sandbox, session: boto3.Session, make_spec: Callable[..., ClusterSpec], keys: KeyRing
) -> None:
    sandbox.inject(Fault(kind="delay", seconds=6))
    ec2 = retrying(session, "standard", read_timeout=5)
    cluster = launch_machines(ec2, make_spec(workers=1), image=sandbox.environment["NIGHTREEL_AMI"], keys=keys)
    assert len([entry for entry in sandbox.faults() if entry["met"]]) == 1
    assert living(sandbox) == {node.instance_id for node in cluster.nodes}


# ---- money


def test_aws_prices_are_asked_for_as_aws_serves_them(session: boto3.Session) -> None:
    prices = aws_prices(session, str(session.region_name))
    on_demand, spot = (prices.hourly("c7i.large", market) for market in ("on-demand", "spot"))
    assert on_demand is not None
    assert spot is not None
    assert 0 < spot < on_demand


# ---- a launch that fails and cleans up behind itself


def test_a_failed_launch_of_a_new_cluster_leaves_nothing(
    launch: Callable[..., Any], ec2: Any, sandbox: Sandbox
) -> None:
    sandbox.inject(Fault(tags=WORKER, code="InternalError"))
    with pytest.raises(ClusterError, match="InternalError"), cleaned_on_failure(ec2, "films"):
        launch(workers=1)
    assert set(leftovers(ec2, "films").values()) == {0}


def test_a_failure_after_the_launch_leaves_what_was_there_before(
    launch: Callable[..., Any], ec2: Any, sandbox: Sandbox
) -> None:
    before = launch(workers=1)

    def grow_and_interrupt() -> None:
        with cleaned_on_failure(ec2, "films"):
            launch(workers=2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        grow_and_interrupt()
    assert living(sandbox) == {node.instance_id for node in before.nodes}


def test_a_success_is_left_alone(launch: Callable[..., Any], ec2: Any, sandbox: Sandbox) -> None:
    with cleaned_on_failure(ec2, "films"):
        launch(workers=1)
    assert len(living(sandbox)) == 2


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_launcher_that_is_ended_while_its_request_is_on_the_way_leaves_nothing(
    sandbox: Sandbox, ec2: Any, make_spec: Callable[..., ClusterSpec], keys: KeyRing, sent: signal.Signals
) -> None:
    spec = make_spec()
    before = {entry["id"] for entry in sandbox.instances()}
    sandbox.inject(Fault(kind="delay", tags=WORKER, seconds=4))
    script = textwrap.dedent(f"""
        import boto3, signal, sys
        from datetime import datetime
        from nightreel.cluster.keys import KeyRing
        from nightreel.cluster.launch import cleaned_on_failure, launch_machines
        from nightreel.cluster.spec import ClusterSpec
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        spec = ClusterSpec(name="films", workers=2, expires_at=datetime.fromisoformat({spec.expires_at.isoformat()!r}),
                           instance_type="c7i.large", ssh_port={spec.ssh_port})
        ec2 = boto3.client("ec2")
        with cleaned_on_failure(ec2, "films"):
            launch_machines(ec2, spec, image={sandbox.environment["NIGHTREEL_AMI"]!r},
                            keys=KeyRing({keys.master_secret!r}, "films"))
        """)
    launcher = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, **sandbox.environment})
    deadline = time.monotonic() + 30
    while not any(entry["met"] for entry in sandbox.faults()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    launcher.send_signal(sent)
    assert launcher.wait(timeout=90) != 0
    launched = {entry["id"] for entry in sandbox.instances()} - before
    assert len(launched) == 3  # the workers came after the signal, and went too
    assert set(leftovers(ec2, "films").values()) == {0}
