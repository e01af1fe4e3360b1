"""How the operators reach AWS, the nodes and the site: by Airflow's own connections."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import paramiko
from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from airflow.providers.amazon.aws.hooks.ec2 import EC2Hook
from airflow.providers.ssh.hooks.ssh import SSHHook
from airflow.sdk import BaseHook, Variable

from nightreel.cluster import images
from nightreel.cluster.cost import KnownPrices, Prices, aws_prices, fixed_prices
from nightreel.cluster.ec2 import Node
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.spec import ClusterSpec
from nightreel.cluster.ssh import Connect, Connection, expected_host_key, load_host_key, load_key, open_client

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_ec2.client import EC2Client

SECRET_VARIABLE = "nightreel_master_secret"  # noqa: S105 (the name of a variable)

logging.getLogger("paramiko").setLevel(logging.WARNING)


class PinnedSSHHook(SSHHook):
    """The SSH provider's hook for one node of ours: login, port and proxy of the connection count.

    The provider's own `get_conn` also believes the known_hosts files of the worker, and its constructor picks up keys
    from the user's ~/.ssh/config. Here nothing counts but our derived key and the one host key the node may present.
    """

    def __init__(self, *, ssh_conn_id: str, node: Node, keys: KeyRing) -> None:
        super().__init__(ssh_conn_id=ssh_conn_id, remote_host=node.address)
        self.client_key = load_key(keys.client().private)
        self.expected_host_key = load_host_key(expected_host_key(node, keys))

    def get_conn(self) -> paramiko.SSHClient:
        """Connect; HostKeyError when the host presents another key."""
        return open_client(
            host=self.remote_host,
            port=int(self.port or paramiko.config.SSH_PORT),
            user=str(self.username),
            client_key=self.client_key,
            host_key=self.expected_host_key,
            proxy=self.host_proxy,
        )


@dataclass(frozen=True)
class _Clients:
    """As a boto3 session makes clients, but with the connection's endpoint as well, which a session does not know."""

    aws_conn_id: str

    def client(self, name: str, *, region_name: str) -> Any:
        return AwsBaseHook(aws_conn_id=self.aws_conn_id, client_type=name, region_name=region_name).conn


@dataclass(frozen=True)
class Reach:
    """What it takes to reach a cluster from an Airflow task or trigger."""

    aws_conn_id: str
    ssh_conn_id: str
    run: str

    @cached_property
    def keys(self) -> KeyRing:
        """The keys of this run, derived from the Airflow Variable `nightreel_master_secret`."""
        secret = Variable.get(SECRET_VARIABLE, default=None)
        if not secret:
            raise ValueError(f"set the Airflow Variable {SECRET_VARIABLE}: the clusters' keys are derived from it")
        return KeyRing(str(secret).encode(), self.run)

    def ec2(self) -> "EC2Client":
        """An EC2 client with the connection's region, endpoint and role."""
        client: EC2Client = EC2Hook(aws_conn_id=self.aws_conn_id, api_type="client_type").conn
        return client

    def prices(self, given: Mapping[str, Any]) -> Prices:
        """The operator's own prices first, then AWS's in the connection's region."""
        return KnownPrices(
            fixed_prices(given),
            # Of a boto3 session nothing but `client` is asked.
            lambda: aws_prices(cast("boto3.Session", _Clients(self.aws_conn_id)), self.region()),
            remedy="give them as `prices` in the Airflow Variable",
        )

    def image_for(self, spec: ClusterSpec) -> str:
        """The image of this cluster, by default the current Amazon Linux in the connection's region."""
        ssm = AwsBaseHook(aws_conn_id=self.aws_conn_id, client_type="ssm")
        return images.image_for(self.ec2(), ssm.conn, spec)

    def region(self) -> str:
        """The connection's region."""
        return str(self.ec2().meta.region_name)

    def ssh_port(self) -> int:
        """The SSH port of the nodes, from the connection."""
        return int(BaseHook.get_connection(self.ssh_conn_id).port or paramiko.config.SSH_PORT)

    @property
    def connect(self) -> Connect:
        """How a node is reached."""

        def connect(node: Node) -> Connection:
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
