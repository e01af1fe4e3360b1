"""The AWS endpoint through boto3: what the gateway owns, and that EC2's own tales come true."""

import re
import urllib.request
from urllib.error import HTTPError

import boto3
import pytest
from botocore.exceptions import ClientError

from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault
from nightreel.sandbox.settings import ARM_IMAGE, BAKED_IMAGE, PLAIN_IMAGE, SandboxError

pytestmark = pytest.mark.sandbox

TAGS = [{"Key": "nightreel:cluster", "Value": "c1"}]
TAGGED = [{"ResourceType": kind, "Tags": TAGS} for kind in ("instance", "volume", "network-interface")]
OURS = [{"Name": "tag:nightreel:cluster", "Values": ["c1"]}]


def code_of(error: pytest.ExceptionInfo[ClientError]) -> str:
    return error.value.response["Error"]["Code"]


@pytest.fixture
def group(ec2):
    group_id = ec2.create_security_group(GroupName="nightreel-test", Description="a test's")["GroupId"]
    yield group_id
    running = [{"Name": "instance.group-id", "Values": [group_id]}]
    ids = [i["InstanceId"] for r in ec2.describe_instances(Filters=running)["Reservations"] for i in r["Instances"]]
    if ids:
        ec2.terminate_instances(InstanceIds=ids)
    if ec2.describe_security_groups(Filters=[{"Name": "group-id", "Values": [group_id]}])["SecurityGroups"]:
        ec2.delete_security_group(GroupId=group_id)


# ---- client tokens


def test_token_repeated_gives_the_same_instances(launch) -> None:
    first, second = launch(2, ClientToken="repeat"), launch(2, ClientToken="repeat")
    assert [i["InstanceId"] for i in first] == [i["InstanceId"] for i in second]


def test_token_repeated_shows_the_state_of_now(launch, await_state) -> None:
    instance = launch(ClientToken="fresh")[0]
    await_state(instance["InstanceId"], "running")
    assert (instance["State"]["Name"], launch(ClientToken="fresh")[0]["State"]["Name"]) == ("pending", "running")


def test_token_with_other_parameters_is_refused(launch) -> None:
    launch(ClientToken="mismatch")
    with pytest.raises(ClientError) as error:
        launch(ClientToken="mismatch", InstanceType="m7i.xlarge")
    assert code_of(error) == "IdempotentParameterMismatch"


def test_token_of_dead_instances_answers_with_the_dead(ec2, launch) -> None:
    instance = launch(ClientToken="dead")[0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[instance])
    again = launch(ClientToken="dead")[0]
    assert (again["InstanceId"], again["State"]["Name"]) == (instance, "terminated")


def test_token_of_a_failed_launch_can_be_used_again(sandbox: Sandbox, launch) -> None:
    sandbox.inject(Fault(kind="capacity", available=0))
    with pytest.raises(ClientError):
        launch(ClientToken="second chance")
    assert launch(ClientToken="second chance")


def test_token_filter_finds_the_instances(ec2, launch) -> None:
    instance = launch(ClientToken="filtered")[0]["InstanceId"]
    launch(ClientToken="another")
    found = ec2.describe_instances(Filters=[{"Name": "client-token", "Values": ["filtered"]}])
    assert [i["InstanceId"] for r in found["Reservations"] for i in r["Instances"]] == [instance]


# ---- launching


def test_launch_makes_as_many_as_it_may(ec2) -> None:
    answer = ec2.run_instances(ImageId=BAKED_IMAGE, InstanceType="m7i.large", MinCount=1, MaxCount=3)
    assert len(answer["Instances"]) == 3


def test_launch_with_no_range_of_counts_is_refused(ec2) -> None:
    with pytest.raises(ClientError) as error:
        ec2.run_instances(ImageId=BAKED_IMAGE, InstanceType="m7i.large", MinCount=3, MaxCount=1)
    assert code_of(error) == "InvalidParameterValue"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"InstanceType": "m99.large"}, "InvalidInstanceType.NotFound"),
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"SecurityGroupIds": ["sg-0123456789abcdef0"]}, "InvalidGroup.NotFound"),
        ({"SubnetId": "subnet-0123456789abcdef0"}, "InvalidSubnetID.NotFound"),
        ({"DryRun": True}, "DryRunOperation"),
    ],
)
def test_launch_with_bad_parameters_is_refused(launch, options, code) -> None:
    with pytest.raises(ClientError) as error:
        launch(**options)
    assert code_of(error) == code


