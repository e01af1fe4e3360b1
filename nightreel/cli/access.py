"""How a command reaches AWS and the nodes."""

import csv
import io
import os
import re
from pathlib import Path
from typing import Annotated, Any

import boto3
import typer

from nightreel.cli import config as config_file
from nightreel.cli.options import option_group
from nightreel.cli.output import UsageError, usage_checked
from nightreel.cluster import keys, ssh
from nightreel.cluster.ec2 import GONE, Node, find_nodes
from nightreel.cluster.errors import NoClusterError
from nightreel.cluster.keys import KeyRing
from nightreel.cluster.ssh import Connect


@option_group
class Access:
    """How a command reaches AWS and the nodes."""

    config: Annotated[
        Path | None,
        typer.Option(
            envvar="NIGHTREEL_CONFIG",
            is_eager=True,
            callback=config_file.apply,
            help="YAML file with options; the command line and the environment go first.",
        ),
    ] = None
    region: Annotated[str | None, typer.Option("--region", "-r", envvar="AWS_DEFAULT_REGION", help="AWS region.")] = (
        None
    )
    access_key_file: Annotated[
        Path | None,
        typer.Option(
            envvar="NIGHTREEL_ACCESS_KEY_FILE",
            help="CSV with an access key, as AWS's console gives it; else the standard chain of credentials.",
        ),
    ] = None
    user: Annotated[str, typer.Option("--user", "-u", envvar="NIGHTREEL_SSH_USER", help="Login user of the image.")] = (
        "ec2-user"
    )
    identity_file: Annotated[
        Path | None,
        typer.Option(
            "--identity-file",
            "-i",
            envvar="NIGHTREEL_IDENTITY_FILE",
            help="Your private key to log in with, of the key pair given at launch; else the cluster's own.",
        ),
    ] = None
    ssh_port: Annotated[
        int, typer.Option(envvar="NIGHTREEL_SSH_PORT", min=1, max=65535, help="Port of SSH on the nodes.")
    ] = 22

    def session(self) -> boto3.Session:
        """A boto3 session of this region, with these credentials."""
        own: dict[str, Any] = read_access_key(self.access_key_file) if self.access_key_file else {}
        return boto3.Session(region_name=self.region, **own)

    def ec2(self) -> Any:
        """A boto3 EC2 client."""
        return self.session().client("ec2")

    def keys(self, name: str, *, nodes: list[Node]) -> KeyRing:
        """The keys of a cluster that is there; ValueError when this machine can not know them."""
        run = next((node.run for node in nodes if node.run), name)
        secret = keys.master_secret(os.environ, create=False)
        with usage_checked():
            return KeyRing(secret, run)

    def connect(self, ring: KeyRing) -> Connect:
        """How nodes are reached with these keys; UsageError for an identity file that can not be used."""
        with usage_checked():
            return ssh.pinned_connector(ring, user=self.user, port=self.ssh_port, identity=self.identity_file)

    def reach(self, ec2: Any, name: str) -> tuple[KeyRing, Connect]:
        """The keys of a cluster that is there, and how its nodes are reached. NoClusterError when nothing is there."""
        nodes = [node for node in find_nodes(ec2, name) if node.state not in GONE]
        if not nodes:
            raise NoClusterError(f"there is no cluster named {name}: launch it first")
        ring = self.keys(name, nodes=nodes)
        return ring, self.connect(ring)


# What a request could not carry in its signature.
_CHARACTERS = {"Access key ID": re.compile(r"[A-Za-z0-9_]+"), "Secret access key": re.compile(r"[A-Za-z0-9/+=]+")}
_OF_COLUMN = {"Access key ID": "aws_access_key_id", "Secret access key": "aws_secret_access_key"}


def read_access_key(path: Path) -> dict[str, str]:
    """An access key from the CSV file that AWS's console offers, of today's form or of the one with a user name.

    Gives the arguments of a boto3 session. Raises UsageError, naming what is missing.
    """
    try:
        rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--access-key-file {path} can not be read: {error}") from error
    rows = [[cell.strip() for cell in row] for row in rows if any(cell.strip() for cell in row)]
    columns = {cell.casefold(): number for number, cell in enumerate(rows[0])} if rows else {}
    found = {}
    for column, argument in _OF_COLUMN.items():
        number = columns.get(column.casefold())
        value = rows[1][number] if number is not None and len(rows) > 1 and number < len(rows[1]) else ""
        if not value:
            raise UsageError(
                f"--access-key-file {path} has no {column!r}: give the CSV file that AWS's console offers when it "
                "makes an access key"
            )
        if not _CHARACTERS[column].fullmatch(value):
            raise UsageError(
                f"--access-key-file {path}: the {column!r} has a character that none has, such as a blank within it: "
                "give the file as AWS's console offers it"
            )
        found[argument] = value
    return found
