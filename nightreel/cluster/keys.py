"""Keys that are derived instead of stored.

Everything secret of a cluster follows from the operator's master secret, the run and a purpose. So a retry, another
process or another machine that knows the master secret reaches the same cluster, and there is no store to lose.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
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
    key = Ed25519PrivateKey.from_private_bytes(seed)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return SSHKey(private=private.decode(), public=public.decode())


def master_secret(environ: dict[str, str] | None = None) -> bytes:
    """The operator's master secret: from NIGHTREEL_MASTER_SECRET, else from a file that is made at first use.

    The file is `nightreel/master-secret` in the user's configuration folder, readable by its owner alone.
    Raises ValueError when the secret is too short to be one.
    """
    env = os.environ if environ is None else environ
    given = env.get(SECRET_VARIABLE)
    if given is None:
        given = _secret_file(env).read_text().strip()
    if len(given) < _MIN_SECRET:
        raise ValueError(f"the master secret has {len(given)} characters: use at least {_MIN_SECRET}")
    return given.encode()


def _secret_file(env: os._Environ[str] | dict[str, str]) -> Path:
    home = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "~")).expanduser() / ".config")
    path = home / "nightreel" / "master-secret"
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
