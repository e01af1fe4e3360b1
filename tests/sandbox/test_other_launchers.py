"""What other launchers ask of EC2 and Nightreel does not: the sandbox answers them as EC2 does."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from nightreel.sandbox.settings import BAKED_IMAGE

pytestmark = pytest.mark.sandbox


@pytest.fixture
def make_group(ec2: Any) -> Iterator[Callable[[str], str]]:
    made: list[str] = []

    def make(name: str) -> str:
        made.append(ec2.create_security_group(GroupName=name, Description=name)["GroupId"])
        return made[-1]

    yield make
    there = ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": made}])["SecurityGroups"]
    instances = ec2.describe_instances(Filters=[{"Name": "instance.group-id", "Values": made}])["Reservations"]
    ids = [instance["InstanceId"] for group in instances for instance in group["Instances"]]
    if ids:
        ec2.terminate_instances(InstanceIds=ids)
    for group in there:
        ec2.delete_security_group(GroupId=group["GroupId"])


def test_an_image_says_that_its_disk_is_not_encrypted(ec2: Any) -> None:
    [image] = ec2.describe_images(ImageIds=[BAKED_IMAGE])["Images"]
    assert [disk["Ebs"]["Encrypted"] for disk in image["BlockDeviceMappings"]] == [False]


def test_mappings_of_instance_stores_that_the_type_has_not_are_ignored(launch: Callable[..., Any]) -> None:
    mappings = [{"DeviceName": "/dev/sdb", "VirtualName": "ephemeral0"}]
    assert len(launch(BlockDeviceMappings=mappings)) == 1


def test_an_empty_subnet_is_the_default_one(launch: Callable[..., Any], ec2: Any) -> None:
    [instance] = launch(SubnetId="")
    subnets = {subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]}
    assert instance["SubnetId"] in subnets


def test_the_groups_of_the_first_interface_are_the_instances_own(
    launch: Callable[..., Any], make_group: Callable[[str], str]
) -> None:
    group = make_group("of-the-interface")
    [instance] = launch(NetworkInterfaces=[{"DeviceIndex": 0, "Groups": [group]}])
    assert [worn["GroupId"] for worn in instance["SecurityGroups"]] == [group]


def test_a_group_that_an_instance_was_taken_out_of_can_be_deleted(
    launch: Callable[..., Any], ec2: Any, make_group: Callable[[str], str]
) -> None:
    before, after = make_group("before"), make_group("after")
    [instance] = launch(SecurityGroupIds=[before])
    ec2.modify_instance_attribute(InstanceId=instance["InstanceId"], Groups=[after])
    ec2.delete_security_group(GroupId=before)
    left = ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": [before]}])["SecurityGroups"]
    assert left == []
