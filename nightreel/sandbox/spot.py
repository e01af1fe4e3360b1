"""The spot market: one-time requests beside the instances they brought, and prices."""

from collections.abc import Iterable
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.utils import random_spot_request_id
from werkzeug.wrappers import Response

from nightreel.sandbox.account import DEAD, RECLAIMED, Account, Instance
from nightreel.sandbox.calls import ApiError, Call, ec2_answer
from nightreel.sandbox.faults import tags_of
from nightreel.sandbox.pricing import on_demand_price, spot_history, spot_price


class SpotRequest(TaggedEC2Resource):
    """A one-time request that brought one instance, in the shape in which moto describes, filters and tags."""

    type = "one-time"
    product_description = "Linux/UNIX"
    instance_interruption_behavior = "terminate"

    def __init__(self, instance: Instance, price: str) -> None:
        super().__init__()
        self.ec2_backend = instance.ec2_backend
        self.id = self.spot_instance_request_id = str(random_spot_request_id())
        self.instance = instance
        self.instance_id = str(instance.id)
        self.launched_availability_zone = str(instance.placement.zone)
        self.spot_price = price
        self.create_time = datetime.now(UTC)
        self.cancelled = False

    @property
    def state(self) -> str:
        """`active` while its instance lives, then `closed`; or `cancelled`, which leaves the instance alone."""
        if self.cancelled:
            return "cancelled"
        return "closed" if self.instance.state in DEAD else "active"

    @property
    def status(self) -> dict[str, object]:
        """What became of the request, in EC2's codes."""
        return {"Code": self.status_code, "Message": self.status_code.replace("-", " "), "UpdateTime": self.create_time}

    @property
    def status_code(self) -> str:
        """What became of the request."""
        if self.instance.state not in DEAD:
            return "request-canceled-and-instance-running" if self.cancelled else "fulfilled"
        reclaimed = self.instance.state_reason.code == RECLAIMED
        return "instance-terminated-no-capacity" if reclaimed else "instance-terminated-by-user"


class SpotMarket:
    """The spot requests of the account. Every method is called under the lock of the hosts."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def refuse_price(self, call: Call) -> None:
        """Raise ApiError when a RunInstances offers less than the price of now."""
        offered = call.params.get("InstanceMarketOptions.SpotOptions.MaxPrice")
        price = spot_price(call.params.get("InstanceType", ""), "")
        if offered and price and float(offered) < price:
            raise ApiError(
                "SpotMaxPriceTooLow",
                f"Your Spot request price of {offered} is lower than the minimum required Spot request fulfillment "
                f"price of {price}.",
            )

    def register(self, call: Call, ids: Iterable[str]) -> None:
        """Make the requests of a launch on the spot market; of another one, nothing."""
        if call.params.get("InstanceMarketOptions.MarketType") != "spot":
            return
        limit = on_demand_price(call.params.get("InstanceType", ""))
        price = call.params.get("InstanceMarketOptions.SpotOptions.MaxPrice") or (f"{limit:.6f}" if limit else "")
        for instance in filter(None, map(self._account.find, ids)):
            request = SpotRequest(instance, price)
            instance.ec2_backend.spot_instance_requests[request.id] = request
            instance.spot_instance_request_id = request.id
            request.add_tags(tags_of(call.params, "spot-instances-request"))

    def require_known(self, call: Call) -> None:
        """Raise ApiError when a call names a spot request that there is not; moto says nothing, or crashes."""
        known = self._account.spot_requests(call.region)
        if missing := [one for one in call.numbered("SpotInstanceRequestId") if one not in known]:
            raise ApiError(
                "InvalidSpotInstanceRequestID.NotFound", f"The spot instance request ID '{missing[0]}' does not exist"
            )

    def cancel(self, call: Call) -> Response:
        """CancelSpotInstanceRequests: the instance stays, and so does the request, to be described."""
        self.require_known(call)
        known = self._account.spot_requests(call.region)
        ids = call.numbered("SpotInstanceRequestId")
        for request in (known[request_id] for request_id in ids):
            request.cancelled = request.cancelled or request.state == "active"
        items = (
            f"<item><spotInstanceRequestId>{one}</spotInstanceRequestId><state>{known[one].state}</state></item>"
            for one in ids
        )
        return ec2_answer(call.action, f"<spotInstanceRequestSet>{''.join(items)}</spotInstanceRequestSet>")

    def price_history(self, call: Call) -> Response:
        """DescribeSpotPriceHistory, on one page."""
        items = "".join(
            f"<item>{''.join(f'<{name}>{escape(value)}</{name}>' for name, value in entry.items())}</item>"
            for entry in spot_history(call, self._account.zones(call.region))
        )
        return ec2_answer(call.action, f"<spotPriceHistorySet>{items}</spotPriceHistorySet><nextToken/>")

    def refuse_stop(self, instance: Instance) -> None:
        """Raise the ApiError that EC2 answers when a spot instance is to be stopped."""
        if instance.lifecycle == "spot":
            raise ApiError(
                "UnsupportedOperation",
                f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot "
                "Instance request. You can only stop Spot Instances associated with persistent Spot Instance requests.",
            )
