"""User data as it arrives: encoded, compressed, in one part or several, each a `#cloud-config` or a script."""

import base64
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_string
from email.message import Message
from typing import Any

import yaml


@dataclass
class Notes:
    """What is said of user data that could not be honoured; see `cloud_init.UserData`."""

    notes: list[str] = field(default_factory=list)
    unexecuted: list[str] = field(default_factory=list)

    def ignore(self, what: str) -> None:
        """Note what no host honours."""
        self.notes.append(f"ignored: {what}")

    def warn(self, what: str) -> None:
        """Note what would go wrong on a real machine too."""
        self.notes.append(f"warning: {what}")

    def leave_out(self, what: str) -> None:
        """Note what hosts that are only processes leave out."""
        self.unexecuted.append(f"ignored: {what} (hosts that are processes do not run it)")


def read_parts(raw: str | bytes, notes: Notes) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The cloud-configs of all parts as one, and the scripts.

    A later part's value replaces an earlier one's of the same key, as it does by default in cloud-init.
    """
    config: dict[str, Any] = {}
    scripts: list[str] = []
    for text in _parts(_decode(raw, notes)):
        # By its first line, as cloud-init goes by it whatever the declared type is.
        if text.startswith("#cloud-config"):
            config |= _mapping(text, notes)
        elif text.startswith("#!"):
            scripts.append(text)
            notes.leave_out(f"the script that begins with {text.splitlines()[0][:40]!r}")
        elif text.strip():
            notes.ignore(f"user data that begins with neither #cloud-config nor #! but with {text[:20]!r}")
    return config, tuple(scripts)


def _decode(raw: str | bytes, notes: Notes) -> str:
    data = raw.encode() if isinstance(raw, str) else raw
    for depth in range(2):
        if data.lstrip().startswith((b"#", b"Content-Type:", b"MIME-Version:", b"\x1f\x8b")) or not data.strip():
            break
        try:
            data = base64.b64decode(b"".join(data.split()), validate=True)
        except ValueError:
            break
        if depth:
            notes.warn("the user data was base64-encoded twice; boto3 encodes it by itself")
    if data.startswith(b"\x1f\x8b"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            notes.ignore(f"user data that is not gzip, although it begins like it: {error}")
            return ""
    return data.decode(errors="replace")


def _parts(text: str) -> Iterator[str]:
    if not text.lstrip().startswith(("Content-Type:", "MIME-Version:")):
        yield text
        return
    for part in message_from_string(text.lstrip()).walk():
        if part.get_content_maintype() != "multipart":
            yield _payload(part)


def _payload(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode(errors="replace") if isinstance(payload, bytes) else ""


def _mapping(text: str, notes: Notes) -> dict[str, Any]:
    try:
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        notes.ignore(f"user data that is not YAML: {error}")
        return {}
    if not isinstance(config, dict):
        notes.ignore("a #cloud-config that is not a mapping")
        return {}
    return {str(key): value for key, value in config.items()}
