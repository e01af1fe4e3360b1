"""A stand-in for AWS's prices: the Price List API's answer for common instance types, and spot prices.

The figures are AWS's public list prices for Linux on demand in us-east-1, as known in 2025. They are for trying things
out: the sandbox charges nothing, spot prices are a made-up share of these, and nobody keeps the table up to date.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from werkzeug.wrappers import Response

from nightreel.sandbox.calls import ApiError, Call, aws_json_response
from nightreel.sandbox.settings import REGION

_LARGE = {  # USD per hour of the `large` size; the other sizes cost in proportion
    "m7i": 0.1008, "m7g": 0.0816, "m6i": 0.096, "m6g": 0.077, "m5": 0.096, "c7i": 0.08925, "c7g": 0.0725, "c6i": 0.085,
    "c5": 0.085, "r7i": 0.1323, "r7g": 0.1071, "r6i": 0.126, "r5": 0.126, "t3": 0.0832, "t3a": 0.0752, "t4g": 0.0672,
}  # fmt: skip
_SIZES = {"large": 1, "xlarge": 2, "2xlarge": 4, "4xlarge": 8}
_BURSTABLE_SIZES = {"micro": 0.125, "small": 0.25, "medium": 0.5, "large": 1, "xlarge": 2, "2xlarge": 4}
_SPOT_SHARE = 0.36  # of the price on demand, in the first zone; each further zone is a little dearer
_LOCATION = "US East (N. Virginia)"


@dataclass(frozen=True, kw_only=True)
class _Variant:
    """One of the products that AWS lists for an instance type; all but the first are there to be filtered out."""

    share: float
    system: str = "Linux"
    tenancy: str = "Shared"
    software: str = "NA"
    capacity: str = "Used"


_VARIANTS = (
    _Variant(share=1.0),
    _Variant(share=1.0, capacity="UnusedCapacityReservation"),
    _Variant(share=0.0, capacity="AllocatedCapacityReservation"),
    _Variant(share=1.06, tenancy="Dedicated"),
    _Variant(share=1.9, system="Windows"),
    _Variant(share=1.7, software="SQL Web"),
)


def on_demand_price(instance_type: str) -> float | None:
    """USD per hour of a type in us-east-1, None when the table does not have it."""
    family, _, size = instance_type.partition(".")
    factor = (_BURSTABLE_SIZES if family.startswith("t") else _SIZES).get(size)
    large = _LARGE.get(family)
    return round(large * factor, 6) if large and factor else None


def spot_price(instance_type: str, zone: str) -> float | None:
    """USD per hour of a spot instance in a zone now, None when the table does not have the type."""
    price = on_demand_price(instance_type)
    return round(price * (_SPOT_SHARE + 0.01 * (ord(zone[-1:] or "a") - ord("a"))), 6) if price else None


def listed_types() -> Iterator[str]:
    """The types that have a price."""
    for family in _LARGE:
        for size in _BURSTABLE_SIZES if family.startswith("t") else _SIZES:
            yield f"{family}.{size}"


def get_products(call: Call) -> Response:
    """Answer `AWSPriceListService.GetProducts`. Raises ApiError for what AWS refuses."""
    request = call.json()
    if request.get("ServiceCode") != "AmazonEC2":
        raise ApiError("NotFoundException", "The sandbox has prices of AmazonEC2 only.")
    wanted = _wanted(request.get("Filters") or [])
    products = [product for product in _products() if wanted.items() <= product["product"]["attributes"].items()]
    start, size = int(request.get("NextToken") or 0), min(int(request.get("MaxResults") or 100), 100)
    answer: dict[str, Any] = {
        "FormatVersion": "aws_v1",
        "PriceList": [json.dumps(product) for product in products[start : start + size]],
    }
    if start + size < len(products):
        answer["NextToken"] = str(start + size)
    return aws_json_response(answer)


def _wanted(filters: list[Mapping[str, str]]) -> dict[str, str]:
    for entry in filters:
        if entry.get("Type") not in ("TERM_MATCH", "EQUALS"):
            raise ApiError("InvalidParameterException", "The sandbox knows filters of the type TERM_MATCH only.")
    known = set(_attributes("m7i.large", _VARIANTS[0]))
    if unknown := sorted(entry["Field"] for entry in filters if entry["Field"] not in known | {"ServiceCode"}):
        raise ApiError("InvalidParameterException", f"The sandbox's products have no attribute {', '.join(unknown)}.")
    return {entry["Field"]: entry["Value"] for entry in filters if entry["Field"] != "ServiceCode"}


def _products() -> Iterator[dict[str, Any]]:
    for instance_type in listed_types():
        price = on_demand_price(instance_type) or 0.0
        for number, variant in enumerate(_VARIANTS):
            sku = f"SANDBOX{instance_type.replace('.', '').upper():0>8}{number}"
            yield {
                "product": {
                    "productFamily": "Compute Instance",
                    "attributes": _attributes(instance_type, variant),
                    "sku": sku,
                },
                "serviceCode": "AmazonEC2",
                "terms": {"OnDemand": _term(sku, price * variant.share, instance_type, variant)},
                "version": "sandbox",
                "publicationDate": "2025-01-01T00:00:00Z",
            }


def _attributes(instance_type: str, variant: _Variant) -> dict[str, str]:
    return {
        "instanceType": instance_type, "regionCode": REGION, "location": _LOCATION, "locationType": "AWS Region",
        "operatingSystem": variant.system, "tenancy": variant.tenancy, "preInstalledSw": variant.software,
        "capacitystatus": variant.capacity, "licenseModel": "No License required", "marketoption": "OnDemand",
        "operation": "RunInstances", "usagetype": f"BoxUsage:{instance_type}", "servicecode": "AmazonEC2",
        "servicename": "Amazon Elastic Compute Cloud", "currentGeneration": "Yes",
    }  # fmt: skip


def _term(sku: str, price: float, instance_type: str, variant: _Variant) -> dict[str, Any]:
    """The terms on demand, under the codes that AWS has for them."""
    offer, rate = f"{sku}.JRTCKXETXF", f"{sku}.JRTCKXETXF.6YS6EN2CT7"
    words = f"${price:.6g} per On Demand {variant.system} {instance_type} Instance Hour"
    dimension = {
        "unit": "Hrs", "beginRange": "0", "endRange": "Inf", "description": words, "appliesTo": [], "rateCode": rate,
        "pricePerUnit": {"USD": f"{price:.10f}"},
    }  # fmt: skip
    return {
        offer: {
            "priceDimensions": {rate: dimension},
            "sku": sku,
            "effectiveDate": "2025-01-01T00:00:00Z",
            "offerTermCode": "JRTCKXETXF",
            "termAttributes": {},
        }
    }


def spot_history(call: Call, zones: list[str]) -> list[dict[str, str]]:
    """The items of DescribeSpotPriceHistory: one price per type and zone, that of now."""
    filters = call.filters()
    types = [*call.numbered("InstanceType"), *filters.get("instance-type", [])] or list(listed_types())
    chosen = [*call.numbered("AvailabilityZone"), *filters.get("availability-zone", [])] or zones
    system = [*call.numbered("ProductDescription"), *filters.get("product-description", [])] or ["Linux/UNIX"]
    linux = next((name for name in system if name.startswith("Linux/UNIX")), None)
    if linux is None:
        return []
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:00:00.000Z}"
    return [
        {
            "instanceType": instance_type, "productDescription": linux, "spotPrice": f"{price:.6f}", "timestamp": now,
            "availabilityZone": zone,
        }
        for instance_type in types for zone in zones
        if zone in chosen and (price := spot_price(instance_type, zone))
    ]  # fmt: skip
