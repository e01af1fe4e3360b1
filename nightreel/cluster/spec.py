"""What a cluster should be, checked before anything is launched."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import IPv4Network, ip_network
from typing import Literal, get_args

# EC2 tag values allow more, but the name also becomes the name of a security group and part of paths.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.IGNORECASE)
_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_LOGIN = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
MAX_WORKERS = 200
MIN_VOLUME_GB = 8
# EC2 allows 50 tags on a resource, keys of 128 and values of 256 characters; ten tags are kept for our own.
MAX_TAGS, MAX_TAG_KEY, MAX_TAG_VALUE = 40, 128, 256
WIDEST_PREFIX = 8
"""A network of fewer bits than this is so much of the world that it needs a word of its own."""
OWN_TAGS = "nightreel:"

Market = Literal["on-demand", "spot"]
"""How EC2 sells a machine."""
Choice = Literal["on-demand", "spot", "spot-or-on-demand"]
"""Which market the workers are bought on; the third tries spot first."""
_MARKETS: dict[Choice, tuple[Market, ...]] = {
    "on-demand": ("on-demand",),
    "spot": ("spot",),
    "spot-or-on-demand": ("spot", "on-demand"),
}


def check_name(name: str) -> str:
    """The name, when it can be a cluster's; ValueError otherwise.

    EC2's filters read `*` and `?` as wildcards: a name that is looked for unchecked could mean every cluster.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the cluster name {name!r} can not be used: give 1 to 63 letters, digits, dots, "
            "dashes or underscores, starting with a letter or digit"
        )
    return name


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """A cluster of one master and `workers` workers.

    Raises ValueError, naming the field (both of them where two do not go together), when a value can not work.
    """

    name: str
    """Identity of the cluster: instances that carry it in their tag belong to it."""
    workers: int
    expires_at: datetime
    """Absolute time at which every node powers itself off, whatever else happens."""
    run: str = ""
    """What the keys are derived for; the name when empty."""
    minimum_workers: int | None = None
    """Fewer workers than this are a failed launch; all of them when None."""
    instance_type: str = "m7i.large"
    fallback_types: tuple[str, ...] = ()
    """Types to take, in this order, where EC2 has none of the first."""
    master_type: str | None = None
    """The master's type; as the workers' when None."""
    market: Choice = "on-demand"
    """How the workers are bought. The master is always on demand: without it the whole cluster is lost."""
    ami: str | None = None
    """The image; the current Amazon Linux for the types' processors when None."""
    subnets: tuple[str, ...] = ()
    """Where to launch, tried in this order; the default VPC's subnets when empty."""
    operator_cidr: str | None = None
    """Where SSH may come from; the network of the cluster itself when None."""
    allow_world: bool = False
    """Let `operator_cidr` be the whole world."""
    private_ips: bool = False
    """Reach the nodes by their private addresses, even where they have public ones."""
    user: str = "ec2-user"
    """Login user of the image."""
    ssh_port: int = 22
    key_pair: str | None = None
    """Name of an EC2 key pair that may log in too, besides the cluster's own key."""
    instance_profile: str | None = None
    """Name or ARN of the IAM instance profile that gives the nodes their role."""
    volume_gb: int = 30
    """Size of each node's root volume, GB."""
    tags: dict[str, str] = field(default_factory=dict)
    """The operator's own tags, put beside ours."""
    user_data: str = ""
    """The operator's own script or cloud-config, run on every node besides ours."""

    def __post_init__(self) -> None:
        self._check_size()
        self._check_machines()
        self._check_network()
        self._check_tags()

    def _check_size(self) -> None:
        check_name(self.name)
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ValueError(f"workers must be between 1 and {MAX_WORKERS}, not {self.workers}")
        if not 1 <= self.required_workers <= self.workers:
            raise ValueError(
                f"minimum workers must be between 1 and workers ({self.workers}), not {self.minimum_workers}"
            )
        if self.expires_at.tzinfo is None:
            raise ValueError("expires_at must say its time zone: nodes read it in UTC")

    def _check_machines(self) -> None:
        for instance_type in {*self.worker_types, *self.master_types}:
            if not _TYPE.fullmatch(instance_type):
                raise ValueError(f"{instance_type!r} is no instance type such as m7i.large")
        if self.market not in get_args(Choice):
            raise ValueError(f"there is no market {self.market!r}; supported: {', '.join(get_args(Choice))}")
        if self.volume_gb < MIN_VOLUME_GB:
            raise ValueError(f"volume_gb must be at least {MIN_VOLUME_GB}, not {self.volume_gb}")
        if not _LOGIN.fullmatch(self.user):
            raise ValueError(f"user {self.user!r} is no login name")

    def _check_network(self) -> None:
        if not 1 <= self.ssh_port <= 65535:
            raise ValueError(f"ssh_port must be between 1 and 65535, not {self.ssh_port}")
        for subnet in self.subnets:
            if not subnet.startswith("subnet-"):
                raise ValueError(f"subnets: {subnet!r} is no subnet's id such as subnet-0123456789abcdef0")
        network = self._operator_network()
        if network is None:
            return
        if network.prefixlen < WIDEST_PREFIX and not self.allow_world:
            part = f"1/{2**network.prefixlen} of the world" if network.prefixlen else "the whole world"
            raise ValueError(
                f"operator_cidr {self.operator_cidr} would open SSH to {part}: give the network that you connect from, "
                f"no wider than /{WIDEST_PREFIX}, or say allow_world"
            )
        if self.private_ips and network.is_global:
            raise ValueError(
                f"private_ips and operator_cidr {self.operator_cidr} do not go together: no private address can be "
                "reached from a public network; leave one of them out, or give the private network that you are in"
            )

    def _operator_network(self) -> IPv4Network | None:
        if self.operator_cidr is None:
            return None
        try:
            network = ip_network(self.operator_cidr)
        except ValueError as error:
            raise ValueError(f"operator_cidr is no network such as 203.0.113.0/24: {error}") from error
        if not isinstance(network, IPv4Network):
            raise ValueError(f"operator_cidr {self.operator_cidr} is of IPv6: nodes are reached over IPv4 alone")
        return network

    def _check_tags(self) -> None:
        if len(self.tags) > MAX_TAGS:
            raise ValueError(f"tags: {len(self.tags)} are more than the {MAX_TAGS} that EC2 leaves room for")
        for key, value in self.tags.items():
            if key == "Name" or key.lower().startswith((OWN_TAGS, "aws:")):
                raise ValueError(f"tags: {key!r} is not yours to give: Name, {OWN_TAGS}* and aws:* are taken")
            if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
                raise ValueError(
                    f"tags: {key!r} does not fit: EC2 takes keys of 1 to {MAX_TAG_KEY} characters and values of at "
                    f"most {MAX_TAG_VALUE}"
                )

    @property
    def required_workers(self) -> int:
        """How many workers must be alive for the cluster to count as launched."""
        return self.workers if self.minimum_workers is None else self.minimum_workers

    @property
    def worker_types(self) -> tuple[str, ...]:
        """The types that a worker may have, the preferred one first."""
        return tuple(dict.fromkeys((self.instance_type, *self.fallback_types)))

    @property
    def master_types(self) -> tuple[str, ...]:
        """The types that the master may have, the preferred one first."""
        return tuple(dict.fromkeys((self.master_type or self.instance_type, *self.fallback_types)))

    @property
    def worker_markets(self) -> tuple[Market, ...]:
        """The markets that the workers are bought on, in the order in which they are tried."""
        return _MARKETS[self.market]

    @property
    def reach(self) -> Literal["public", "private"]:
        """By which of a node's addresses it is reached: the public one only from a public network."""
        network = self._operator_network()
        return "public" if network is not None and network.is_global and not self.private_ips else "private"

    @property
    def key_run(self) -> str:
        """What the keys of this cluster are derived for."""
        return self.run or self.name

    @property
    def expired(self) -> bool:
        """Whether the nodes of this cluster would power themselves off at once."""
        return self.expires_at <= datetime.now(UTC)
