"""How the operators reach AWS, the nodes and the site: by Airflow's own connections."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseHook, Variable

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_ec2.client import EC2Client

    from nightreel.cluster.cost import Prices
    from nightreel.cluster.ec2 import Node
    from nightreel.cluster.keys import KeyRing
    from nightreel.cluster.spec import ClusterSpec
    from nightreel.cluster.ssh import Connect

SECRET_VARIABLE = "nightreel_master_secret"  # noqa: S105 (the name of a variable)
SSH_PORT = 22


@dataclass(frozen=True)
class _Clients:
    """As a boto3 session makes clients, but with the connection's endpoint as well, which a session does not know."""

    aws_conn_id: str

    def client(self, name: str, *, region_name: str) -> Any:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

        return AwsBaseHook(aws_conn_id=self.aws_conn_id, client_type=name, region_name=region_name).conn


@dataclass(frozen=True)
class Reach:
    """What it takes to reach a cluster from an Airflow task or trigger."""

    aws_conn_id: str
    ssh_conn_id: str
    run: str

    @cached_property
    def keys(self) -> "KeyRing":
        """The keys of this run, derived from the Airflow Variable `nightreel_master_secret`."""
        from nightreel.cluster.keys import KeyRing

        secret = Variable.get(SECRET_VARIABLE, default=None)
        if not secret:
            raise ValueError(f"set the Airflow Variable {SECRET_VARIABLE}: the clusters' keys are derived from it")
        return KeyRing(str(secret).encode(), self.run)

    def ec2(self) -> "EC2Client":
        """An EC2 client with the connection's region, endpoint and role; the same one each time."""
        return self._ec2

    @cached_property
    def _ec2(self) -> "EC2Client":
        from airflow.providers.amazon.aws.hooks.ec2 import EC2Hook

        client: EC2Client = EC2Hook(aws_conn_id=self.aws_conn_id, api_type="client_type").conn
        return client

    def prices(self, given: Mapping[str, Any]) -> "Prices":
        """The operator's own prices first, then AWS's in the connection's region."""
        from nightreel.cluster.cost import KnownPrices, aws_prices, fixed_prices

        return KnownPrices(
            fixed_prices(given),
            # Of a boto3 session nothing but `client` is asked.
            lambda: aws_prices(cast("boto3.Session", _Clients(self.aws_conn_id)), self.region()),
            remedy="give them as `prices` in the Airflow Variable",
        )

    def image_for(self, spec: "ClusterSpec") -> str:
        """The image of this cluster, by default the current Amazon Linux in the connection's region."""
        from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

        from nightreel.cluster import images

        ssm = AwsBaseHook(aws_conn_id=self.aws_conn_id, client_type="ssm")
        return images.image_for(self.ec2(), ssm.conn, spec)

    def region(self) -> str:
        """The connection's region."""
        return str(self.ec2().meta.region_name)

    def ssh_port(self) -> int:
        """The SSH port of the nodes, from the connection."""
        return int(BaseHook.get_connection(self.ssh_conn_id).port or SSH_PORT)

    @property
    def connect(self) -> "Connect":
        """How a node is reached."""
        from nightreel.airflow.pinned_ssh import PinnedSSHHook
        from nightreel.cluster.ssh import Connection

        def connect(node: "Node") -> Connection:
            hook = PinnedSSHHook(ssh_conn_id=self.ssh_conn_id, node=node, keys=self.keys)
            return Connection(hook.get_conn(), host=node.address)

        return connect


@dataclass(frozen=True)
class Site:
    """The site's address and tokens, from an HTTP connection."""

    server: str
    token: str
    """For uploads."""
    export_token: str = ""
    """For the export of visitors' ratings."""

    @classmethod
    def of_connection(cls, conn_id: str) -> "Site":
        """Host, port and scheme of the connection, its password as the token, and `export_token` of its extra."""
        conn = BaseHook.get_connection(conn_id)
        port = f":{conn.port}" if conn.port else ""
        token = conn.password or ""
        return cls(
            server=f"{conn.schema or 'https'}://{conn.host}{port}",
            token=token,
            export_token=conn.extra_dejson.get("export_token") or token,
        )
