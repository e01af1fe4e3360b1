"""What EC2 refuses to launch, and moto would."""

import boto3
import pytest
from botocore.exceptions import ClientError

from nightreel.sandbox.settings import ARM_IMAGE, BAKED_IMAGE

pytestmark = pytest.mark.sandbox


def tagged(tags: dict[str, str], resource: str = "instance") -> dict[str, object]:
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    return {"TagSpecifications": [{"ResourceType": resource, "Tags": pairs}]}


def test_a_region_that_is_none_is_refused(sandbox):
    with pytest.raises(ClientError, match=r"\(AuthFailure\).* no region 'nowhere-1'"):
        boto3.client("ec2", region_name="nowhere-1").describe_instances()


@pytest.fixture
def profile(sandbox):
    iam = boto3.client("iam")
    made = iam.create_instance_profile(InstanceProfileName="node")["InstanceProfile"]
    yield made
    iam.delete_instance_profile(InstanceProfileName="node")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"UserData": "x" * 16_385}, "InvalidParameterValue", "limited to 16384 bytes"),
        (tagged({f"t{number}": "" for number in range(51)}), "TagLimitExceeded", "50 tags"),
        (tagged({"aws:mine": ""}), "InvalidParameterValue", "reserved for internal use"),
        (tagged({"aws:mine": ""}, "volume"), "InvalidParameterValue", "reserved for internal use"),
        (tagged({"k" * 128: ""}), "InvalidParameterValue", "127 characters"),
        (tagged({"k": "v" * 257}), "InvalidParameterValue", "256 characters"),
        ({"SecurityGroupIds": ["sg-0123"]}, "InvalidGroup.NotFound", "'sg-0123' does not exist"),
        (
            {"NetworkInterfaces": [{"DeviceIndex": 0, "Groups": ["sg-0123"]}]},
            "InvalidGroup.NotFound",
            "'sg-0123' does not exist",
        ),
        (
            {"IamInstanceProfile": {"Name": "nobody"}},
            "InvalidParameterValue",
            r"Value \(nobody\) for parameter iamInstanceProfile.name is invalid",
        ),
        (
            {"IamInstanceProfile": {"Arn": "arn:aws:iam::123456789012:instance-profile/nobody"}},
            "InvalidParameterValue",
            "for parameter iamInstanceProfile.arn is invalid",
        ),
        (
            {"IamInstanceProfile": {"Name": "node", "Arn": "arn:aws:iam::123456789012:instance-profile/node"}},
            "InvalidParameterCombination",
            "in combination",
        ),
        (
            {"InstanceType": "m7g.large"},
            "InvalidParameterValue",
            "architecture 'arm64' of the specified instance type does not match the architecture 'x86_64'",
        ),
        (
            {"ImageId": ARM_IMAGE},
            "InvalidParameterValue",
            "architecture 'x86_64' of the specified instance type does not match the architecture 'arm64'",
        ),
        ({"InstanceMarketOptions": {"SpotOptions": {"MaxPrice": "1"}}}, "InvalidParameterValue", "MarketType"),
        (
            {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "persistent"}}},
            "UnsupportedOperation",
            "one-time",
        ),
        (
            {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"InstanceInterruptionBehavior": "stop"}}},
            "InvalidParameterCombination",
            "'one-time' is not supported",
        ),
        (
            {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"MaxPrice": "cheap"}}},
            "InvalidParameterValue",
            "MaxPrice",
        ),
    ],
)
def test_launch_is_refused(sandbox, launch, options, code, message) -> None:
    with pytest.raises(ClientError, match=message) as error:
        launch(**options)
    assert error.value.response["Error"]["Code"] == code
    assert all(entry["state"] == "terminated" for entry in sandbox.instances())


def test_launch_with_as_much_as_ec2_takes(launch) -> None:
    tags = {f"t{number}": "v" * 256 for number in range(50)}
    assert launch(UserData="x" * 16_384, **tagged(tags))


def test_launch_on_arm(launch, describe) -> None:
    instance = launch(ImageId=ARM_IMAGE, InstanceType="c7g.large")[0]
    assert describe(instance["InstanceId"])["Architecture"] == "arm64"


@pytest.mark.parametrize("by", ["Name", "Arn"])
def test_launch_gives_every_instance_its_profile(launch, describe, profile, by) -> None:
    named = profile["InstanceProfileName"] if by == "Name" else profile["Arn"]
    instances = launch(2, IamInstanceProfile={by: named})
    arns = [describe(i["InstanceId"])["IamInstanceProfile"]["Arn"] for i in instances]
    assert arns == [profile["Arn"]] * 2


def test_tag_that_ec2_keeps_for_itself_is_refused(ec2, launch) -> None:
    instance = launch()[0]["InstanceId"]
    with pytest.raises(ClientError, match="reserved for internal use"):
        ec2.create_tags(Resources=[instance], Tags=[{"Key": "aws:mine", "Value": "x"}])


def test_dry_run_is_refused_for_the_same_reasons(ec2) -> None:
    with pytest.raises(ClientError, match="does not match the architecture"):
        ec2.run_instances(ImageId=BAKED_IMAGE, InstanceType="m7g.large", MinCount=1, MaxCount=1, DryRun=True)


def test_zones_each_have_a_default_subnet(ec2) -> None:
    subnets = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    zones = {zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]}
    assert {subnet["AvailabilityZone"] for subnet in subnets} == zones
    assert len(zones) == 6
