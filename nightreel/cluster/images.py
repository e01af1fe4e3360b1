"""Which image the machines start from: it must be made for their processors."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nightreel.cluster.ec2 import translated
from nightreel.cluster.errors import RefusedError
from nightreel.cluster.spec import ClusterSpec

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

ARCHITECTURES = ("x86_64", "arm64")
_AMAZON_LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{architecture}"


def image_for(ec2: "EC2Client", ssm: Any, spec: ClusterSpec) -> str:
    """The image of the cluster: the one that it names, else the current Amazon Linux for its types' processors."""
    return spec.ami or latest_image(ssm, architecture(ec2, all_types(spec)))


def latest_image(ssm: Any, architecture: str) -> str:
    """The id of the current Amazon Linux image, from AWS's public parameter; `ssm` is a boto3 SSM client."""
    with translated("look up the current Amazon Linux image"):
        return str(ssm.get_parameter(Name=_AMAZON_LINUX.format(architecture=architecture))["Parameter"]["Value"])


def all_types(spec: ClusterSpec) -> tuple[str, ...]:
    """Every instance type that a node of this cluster may have."""
    return tuple(dict.fromkeys((*spec.master_types, *spec.worker_types)))


def architecture(ec2: "EC2Client", instance_types: Sequence[str]) -> str:
    """The one processor architecture of all these types; RefusedError, naming two of them, where there are more."""
    with translated(f"look up the instance types {', '.join(instance_types)}"):
        # The stubs list the types that there were when they were made; EC2 knows more.
        answer = ec2.describe_instance_types(InstanceTypes=list(instance_types))  # type: ignore[arg-type]
    of_type = {
        str(found["InstanceType"]): _supported(found["ProcessorInfo"]["SupportedArchitectures"])
        for found in answer["InstanceTypes"]
    }
    first = instance_types[0]
    for other in instance_types:
        if of_type[other] != of_type[first]:
            raise RefusedError(
                f"{first} ({of_type[first]}) and {other} ({of_type[other]}) do not go together: one image serves all "
                "nodes of a cluster; choose types with the same processor architecture as --instance-type, "
                "--fallback-type and --master-type"
            )
    return of_type[first]


def _supported(architectures: Sequence[str]) -> str:
    return next((known for known in ARCHITECTURES if known in architectures), "/".join(architectures))


def root_device(ec2: "EC2Client", image: str, *, instance_types: Sequence[str]) -> str:
    """The name of the image's root device; RefusedError when the image is not for these types' processors."""
    with translated(f"look up the image {image}"):
        found = ec2.describe_images(ImageIds=[image])["Images"]
    if not found:
        raise RefusedError(f"there is no image {image} in this region: images belong to one region, check --ami")
    needed, offered = architecture(ec2, instance_types), found[0]["Architecture"]
    if offered != needed:
        raise RefusedError(
            f"the image {image} is for {offered} and {instance_types[0]} is {needed}: choose another of the two"
        )
    return found[0]["RootDeviceName"]
