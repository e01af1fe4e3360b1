"""Which launchers have a hand in a machine: one that fails takes away only what nobody else works with.

Two launchers of the same cluster get the same machines, for they send the same client tokens; so nobody can say whose
they are. Each writes its claim into a tag of the machines that it works with, and withdraws it when it gives up.
"""

import logging
import secrets
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from nightreel.cluster import tags
from nightreel.cluster.ec2 import translated

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

log = logging.getLogger(__name__)

OURS = f"{tags.LAUNCHER}{secrets.token_hex(4)}"
"""The tag of this process's claims."""
_TRIES = 10  # a second apart: so long EC2 may not know of machines that it has just launched


def claim(ec2: "EC2Client", ids: Collection[str]) -> None:
    """Write our claim to these instances. Raises ClusterError."""
    _write(ec2, ids, tags.WORKING)


def withdraw(ec2: "EC2Client", ids: Collection[str]) -> None:
    """Withdraw our claim to these instances. Do it before you look for others', or two that fail spare each other's."""
    _write(ec2, ids, tags.WITHDRAWN)


def _write(ec2: "EC2Client", ids: Collection[str], word: str) -> None:
    if not ids:
        return
    with translated(f"write to {', '.join(sorted(ids))} who launches"):
        for tries_left in reversed(range(_TRIES)):
            try:
                ec2.create_tags(Resources=sorted(ids), Tags=tags.as_list({OURS: word}))
                return
            except ClientError as error:
                if error.response["Error"]["Code"] != "InvalidInstanceID.NotFound" or not tries_left:
                    raise
            time.sleep(1)
