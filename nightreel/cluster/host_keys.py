"""A node's own host key: read back over the pinned channel, and from then on the only one that is accepted.

The first host key of a node travels in its user data, which more people may read than should be able to stand in for
the node. So at its first boot the node makes a key of its own, which never leaves it, and here the public half is
fetched and kept in a tag. The node serves both keys: whoever still knows the node without the tag comes in by the
first one, and a crash at any moment leaves a cluster that can be reached.
"""

import logging
import shlex
from typing import TYPE_CHECKING

from nightreel.cluster import tags
from nightreel.cluster.ec2 import Node, translated
from nightreel.cluster.errors import ClusterError
from nightreel.cluster.ssh import Connection, load_host_key

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

OWN_KEY_TIMEOUT = 20.0
"""How long a node may take, after it has let us in, to serve a host key of its own; seconds."""
_KIND = "ecdsa-sha2-nistp256"


def adopt_own_key(
    ec2: "EC2Client", node: Node, connection: Connection, *, port: int | None, timeout: float = OWN_KEY_TIMEOUT
) -> str | None:
    """Learn the node's own host key over a connection that is pinned already, and keep it in the node's tag.

    Gives the key in OpenSSH's one-line form; None, after a warning, when the node serves none within `timeout`
    seconds: the first key then goes on to be the one that is accepted. Where `port` is None the node itself knows it,
    by the connection. Raises ClusterError when EC2 does not take the
    tag, or the connection is lost.
    """
    if node.host_key:
        return node.host_key
    key = _read_own_key(connection, address=node.private_ip, port=port, timeout=timeout)
    if key is None:
        log.warning(
            "%s (%s) serves no host key of its own after %.0f s: the one from its user data stays in use",
            node.instance_id,
            node.address,
            timeout,
        )
        return None
    with translated(f"keep the host key of {node.instance_id}"):
        ec2.create_tags(Resources=[node.instance_id], Tags=tags.as_list({tags.HOST_KEY: key}))
    log.info("%s (%s) is known by its own host key from now on", node.instance_id, node.address)
    return key


def _read_own_key(connection: Connection, *, address: str, port: int | None, timeout: float) -> str | None:
    # The node asks itself, so that no network lies between the answer and us but the pinned channel.
    script = f"""
        port={port or "${SSH_CONNECTION##* }"}
        command -v ssh-keyscan >/dev/null || exit 0
        until=$(($(date +%s) + {timeout:.0f}))
        while :; do
            key=$(ssh-keyscan -T 5 -p "${{port:-22}}" -t ecdsa {shlex.quote(address)} 2>/dev/null | grep -m 1 {_KIND})
            [ -n "$key" ] && {{ echo "$key"; exit 0; }}
            [ "$(date +%s)" -lt "$until" ] || exit 0
            sleep 0.5
        done"""
    words = connection.run(script, timeout=timeout + 30).output.split()
    if len(words) != 3:
        return None
    key = " ".join(words[1:])
    try:
        load_host_key(key)
    except ValueError as error:
        raise ClusterError(f"{connection.host}: what it calls its host key is none: {error}") from error
    return key
