"""Launch and destroy against the live sandbox."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightreel.cluster import firewall, lifecycle, placement
from nightreel.cluster.destroy import destroy_cluster, leftovers
from nightreel.cluster.errors import ClusterError, RefusedError
from nightreel.cluster.instances import Template
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.placement import Placement
from nightreel.cluster.spec import ClusterSpec
from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault

pytestmark = pytest.mark.sandbox
NOTHING = {"instances": 0, "volumes": 0, "network_interfaces": 0, "security_groups": 0, "spot_requests": 0}


def living(sandbox: Sandbox) -> list[dict[str, Any]]:
    return [entry for entry in sandbox.instances() if entry["state"] != "terminated"]


def test_launch_brings_up_master_and_workers(launch: Callable[..., Any]) -> None:
    cluster = launch()
    assert [node.role for node in cluster.nodes] == ["master", "worker", "worker"]


def test_launch_again_adopts_what_is_there(launch: Callable[..., Any]) -> None:
    assert launch().nodes == launch().nodes


def test_launch_adds_only_what_is_missing(launch: Callable[..., Any], ec2: Any) -> None:
    before = launch()
    ec2.terminate_instances(InstanceIds=[before.workers[0].instance_id])
    after = launch()
    kept = {node.instance_id for node in before.nodes} & {node.instance_id for node in after.nodes}
    assert (len(after.workers), len(kept)) == (2, 2)


def test_launch_after_destroy_gets_fresh_instances(launch: Callable[..., Any], ec2: Any) -> None:
    before = launch()
    destroy_cluster(ec2, "films")
    after = launch()
    assert not {node.instance_id for node in before.nodes} & {node.instance_id for node in after.nodes}


def test_a_launch_that_is_repeated_before_it_is_listed_is_not_made_twice(
    sandbox: Sandbox,
    ec2: Any,
    make_spec: Callable[..., ClusterSpec],
    keys: KeyRing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A name of its own: with the listing gone it starts at the first generation.
    spec = make_spec(name="first-night")
    group = firewall.ensure_group(ec2, spec)
    template = Template(image=sandbox.environment["NIGHTREEL_AMI"], root_device="/dev/xvda", group=group, keys=keys)
    monkeypatch.setattr(placement, "find_nodes", lambda *_, **__: [])
    first, second = (Placement(ec2, spec, template).fill() for _ in range(2))
    assert first == second
    assert len(living(sandbox)) == 3


def test_everything_is_tagged_when_it_is_created(launch: Callable[..., Any], ec2: Any) -> None:
    launch(workers=1)
    mine = leftovers(ec2, "films")
    everything = {
        "instances": 2,
        "volumes": len(ec2.describe_volumes()["Volumes"]),
        "network_interfaces": len(ec2.describe_network_interfaces()["NetworkInterfaces"]),
        "security_groups": 1,
        "spot_requests": 0,
    }
    assert mine == everything


def test_machines_are_locked_down(launch: Callable[..., Any], ec2: Any) -> None:
    cluster = launch(workers=1)
    instance = ec2.describe_instances(InstanceIds=[cluster.master.instance_id])["Reservations"][0]["Instances"][0]
    volume = ec2.describe_volumes(VolumeIds=[instance["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]])["Volumes"][0]
    assert (instance["MetadataOptions"]["HttpTokens"], volume["Encrypted"], volume["VolumeType"]) == (
        "required",
        True,
        "gp3",
    )


def test_ssh_is_open_to_the_operator_alone(launch: Callable[..., Any], ec2: Any) -> None:
    launch(workers=1, operator_cidr="127.9.0.0/16")
    [group] = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["nightreel-films"]}])[
        "SecurityGroups"
    ]
    ranges = [entry["CidrIp"] for permission in group["IpPermissions"] for entry in permission["IpRanges"]]
    assert ranges == ["127.9.0.0/16"]


def test_an_adopted_group_forgets_every_other_opening(launch: Callable[..., Any], ec2: Any) -> None:
    launch(workers=1, operator_cidr="127.9.0.0/16")
    [group] = rules_of(ec2)
    ec2.authorize_security_group_ingress(
        GroupId=group["GroupId"],
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 65535, "IpRanges": [{"CidrIp": "127.9.0.0/16"}]},
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
        ],
    )
    launch(workers=1, operator_cidr="127.8.0.0/16")
    [group] = rules_of(ec2)
    open_to = [
        (rule.get("FromPort"), rule.get("ToPort"), [entry["CidrIp"] for entry in rule["IpRanges"]], rule["Ipv6Ranges"])
        for rule in group["IpPermissions"]
        if rule["IpProtocol"] != "-1"
    ]
    port = open_to[0][0]
    assert open_to == [(port, port, ["127.8.0.0/16"], [])]


def rules_of(ec2: Any) -> Any:
    wanted = [{"Name": "group-name", "Values": ["nightreel-films"]}]
    return ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]


def test_a_machine_too_small_is_refused_before_it_is_launched(launch: Callable[..., Any], sandbox: Sandbox) -> None:
    with pytest.raises(RefusedError, match="too small for Spark"):
        launch(instance_type="t3.micro")
    assert living(sandbox) == []


def test_a_stopped_cluster_is_neither_adopted_nor_touched(launch: Callable[..., Any], ec2: Any) -> None:
    ids = [node.instance_id for node in launch(workers=1).nodes]
    ec2.stop_instances(InstanceIds=ids)
    with pytest.raises(ClusterError, match="is stopped"):
        launch(workers=1)
    found = lifecycle.describe(ec2, "films")
    assert (found["state"], len(found["nodes"])) == ("stopped", 2)


def test_destroy_leaves_nothing(launch: Callable[..., Any], ec2: Any) -> None:
    launch()
    destroy_cluster(ec2, "films")
    assert leftovers(ec2, "films") == NOTHING


def test_destroy_of_nothing_succeeds(ec2: Any) -> None:
    assert destroy_cluster(ec2, "never-launched").instances == 0


def test_destroy_leaves_other_clusters_alone(launch: Callable[..., Any], ec2: Any) -> None:
    launch(workers=1)
    other = launch(name="films-2", workers=1)
    destroy_cluster(ec2, "films")
    assert lifecycle.find(ec2, "films-2").nodes == other.nodes


@pytest.mark.parametrize("name", ["*", "film?", "", "films,films-2"])
def test_a_name_that_could_mean_others_is_refused(launch: Callable[..., Any], ec2: Any, name: str) -> None:
    cluster = launch(workers=1)
    for verb in (destroy_cluster, lifecycle.describe, lifecycle.find):
        with pytest.raises(ValueError, match="can not be used"):
            verb(ec2, name)
    assert lifecycle.find(ec2, "films").nodes == cluster.nodes


def test_another_instance_type_than_is_there_is_refused(launch: Callable[..., Any], sandbox: Sandbox) -> None:
    launch(workers=1)
    with pytest.raises(RefusedError, match=r"c7i\.large machines, and m7i\.large was asked for"):
        launch(workers=2, instance_type="m7i.large")
    assert len(living(sandbox)) == 2


def test_failure_after_the_first_instance_leaves_what_destroy_finds(
    launch: Callable[..., Any], sandbox: Sandbox, ec2: Any
) -> None:
    sandbox.inject(Fault(action="RunInstances", after=1, code="InternalError"))
    with pytest.raises(ClusterError):
        launch()
    assert len(living(sandbox)) == 1
    destroy_cluster(ec2, "films")
    assert leftovers(ec2, "films") == NOTHING


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "VcpuLimitExceeded", "InvalidAMIID.NotFound"])
def test_refusals_are_told_apart_from_bad_luck(launch: Callable[..., Any], sandbox: Sandbox, code: str) -> None:
    sandbox.inject(Fault(action="RunInstances", code=code))
    with pytest.raises(RefusedError, match=code):
        launch()


def test_launch_with_a_past_expiry_is_refused(launch: Callable[..., Any], sandbox: Sandbox) -> None:
    with pytest.raises(ClusterError, match="has passed"):
        launch(expires_at=datetime.now(UTC) - timedelta(minutes=1))


def test_machines_power_themselves_off_at_the_expiry(launch: Callable[..., Any], sandbox: Sandbox) -> None:
    launch(workers=1, expires_at=datetime.now(UTC) + timedelta(seconds=10))
    deadline = time.monotonic() + 30
    while living(sandbox):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_launcher_killed_after_the_first_instance_is_followed_by_adoption(
    sandbox: Sandbox, ec2: Any, launch: Callable[..., Any], make_spec: Callable[..., ClusterSpec], keys: KeyRing
) -> None:
    spec = make_spec()
    sandbox.inject(Fault(kind="delay", action="RunInstances", after=1, seconds=20))
    script = textwrap.dedent(f"""
        import boto3
        from datetime import datetime
        from nightreel.cluster.launch import launch_machines
        from nightreel.cluster.keys import KeyRing
        from nightreel.cluster.spec import ClusterSpec
        spec = ClusterSpec(name="films", workers=2, expires_at=datetime.fromisoformat({spec.expires_at.isoformat()!r}),
                           instance_type="c7i.large", ssh_port={spec.ssh_port})
        ec2 = boto3.client("ec2")
        keys = KeyRing({keys.master_secret!r}, "films")
        launch_machines(ec2, spec, image={sandbox.environment["NIGHTREEL_AMI"]!r}, keys=keys)
        """)
    launcher = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, **sandbox.environment})
    deadline = time.monotonic() + 20
    while not living(sandbox):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    launcher.kill()
    launcher.wait()
    first = {entry["id"] for entry in living(sandbox)}
    sandbox.clear_faults()
    cluster = launch()
    assert {node.instance_id for node in cluster.nodes} >= first
    assert len(cluster.nodes) == 3 == len(living(sandbox))
