"""The Price List API's stand-in."""

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from nightreel.sandbox.pricing import listed_types, on_demand_price

COMMON = {
    "regionCode": "us-east-1",
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}


@pytest.fixture
def pricing(sandbox) -> Any:
    return boto3.client("pricing", config=boto3.session.Config(retries={"total_max_attempts": 1}))


@pytest.fixture
def products(pricing):
    """The products that match attributes."""

    def find(**attributes: str) -> list[dict[str, Any]]:
        filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in attributes.items()]
        return [
            json.loads(text) for text in pricing.get_products(ServiceCode="AmazonEC2", Filters=filters)["PriceList"]
        ]

    return find


def dollars(product: dict[str, Any]) -> float:
    (term,) = product["terms"]["OnDemand"].values()
    (dimension,) = term["priceDimensions"].values()
    assert dimension["unit"] == "Hrs"
    return float(dimension["pricePerUnit"]["USD"])


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("instance_type", "price"),
    [("m7i.large", 0.1008), ("c7g.xlarge", 0.145), ("r7i.4xlarge", 1.0584), ("t3.micro", 0.0104)],
)
def test_products_has_one_price_for_all_five_filters(products, instance_type, price) -> None:
    assert [dollars(product) for product in products(instanceType=instance_type, **COMMON)] == [price]


@pytest.mark.sandbox
@pytest.mark.parametrize("forgotten", ["operatingSystem", "tenancy", "preInstalledSw", "capacitystatus"])
def test_products_are_ambiguous_when_a_filter_is_forgotten(products, forgotten) -> None:
    filters = {field: value for field, value in COMMON.items() if field != forgotten}
    assert len(products(instanceType="m7i.large", **filters)) > 1


@pytest.mark.sandbox
@pytest.mark.parametrize("unknown", [{"instanceType": "u-24tb1.metal"}, {"regionCode": "eu-west-1"}])
def test_products_of_the_unknown_are_none(products, unknown) -> None:
    assert products(**{"instanceType": "m7i.large", **COMMON, **unknown}) == []


@pytest.mark.sandbox
def test_products_come_in_pages(pricing) -> None:
    pages = pricing.get_paginator("get_products").paginate(ServiceCode="AmazonEC2", Filters=[])
    sizes = [len(page["PriceList"]) for page in pages]
    assert (len(sizes) > 1, max(sizes)) == (True, 100)


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"ServiceCode": "AmazonRDS", "Filters": []}, "NotFoundException"),
        (
            {"ServiceCode": "AmazonEC2", "Filters": [{"Type": "TERM_MATCH", "Field": "colour", "Value": "red"}]},
            "InvalidParameterException",
        ),
    ],
)
def test_products_refuse(pricing, query, code) -> None:
    with pytest.raises(ClientError) as error:
        pricing.get_products(**query)
    assert error.value.response["Error"]["Code"] == code


def test_every_listed_type_has_a_price() -> None:
    types = list(listed_types())
    assert all(map(on_demand_price, types))
    assert len(types) == len(set(types)) > 40


@pytest.mark.parametrize("unknown", ["m7i", "m7i.9xlarge", "x9.large", ""])
def test_unknown_type_has_no_price(unknown: str) -> None:
    assert on_demand_price(unknown) is None
