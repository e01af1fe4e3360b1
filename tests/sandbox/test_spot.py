"""The spot market: requests, prices, and instances that EC2 takes back."""

import pytest
from botocore.exceptions import ClientError

from nightreel.sandbox.client import Sandbox
from nightreel.sandbox.faults import Fault
from nightreel.sandbox.settings import SandboxError

pytestmark = pytest.mark.sandbox

SPOT = {"InstanceMarketOptions": {"MarketType": "spot", "SpotOptions": {"SpotInstanceType": "one-time"}}}
TAGS = [{"Key": "nightreel:cluster", "Value": "spotted"}]


@pytest.fixture
def requests_of(ec2):
    """Describe the spot requests of an instance."""

    def find(instance_id: str, *filters: dict[str, object]) -> list[dict]:
        chosen = [{"Name": "instance-id", "Values": [instance_id]}, *filters]
        return ec2.describe_spot_instance_requests(Filters=chosen)["SpotInstanceRequests"]

    return find


@pytest.fixture
def spot_instance(launch) -> str:
    specification = [{"ResourceType": "spot-instances-request", "Tags": TAGS}]
    return launch(TagSpecifications=specification, **SPOT)[0]["InstanceId"]


def test_spot_instance_names_its_request(describe, requests_of, spot_instance) -> None:
    shown, request = describe(spot_instance), requests_of(spot_instance)[0]
    assert (shown["InstanceLifecycle"], shown["SpotInstanceRequestId"]) == ("spot", request["SpotInstanceRequestId"])
    assert (request["State"], request["Status"]["Code"], request["Type"]) == ("active", "fulfilled", "one-time")
    assert request["Tags"] == TAGS


def test_on_demand_instance_has_no_request(launch, describe, requests_of) -> None:
    instance = launch()[0]["InstanceId"]
    assert "InstanceLifecycle" not in describe(instance)
    assert "SpotInstanceRequestId" not in describe(instance)
    assert requests_of(instance) == []


def test_instances_are_found_by_their_market(ec2, launch, spot_instance) -> None:
    launch()
    living = {"Name": "instance-state-name", "Values": ["pending", "running"]}
    found = ec2.describe_instances(Filters=[{"Name": "instance-lifecycle", "Values": ["spot"]}, living])
    assert [i["InstanceId"] for r in found["Reservations"] for i in r["Instances"]] == [spot_instance]


def test_requests_are_found_by_tag_and_state(ec2, requests_of, spot_instance) -> None:
    tagged = {"Name": "tag:nightreel:cluster", "Values": ["spotted"]}
    assert requests_of(spot_instance, tagged, {"Name": "state", "Values": ["open", "active"]})
    assert not requests_of(spot_instance, tagged, {"Name": "state", "Values": ["closed"]})


def test_request_closes_with_its_instance(ec2, requests_of, spot_instance) -> None:
    ec2.terminate_instances(InstanceIds=[spot_instance])
    request = requests_of(spot_instance)[0]
    assert (request["State"], request["Status"]["Code"]) == ("closed", "instance-terminated-by-user")


def test_cancel_leaves_the_instance(ec2, requests_of, describe, spot_instance) -> None:
    request = requests_of(spot_instance)[0]["SpotInstanceRequestId"]
    for _ in range(2):
        answer = ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request])
        assert answer["CancelledSpotInstanceRequests"] == [{"SpotInstanceRequestId": request, "State": "cancelled"}]
    assert requests_of(spot_instance)[0]["Status"]["Code"] == "request-canceled-and-instance-running"
    assert describe(spot_instance)["State"]["Name"] in ("pending", "running")


@pytest.mark.parametrize("call", ["cancel_spot_instance_requests", "describe_spot_instance_requests"])
def test_request_that_does_not_exist_is_refused(ec2, call) -> None:
    with pytest.raises(ClientError, match="does not exist") as error:
        getattr(ec2, call)(SpotInstanceRequestIds=["sir-00000000"])
    assert error.value.response["Error"]["Code"] == "InvalidSpotInstanceRequestID.NotFound"


def test_spot_instance_can_not_be_stopped(ec2, describe, spot_instance) -> None:
    with pytest.raises(ClientError, match="one-time Spot Instance request") as error:
        ec2.stop_instances(InstanceIds=[spot_instance])
    assert error.value.response["Error"]["Code"] == "UnsupportedOperation"
    assert describe(spot_instance)["State"]["Name"] in ("pending", "running")


def test_offer_below_the_price_is_refused(launch) -> None:
    options = {"MarketType": "spot", "SpotOptions": {"MaxPrice": "0.001"}}
    with pytest.raises(ClientError) as error:
        launch(InstanceMarketOptions=options)
    assert error.value.response["Error"]["Code"] == "SpotMaxPriceTooLow"


def test_reclaim_ends_instance_and_request(sandbox: Sandbox, describe, requests_of, await_state, spot_instance) -> None:
    await_state(spot_instance, "running")
    sandbox.inject(Fault(kind="reclaim", instance=spot_instance))
    shown = describe(spot_instance)
    assert (shown["State"]["Name"], shown["StateReason"]["Code"]) == ("terminated", "Server.SpotInstanceTermination")
    assert shown["StateTransitionReason"].startswith("Service initiated (")
    assert requests_of(spot_instance)[0]["Status"]["Code"] == "instance-terminated-no-capacity"


def test_reclaim_of_an_instance_on_demand_is_refused(sandbox: Sandbox, launch) -> None:
    instance = launch()[0]["InstanceId"]
    with pytest.raises(SandboxError, match="no spot instance"):
        sandbox.inject(Fault(kind="reclaim", instance=instance))


# ---- prices


def test_price_history_has_one_price_per_zone(ec2) -> None:
    history = ec2.describe_spot_price_history(InstanceTypes=["m7i.large"], ProductDescriptions=["Linux/UNIX"])
    prices = {entry["AvailabilityZone"]: float(entry["SpotPrice"]) for entry in history["SpotPriceHistory"]}
    assert sorted(prices) == [f"us-east-1{letter}" for letter in "abcdef"]
    assert all(0.2 * 0.1008 < price < 0.6 * 0.1008 for price in prices.values())


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"InstanceTypes": ["m7i.large", "c7g.xlarge"], "AvailabilityZone": "us-east-1b"}, 2),
        ({"Filters": [{"Name": "instance-type", "Values": ["m7i.large"]}]}, 6),
        ({"InstanceTypes": ["m7i.large"], "ProductDescriptions": ["Windows"]}, 0),
        ({"InstanceTypes": ["u-24tb1.metal"]}, 0),
    ],
)
def test_price_history_of_what_is_asked_for(ec2, query, count) -> None:
    assert len(ec2.describe_spot_price_history(**query)["SpotPriceHistory"]) == count
