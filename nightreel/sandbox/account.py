"""moto's EC2 account as the sandbox needs it: its images and network, and what moto leaves out of an instance's life.

Import it after the switches of `server` are set, which moto reads when it is imported.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Network
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.amis import Ami
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.instance_types import INSTANCE_TYPES
from moto.ec2.models.instances import StateReason
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, filter_dict_attribute_mapping, get_prefix
from moto.iam.models import iam_backends
from moto.ssm.models import ssm_backends

from nightreel.sandbox.faults import tags_of
from nightreel.sandbox.settings import ARM_IMAGE, BAKED_IMAGE, PLAIN_IMAGE, REGION

_AMAZON_LINUX = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-"
ROOT_DEVICE = "/dev/xvda"
DEAD = ("shutting-down", "terminated")
RECLAIMED = "Server.SpotInstanceTermination"
"""The code of the StateReason of a spot instance that EC2 took back."""

Instance = Any  # moto is not typed


class Account:
    """The one AWS account of the sandbox. Every method is called under the lock of the hosts."""

    def __init__(self, network: IPv4Network) -> None:
        filter_dict_attribute_mapping["client-token"] = "client_token"
        filter_dict_attribute_mapping["instance-lifecycle"] = "lifecycle"
        filter_dict_attribute_mapping["spot-instance-request-id"] = "spot_instance_request_id"
        _lay_default_network(network)
        _look_tags_up_by_id()
        self._backend = ec2_backends[DEFAULT_ACCOUNT_ID][REGION]
        self._register(BAKED_IMAGE, "nightreel-sandbox-baked", "Spark and its Python under the login's home")
        self._register(PLAIN_IMAGE, "nightreel-sandbox-plain", "Without Spark")
        # What runs there are this machine's own programs; only the API takes it for another architecture.
        self._register(ARM_IMAGE, "nightreel-sandbox-baked-arm64", "As the baked one, for Arm", architecture="arm64")
        parameters = ssm_backends[DEFAULT_ACCOUNT_ID][REGION]._parameters
        for architecture, image in (("x86_64", BAKED_IMAGE), ("arm64", ARM_IMAGE)):
            parameters[f"{_AMAZON_LINUX}{architecture}"][-1].value = image

    def _register(self, image: str, name: str, description: str, *, architecture: str = "x86_64") -> None:
        self._backend.amis[image] = _Image(
            self._backend, image, name=name, description=description, owner_alias="amazon", public=True,
            virtualization_type="hvm", architecture=architecture, root_device_type="ebs", root_device_name=ROOT_DEVICE,
            region_name=f"{REGION}a",
        )  # fmt: skip

    def instances(self) -> Iterator[Instance]:
        """Every instance of every region, the terminated ones too."""
        for backend in list(ec2_backends[DEFAULT_ACCOUNT_ID].values()):
            for reservation in list(backend.reservations.values()):
                yield from list(reservation.instances)

    def find(self, instance_id: str) -> Instance | None:
        """The instance with this id, if there is one."""
        return next((instance for instance in self.instances() if instance.id == instance_id), None)

    def has_region(self, region: str) -> bool:
        """Whether AWS has a region of this name."""
        return region in ec2_backends[DEFAULT_ACCOUNT_ID]

    def default_subnet(self, region: str, zone: str | None) -> str | None:
        """The default subnet of a zone, or of the region's first."""
        subnets = ec2_backends[DEFAULT_ACCOUNT_ID][region].get_default_subnets()
        chosen = subnets.get(zone) if zone else next(iter(subnets.values()), None)
        return chosen.id if chosen else None

    def zones(self, region: str) -> list[str]:
        """The names of a region's zones."""
        return [str(zone.name) for zone in ec2_backends[DEFAULT_ACCOUNT_ID][region].describe_availability_zones()]

    def zone(self, region: str, *, subnet: str | None, zone: str | None) -> str:
        """The zone in which a launch with this subnet and zone lands, '' when there is no such subnet."""
        chosen = subnet or self.default_subnet(region, zone)
        by_zone = ec2_backends[DEFAULT_ACCOUNT_ID][region].subnets
        return next((str(name) for name, subnets in by_zone.items() if chosen in subnets), "")

    def image_architecture(self, image_id: str) -> str | None:
        """What an image is made for, None when there is no such image."""
        image = self._backend.amis.get(image_id)
        return str(image.architecture) if image else None

    def type_architectures(self, instance_type: str) -> list[str]:
        """What an instance type can run, nothing when there is no such type."""
        known = INSTANCE_TYPES.get(instance_type, {})
        return list(known.get("ProcessorInfo", {}).get("SupportedArchitectures", []))

    def instance_profile(self, *, name: str | None, arn: str | None) -> Any:
        """The instance profile of this name or ARN, None when there is none."""
        profiles = iam_backends[DEFAULT_ACCOUNT_ID]["aws"].get_instance_profiles()
        return next((profile for profile in profiles if profile.arn == arn or profile.name == name), None)

    def spot_requests(self, region: str) -> Mapping[str, Any]:
        """The spot requests of a region by their ids."""
        requests: Mapping[str, Any] = ec2_backends[DEFAULT_ACCOUNT_ID][region].spot_instance_requests
        return requests

    def public_key(self, instance: Instance) -> str | None:
        """The public part of the instance's key pair, in OpenSSH's format."""
        pair = instance.ec2_backend.key_pairs.get(instance.key_name)
        if pair is None:
            return None
        material = pair.material_public
        return (material.decode() if isinstance(material, bytes) else str(material)).strip()

    def complete_launch(self, ids: Iterable[str], params: Mapping[str, str]) -> None:
        """Give new instances' network interfaces the tags they were asked for, no public address, and a known end.

        And the instance profile to all of them, for moto gives it to the first alone, and the security groups of
        their first interface, which are theirs.
        """
        name, arn = params.get("IamInstanceProfile.Name"), params.get("IamInstanceProfile.Arn")
        profile = self.instance_profile(name=name, arn=arn) if name or arn else None
        for instance in filter(None, map(self.find, ids)):
            if profile:
                instance.iam_instance_profile = {"Arn": profile.arn, "Id": profile.id}
            for interface in instance.nics.values():
                interface.public_ip_auto_assign, interface.public_ip = False, None
                interface.delete_on_termination |= not any(name.startswith("NetworkInterface.") for name in params)
                interface.add_tags(tags_of(params, "network-interface"))
            if first := instance.nics.get(0):
                instance.security_groups = [*first.group_set]

    def regroup(self, instance: Instance) -> None:
        """Let the first interface of an instance be in the security groups that the instance was just given."""
        if first := instance.nics.get(0):
            first._group_set = [*instance.security_groups]

    def shut_down(self, instance: Instance, *, code: str, message: str, terminate: bool) -> None:
        """Stop or terminate an instance whose host has gone by itself."""
        if terminate:
            instance.terminate()
        else:
            instance.stop()
        instance.state_reason = StateReason(f"{code}: {message}", code)
        said = "Service initiated" if code == RECLAIMED else message
        instance._reason = f"{said} ({datetime.now(UTC):%Y-%m-%d %H:%M:%S} GMT)"

    def speak_as_ec2(self, ids: Iterable[str]) -> None:
        """Let the reasons that moto has just given to instances name their time zone as EC2 does."""
        for instance in filter(None, map(self.find, ids)):
            instance._reason = instance._reason.replace(" UTC)", " GMT)")

    def release(self, instance: Instance) -> None:
        """Let go of the interfaces of a terminated instance; moto has deleted those, and volumes, that go with it."""
        for interface in instance.nics.values():
            interface.delete_on_termination = False  # or moto would delete it again when terminated again
            interface.instance, interface.attachment_id, interface.status = None, None, "available"

    def has_group(self, region: str, group: str) -> bool:
        """Whether there is a security group of this id."""
        return ec2_backends[DEFAULT_ACCOUNT_ID][region].get_security_group_from_id(group) is not None

    def users_of_group(self, group: str) -> list[str]:
        """What a security group can not be deleted for: interfaces in it, and rules of other groups that name it."""
        users: list[str] = []
        for backend in list(ec2_backends[DEFAULT_ACCOUNT_ID].values()):
            users += [eni.id for eni in backend.enis.values() if group in {g.id for g in eni.group_set}]
            for other in (g for groups in backend.groups.values() for g in groups.values() if g.id != group):
                rules = [*other.ingress_rules, *other.egress_rules]
                if any(rule.source_group.get("GroupId") == group for rule in rules):
                    users.append(other.id)
        return users


