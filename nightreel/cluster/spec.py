"""What a cluster should be, checked before anything is launched."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network

# EC2 tag values allow more, but the name also becomes the name of a security group and part of paths.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.IGNORECASE)
MAX_WORKERS = 200
MIN_VOLUME_GB = 8


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

    Raises ValueError, naming the field, when a value can not work.
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
    ami: str | None = None
    """The image; the current Amazon Linux when None."""
    subnet: str | None = None
    operator_cidr: str | None = None
    """Where SSH may come from; the network of the cluster itself when None."""
    ssh_port: int = 22
    volume_gb: int = 30
    tags: dict[str, str] = field(default_factory=dict)
    """The operator's own tags, put beside ours."""

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 1 <= self.workers <= MAX_WORKERS:
            raise ValueError(f"workers must be between 1 and {MAX_WORKERS}, not {self.workers}")
        if not 1 <= self.required_workers <= self.workers:
            raise ValueError(
                f"minimum workers must be between 1 and workers ({self.workers}), not {self.minimum_workers}"
            )
        if self.expires_at.tzinfo is None:
            raise ValueError("expires_at must say its time zone: nodes read it in UTC")
        if self.volume_gb < MIN_VOLUME_GB:
            raise ValueError(f"volume_gb must be at least {MIN_VOLUME_GB}, not {self.volume_gb}")
        self._check_cidr()

    def _check_cidr(self) -> None:
        if self.operator_cidr is None:
            return
        try:
            network = ip_network(self.operator_cidr)
        except ValueError as error:
            raise ValueError(f"operator_cidr is no network such as 203.0.113.0/24: {error}") from error
        if network.prefixlen == 0:
            raise ValueError(
                f"operator_cidr {self.operator_cidr} would open SSH to the whole world: "
                "give the network that you connect from"
            )

    @property
    def required_workers(self) -> int:
        """How many workers must be alive for the cluster to count as launched."""
        return self.workers if self.minimum_workers is None else self.minimum_workers

    @property
    def key_run(self) -> str:
        """What the keys of this cluster are derived for."""
        return self.run or self.name

    @property
    def expired(self) -> bool:
        """Whether the nodes of this cluster would power themselves off at once."""
        return self.expires_at <= datetime.now(UTC)
