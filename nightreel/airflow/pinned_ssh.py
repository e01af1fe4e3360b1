"""The SSH provider's hook, for hosts whose one key is known beforehand."""

import logging

import paramiko
from airflow.providers.ssh.hooks.ssh import SSHHook

from nightreel.cluster.ec2 import Node
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.ssh import expected_host_key, load_host_key, load_key, open_client

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