class _Image(Ami):
    """An image whose description says of its disk what EC2's says."""

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        [disk] = super().block_device_mappings
        return [disk | {"Ebs": {**disk["Ebs"], "Encrypted": False}}]


def _lay_default_network(network: IPv4Network) -> None:
    """Let the region's default VPC lie in `network`, where this machine has addresses, and give no public ones."""
    original = EC2Backend.create_default_vpc

    def create_default_vpc(backend: Any) -> Any:
        if backend.region_name != REGION:
            return original(backend)
        vpc = backend.create_vpc(cidr_block=str(network), is_default=True)
        for zone in backend.describe_availability_zones():
            backend.create_default_subnet(zone.name).map_public_ip_on_launch = False
        return vpc

    # moto offers no setting for it, and makes the default network when an account is first asked for.
    EC2Backend.create_default_vpc = create_default_vpc  # type: ignore[assignment,method-assign]


def _look_tags_up_by_id() -> None:
    """Let a resource find its own tags without a search through all tags of the account.

    moto searches them all, for every resource that it filters or describes: with the hundreds of dead instances of an
    hour of tests, each call took seconds.
    """

    def get_tags(resource: Any) -> list[dict[str, str]]:
        kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(resource.id), "") if resource.id else ""
        own = resource.ec2_backend.tags.get(resource.id, {}) if resource.id else {}
        return [
            {"resource_id": resource.id, "key": key, "value": value, "resource_type": kind}
            for key, value in own.items()
        ]

    TaggedEC2Resource.get_tags = get_tags  # type: ignore[assignment,method-assign]
