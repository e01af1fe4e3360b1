import stat
import subprocess
from pathlib import Path

import pytest

from nightreel.cluster.keys import KeyRing, master_secret


def test_keys_are_the_same_for_whoever_knows_the_secret() -> None:
    assert KeyRing(b"s" * 32, "run").client() == KeyRing(b"s" * 32, "run").client()


def test_keys_differ_by_run_secret_role_and_purpose() -> None:
    ring = KeyRing(b"s" * 32, "run")
    keys = [
        ring.client(),
        ring.host("master"),
        ring.host("worker"),
        KeyRing(b"s" * 32, "other").client(),
        KeyRing(b"t" * 32, "run").client(),
    ]
    assert len({key.private for key in keys}) == len(keys)


def test_key_ring_does_not_print_its_secret() -> None:
    assert "hidden" not in repr(KeyRing(b"hidden-hidden-hidden", "run"))


def test_master_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    first = master_secret(environment)
    file = tmp_path / "nightreel" / "master-secret"
    assert (master_secret(environment), stat.S_IMODE(file.stat().st_mode)) == (first, 0o600)


def test_master_secret_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        KeyRing(master_secret({"NIGHTREEL_MASTER_SECRET": "short"}), "run")


def test_private_key_is_what_openssh_reads(tmp_path: Path) -> None:
    key = KeyRing(b"s" * 32, "run").client()
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(key.private)
    read = subprocess.run(["ssh-keygen", "-y", "-f", str(file)], capture_output=True, text=True, check=True)
    assert read.stdout.strip() == key.public