def test_launch_answers_with_what_is_described(launch, describe) -> None:
    instance = launch(TagSpecifications=TAGGED)[0]
    described = describe(instance["InstanceId"])
    assert instance["NetworkInterfaces"] == described["NetworkInterfaces"]


@pytest.mark.parametrize(
    "interface", [{}, {"NetworkInterfaces": [{"DeviceIndex": 0, "AssociatePublicIpAddress": True}]}]
)
def test_launch_gives_a_private_address_of_the_network_only(sandbox: Sandbox, launch, describe, interface) -> None:
    instance = describe(launch(**interface)[0]["InstanceId"])
    assert instance["PrivateIpAddress"].startswith(sandbox.record.network.removesuffix("0.0/16"))
    assert not instance.get("PublicIpAddress")


def test_launch_never_gives_the_endpoint_address(sandbox: Sandbox, launch) -> None:
    assert all(i["PrivateIpAddress"] not in sandbox.endpoint for i in launch(5))


def test_launch_tags_volumes_and_interfaces(ec2, launch) -> None:
    launch(TagSpecifications=TAGGED)
    assert len(ec2.describe_volumes(Filters=OURS)["Volumes"]) == 1
    assert len(ec2.describe_network_interfaces(Filters=OURS)["NetworkInterfaces"]) == 1


def test_images_by_id(ec2) -> None:
    names = {image["ImageId"]: image["Name"] for image in ec2.describe_images(Owners=["amazon"])["Images"]}
    assert names == {
        BAKED_IMAGE: "nightreel-sandbox-baked",
        PLAIN_IMAGE: "nightreel-sandbox-plain",
        ARM_IMAGE: "nightreel-sandbox-baked-arm64",
    }


@pytest.mark.parametrize(("architecture", "image"), [("x86_64", BAKED_IMAGE), ("arm64", ARM_IMAGE)])
def test_images_by_amazons_parameter(ec2, architecture: str, image: str) -> None:
    parameter = f"/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{architecture}"
    assert boto3.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"] == image
    assert ec2.describe_images(ImageIds=[image])["Images"][0]["Architecture"] == architecture


# ---- what goes with an instance


@pytest.mark.parametrize(
    "options",
    [
        {},
        {
            "NetworkInterfaces": [{"DeviceIndex": 0, "DeleteOnTermination": True}],
            "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 30, "VolumeType": "gp3"}}],
        },
    ],
)
def test_terminate_takes_volumes_and_interfaces_along(ec2, launch, options) -> None:
    ids = [i["InstanceId"] for i in launch(2, TagSpecifications=TAGGED, **options)]
    ec2.terminate_instances(InstanceIds=ids)
    assert ec2.describe_volumes(Filters=OURS)["Volumes"] == []
    assert ec2.describe_network_interfaces(Filters=OURS)["NetworkInterfaces"] == []


def test_terminate_leaves_an_interface_that_shall_stay(ec2, launch) -> None:
    ids = [launch(NetworkInterfaces=[{"DeviceIndex": 0, "DeleteOnTermination": False}])[0]["InstanceId"]]
    ec2.terminate_instances(InstanceIds=ids)
    left = ec2.describe_network_interfaces()["NetworkInterfaces"]
    ec2.delete_network_interface(NetworkInterfaceId=left[0]["NetworkInterfaceId"])
    assert [interface["Status"] for interface in left] == ["available"]


def test_terminate_twice_is_no_error(ec2, launch) -> None:
    ids = [launch()[0]["InstanceId"]]
    ec2.terminate_instances(InstanceIds=ids)
    assert ec2.terminate_instances(InstanceIds=ids)["TerminatingInstances"][0]["InstanceId"] == ids[0]


def test_terminate_says_when_as_ec2_does(ec2, launch, describe) -> None:
    instance = launch()[0]["InstanceId"]
    ec2.terminate_instances(InstanceIds=[instance])
    reason = describe(instance)["StateTransitionReason"]
    assert re.fullmatch(r"User initiated \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d GMT\)", reason)


@pytest.mark.parametrize("call", ["start_instances", "stop_instances"])
def test_the_dead_stay_dead(ec2, launch, call) -> None:
    ids = [launch()[0]["InstanceId"]]
    ec2.terminate_instances(InstanceIds=ids)
    with pytest.raises(ClientError) as error:
        getattr(ec2, call)(InstanceIds=ids)
    assert code_of(error) == "IncorrectInstanceState"


