"""Keys that are derived instead of stored.

Everything secret of a cluster follows from the operator's master secret, the run and a purpose. So a retry, another
process or another machine that knows the master secret reaches the same cluster, and there is no store to lose.
"""

import base64
import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from nightreel.cluster.tags import Role

SECRET_VARIABLE = "NIGHTREEL_MASTER_SECRET"  # noqa: S105 (the name of a variable)
_SECRET_BYTES = 32
_MIN_SECRET = 16


@dataclass(frozen=True)
class SSHKey:
    """An Ed25519 key pair in OpenSSH's forms."""

    private: str
    public: str


@dataclass(frozen=True)
class KeyRing:
    """The keys of one run, derived with HKDF-SHA256 (RFC 5869) from the master secret."""

    master_secret: bytes
    run: str

    def __post_init__(self) -> None:
        if len(self.master_secret) < _MIN_SECRET:
            raise ValueError(
                f"the master secret has {len(self.master_secret)} characters: use at least {_MIN_SECRET}, in "
                f"{SECRET_VARIABLE} or in the user's file of it"
            )

    def __repr__(self) -> str:
        return f"KeyRing(run={self.run!r})"

    def client(self) -> SSHKey:
        """The key by which we log in."""
        return _ssh_key(self._derive("client-key"))

    def host(self, role: Role) -> SSHKey:
        """The first host key of every node with this role."""
        return _ssh_key(self._derive(f"host-key/{role}"))

    def spark_secret(self) -> str:
        """The secret by which the cluster's own Spark processes know each other."""
        return self._derive("spark-secret").hex()

    def _derive(self, purpose: str) -> bytes:
        info = f"nightreel/1/{self.run}/{purpose}".encode()
        return HKDF(algorithm=SHA256(), length=_SECRET_BYTES, salt=None, info=info).derive(self.master_secret)


def _ssh_key(seed: bytes) -> SSHKey:
    raw = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    public = _field(b"ssh-ed25519") + _field(raw)
    return SSHKey(
        private=_openssh_private(seed + raw, public), public=f"ssh-ed25519 {base64.b64encode(public).decode()}"
    )


def _openssh_private(secret: bytes, public: bytes) -> str:
    """OpenSSH's private key file (PROTOCOL.key), the same at every call.

    Libraries fill the format's check numbers at random. User data with another text under the same client token is
    another request to EC2, so here they are fixed; they only tell a wrong passphrase, and there is none.
    """
    private = bytes(8) + public + _field(secret) + _field(b"")
    private += bytes(range(1, 1 + -len(private) % 8))
    one_key = (1).to_bytes(4, "big")
    whole = b"openssh-key-v1\0" + _field(b"none") * 2 + _field(b"") + one_key + _field(public) + _field(private)
    lines = textwrap.wrap(base64.b64encode(whole).decode(), 70)
    return "\n".join(["-----BEGIN OPENSSH PRIVATE KEY-----", *lines, "-----END OPENSSH PRIVATE KEY-----", ""])


def _field(content: bytes) -> bytes:
    """A string of the SSH protocol: its length in four bytes, and itself."""
    return len(content).to_bytes(4, "big") + content


def master_secret(environ: Mapping[str, str] | None = None, *, create: bool = True) -> bytes:
    """The operator's master secret: from NIGHTREEL_MASTER_SECRET, else from a file that is made at first use.

    The file is `nightreel/master-secret` in the user's configuration folder, readable by its owner alone. With `create`
    off it is not made, since a new secret opens no cluster that is there: ValueError then.
    """
    env = os.environ if environ is None else environ
    given = env.get(SECRET_VARIABLE)
    if given is None:
        given = _secret_file(env, create=create).read_text().strip()
    return given.encode()


def _secret_file(env: Mapping[str, str], *, create: bool) -> Path:
    home = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "~")).expanduser() / ".config")
    path = home / "nightreel" / "master-secret"
    if not path.exists() and not create:
        raise ValueError(
            f"this machine does not have the master secret that the cluster was launched with: copy it to {path}, or "
            f"set {SECRET_VARIABLE}"
        )
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(os.urandom(_SECRET_BYTES).hex() + "\n")
        try:
            # A link is refused when the name exists: of two first users at once, both read the same secret.
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path
