"""What EC2 refuses to launch and moto would."""

import base64
import re
from collections.abc import Mapping

from nightreel.sandbox.account import Account
from nightreel.sandbox.calls import ApiError, Call
from nightreel.sandbox.faults import tags_of

_USER_DATA_LIMIT = 16_384
_TAG_LIMIT = 50
_TAGGED = ("instance", "volume", "network-interface", "spot-instances-request")


def refuse_launch(call: Call, account: Account) -> None:
    """Raise the ApiError that EC2 answers a RunInstances with, if it does for a reason that moto does not see."""
    _refuse_user_data(call.params.get("UserData", ""))
    for resource in _TAGGED:
        refuse_tags(tags_of(call.params, resource))
    _refuse_groups(call, account)
    _refuse_profile(call.params, account)
    _refuse_architecture(call.params, account)
    _refuse_spot_options(call.params)


def refuse_tags(tags: Mapping[str, str]) -> None:
    """Raise the ApiError for tags that EC2 does not take."""
    if len(tags) > _TAG_LIMIT:
        raise ApiError("TagLimitExceeded", f"Maximum number of {_TAG_LIMIT} tags allowed per resource exceeded")
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise ApiError(
                "InvalidParameterValue",
                f"Value ( {key} ) for parameter key is invalid. "
                "Tag keys starting with 'aws:' are reserved for internal use",
            )
        if not 1 <= len(key) <= 127:
            raise ApiError("InvalidParameterValue", f"Tag key length must be 1 to 127 characters: '{key}'")
        if len(value) > 256:
            raise ApiError("InvalidParameterValue", f"Tag value exceeds the maximum length of 256 characters: '{key}'")


def _refuse_user_data(encoded: str) -> None:
    try:
        size = len(base64.b64decode("".join(encoded.split()), validate=True))
    except ValueError:
        raise ApiError("InvalidParameterValue", "Invalid BASE64 encoding of user data") from None
    if size > _USER_DATA_LIMIT:
        raise ApiError("InvalidParameterValue", f"User data is limited to {_USER_DATA_LIMIT} bytes")


def _refuse_groups(call: Call, account: Account) -> None:
    """moto launches into a security group that is gone, and so what was asked for before its end comes after it."""
    for name, group in call.params.items():
        named = re.fullmatch(r"(NetworkInterface\.\d+\.)?SecurityGroupId\.\d+", name)
        if named and not account.has_group(call.region, group):
            raise ApiError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")


def _refuse_profile(params: Mapping[str, str], account: Account) -> None:
    name, arn = params.get("IamInstanceProfile.Name"), params.get("IamInstanceProfile.Arn")
    if name and arn:
        raise ApiError(
            "InvalidParameterCombination",
            "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'",
        )
    if (name or arn) and account.instance_profile(name=name, arn=arn) is None:
        raise ApiError(
            "InvalidParameterValue",
            f"Value ({name or arn}) for parameter iamInstanceProfile.{'name' if name else 'arn'} is invalid. "
            f"Invalid IAM Instance Profile {'name' if name else 'ARN'}",
        )


def _refuse_architecture(params: Mapping[str, str], account: Account) -> None:
    image = account.image_architecture(params.get("ImageId", ""))
    machine = account.type_architectures(params.get("InstanceType", ""))
    if image and machine and image not in machine:  # what is unknown is moto's to refuse
        raise ApiError(
            "InvalidParameterValue",
            f"The architecture '{','.join(machine)}' of the specified instance type does not match the architecture "
            f"'{image}' of the specified AMI. Specify an instance type and an AMI that have matching architectures, "
            "and try again. You can use 'describe-instance-types' or 'describe-images' to discover the architecture of "
            "the instance type or AMI.",
        )


def _refuse_spot_options(params: Mapping[str, str]) -> None:
    start = "InstanceMarketOptions."
    options = {name.removeprefix(start) for name in params if name.startswith(start)}
    market = params.get(f"{start}MarketType")
    if options and market not in ("spot", "capacity-block"):
        raise ApiError("InvalidParameterValue", f"Value ({market}) for parameter MarketType is invalid.")
    if params.get(f"{start}SpotOptions.SpotInstanceType") == "persistent":
        raise ApiError("UnsupportedOperation", "The sandbox simulates one-time spot requests only.")
    if params.get(f"{start}SpotOptions.InstanceInterruptionBehavior", "terminate") != "terminate":
        raise ApiError(
            "InvalidParameterCombination",
            "The request with type 'one-time' is not supported when instanceInterruptionBehavior is set to "
            f"'{params[f'{start}SpotOptions.InstanceInterruptionBehavior']}'.",
        )
    price = params.get(f"{start}SpotOptions.MaxPrice")
    if price is not None and not re.fullmatch(r"\d+(\.\d+)?", price):
        raise ApiError("InvalidParameterValue", f"Value ({price}) for parameter MaxPrice is invalid.")