def test_reboot_is_refused_rather_than_ignored(ec2, launch) -> None:
    with pytest.raises(ClientError) as error:
        ec2.reboot_instances(InstanceIds=[launch()[0]["InstanceId"]])
    assert code_of(error) == "UnsupportedOperation"


def test_group_in_use_is_not_deleted(ec2, launch, group) -> None:
    launch(SecurityGroupIds=[group])
    with pytest.raises(ClientError) as error:
        ec2.delete_security_group(GroupId=group)
    assert code_of(error) == "DependencyViolation"


def test_group_named_by_another_is_not_deleted(ec2, group) -> None:
    other = ec2.create_security_group(GroupName="nightreel-other", Description="names the first")["GroupId"]
    rule = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
    ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=rule)
    with pytest.raises(ClientError) as error:
        ec2.delete_security_group(GroupId=group)
    ec2.delete_security_group(GroupId=other)
    assert code_of(error) == "DependencyViolation"


def test_group_is_free_as_soon_as_its_instances_are_terminated(ec2, launch, group) -> None:
    rule = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=rule)  # a rule of its own does not hold it
    ids = [launch(NetworkInterfaces=[{"DeviceIndex": 0, "Groups": [group]}])[0]["InstanceId"]]
    ec2.terminate_instances(InstanceIds=ids)
    ec2.delete_security_group(GroupId=group)


def test_console_output_is_the_boot_log(ec2, launch) -> None:
    instance = launch(UserData="#cloud-config\npackages: [htop]\n")[0]["InstanceId"]
    output = ec2.get_console_output(InstanceId=instance)["Output"]
    assert instance in output
    assert "ignored: packages" in output


# ---- faults


@pytest.mark.parametrize("code", ["InsufficientInstanceCapacity", "VcpuLimitExceeded", "MaxSpotInstanceCountExceeded"])
def test_fault_answers_with_its_code(sandbox: Sandbox, launch, code) -> None:
    sandbox.inject(Fault(code=code, message="as the test wants it"))
    with pytest.raises(ClientError, match="as the test wants it") as error:
        launch()
    assert code_of(error) == code


def test_fault_after_one_call_leaves_the_first_instance(sandbox: Sandbox, launch) -> None:
    sandbox.inject(Fault(code="UnauthorizedOperation", after=1))
    launch()
    with pytest.raises(ClientError) as error:
        launch()
    assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert len([entry for entry in sandbox.instances() if entry["state"] == "pending"]) == 1


def test_fault_for_spot_spares_on_demand(sandbox: Sandbox, launch) -> None:
    spot = {"InstanceMarketOptions.MarketType": "spot"}
    sandbox.inject(Fault(code="InsufficientInstanceCapacity", params=spot, times=9))
    with pytest.raises(ClientError):
        launch(InstanceMarketOptions={"MarketType": "spot"})
    assert launch()


def test_fault_capacity_gives_what_there_is(sandbox: Sandbox, ec2) -> None:
    sandbox.inject(Fault(kind="capacity", available=2))
    answer = ec2.run_instances(ImageId=BAKED_IMAGE, InstanceType="m7i.large", MinCount=1, MaxCount=5)
    assert len(answer["Instances"]) == 2


def test_fault_capacity_below_the_minimum_gives_nothing(sandbox: Sandbox, launch) -> None:
    sandbox.inject(Fault(kind="capacity", available=2))
    with pytest.raises(ClientError) as error:
        launch(3)
    assert code_of(error) == "InsufficientInstanceCapacity"
    assert all(entry["state"] == "terminated" for entry in sandbox.instances())


@pytest.mark.parametrize("named", [{}, {"Placement": {"AvailabilityZone": "us-east-1a"}}])
def test_fault_capacity_of_a_zone_spares_the_others(sandbox: Sandbox, launch, describe, named) -> None:
    sandbox.inject(Fault(kind="capacity", params={"AvailabilityZone": "us-east-1a"}, times=9))
    with pytest.raises(ClientError, match="us-east-1a"):
        launch(**named)
    elsewhere = launch(Placement={"AvailabilityZone": "us-east-1b"})[0]
    assert describe(elsewhere["InstanceId"])["Placement"]["AvailabilityZone"] == "us-east-1b"


def test_fault_capacity_of_a_subnet_spares_the_others(sandbox: Sandbox, ec2, launch) -> None:
    subnets = [subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]]
    sandbox.inject(Fault(kind="capacity", params={"NetworkInterface.1.SubnetId": subnets[0]}, times=9))
    with pytest.raises(ClientError):
        launch(NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnets[0]}])
    assert launch(NetworkInterfaces=[{"DeviceIndex": 0, "SubnetId": subnets[1]}])


def test_fault_of_every_action(sandbox: Sandbox, ec2) -> None:
    sandbox.inject(Fault(action="*", code="RequestLimitExceeded", times=2))
    answers = []
    for call in (ec2.describe_instances, ec2.describe_volumes):
        with pytest.raises(ClientError) as error:
            call()
        answers.append((code_of(error), error.value.response["ResponseMetadata"]["HTTPStatusCode"]))
    assert answers == [("RequestLimitExceeded", 503)] * 2
    assert ec2.describe_instances()


def test_fault_delay_outlasts_an_impatient_client(sandbox: Sandbox) -> None:
    sandbox.inject(Fault(kind="delay", action="DescribeInstances", seconds=2))
    hasty = boto3.session.Config(read_timeout=0.2, retries={"total_max_attempts": 1})
    with pytest.raises(Exception, match="Read timeout"):
        boto3.client("ec2", config=hasty).describe_instances()


def test_fault_hits_other_services_too(sandbox: Sandbox) -> None:
    sandbox.inject(Fault(action="GetParameter", code="AccessDeniedException"))
    config = boto3.session.Config(retries={"total_max_attempts": 1})
    with pytest.raises(ClientError) as error:
        boto3.client("ssm", config=config).get_parameter(Name="x")
    assert (code_of(error), sandbox.faults()[0]["met"]) == ("AccessDeniedException", 1)


def test_faults_are_listed_and_cleared(sandbox: Sandbox, launch) -> None:
    sandbox.inject(Fault(times=9))
    listed = len(sandbox.faults())
    sandbox.clear_faults()
    assert (listed, sandbox.faults()) == (1, [])
    assert launch()


@pytest.mark.parametrize("kind", ["crash", "drop", "cut", "heal", "reclaim"])
def test_host_fault_of_nobody_is_refused(sandbox: Sandbox, kind) -> None:
    with pytest.raises(SandboxError, match="no running host"):
        sandbox.inject(Fault(kind=kind, instance="i-0123456789abcdef0"))


# ---- who is let in


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("ec2", "describe_instances", "AuthFailure"),
        ("pricing", "describe_services", "UnrecognizedClientException"),
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
    ],
)
def test_denied_credentials_are_refused_in_each_services_words(sandbox: Sandbox, service, call, code) -> None:
    client = boto3.client(service, aws_access_key_id="AKIADENIED0000000000", aws_secret_access_key="x")
    with pytest.raises(ClientError) as error:
        getattr(client, call)()
    assert code_of(error) == code


def test_any_other_credentials_will_do(sandbox: Sandbox) -> None:
    assert boto3.client("ec2", aws_access_key_id="AKIA0", aws_secret_access_key="x").describe_instances()


# ---- the control path and the journal


def control(sandbox: Sandbox, path: str = "/sandbox/faults", *, data: bytes | None = None, host: str = "") -> int:
    headers = {"Host": host} if host else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(sandbox.endpoint + path, data=data, headers=headers)) as ok:
            return ok.status
    except HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 200),
        ({"host": "rebound.example:80"}, 403),
        ({"path": "/sandbox/nothing"}, 404),
        ({"data": b"no json"}, 400),
        ({"data": b'{"kind": "flood"}'}, 400),
    ],
)
def test_control_path_answers(sandbox: Sandbox, options, status) -> None:
    assert control(sandbox, **options) == status


def test_endpoint_listens_on_its_own_address_alone(sandbox: Sandbox) -> None:
    port = sandbox.endpoint.rpartition(":")[2]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/sandbox/faults")


def test_journal_has_every_request_without_secrets(sandbox: Sandbox, launch) -> None:
    before = len(sandbox.journal())
    instance = launch(UserData="#cloud-config\nssh_keys: {ed25519_private: hush}\n", ClientToken="journal")[0]
    entry = sandbox.journal()[before]
    assert (entry["service"], entry["action"], entry["status"]) == ("ec2", "RunInstances", 200)
    assert entry["params"]["ClientToken"] == "journal"
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", entry["params"]["UserData"])
    assert instance["InstanceId"]
