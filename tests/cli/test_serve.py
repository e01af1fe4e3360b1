"""The newest bundle at hand is found, whatever else lies about."""

from __future__ import annotations

import os

import pytest

from nightreel.cli.serve import bundle_folders, data_home, newest_bundle
from tests.web.made_bundles import make_bundle


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def bundle(path, *, age):
    path.parent.mkdir(parents=True, exist_ok=True)
    make_bundle(path)
    os.utime(path, (age, age))
    return path


def test_no_bundle_is_at_hand(folder):
    assert newest_bundle(bundle_folders()) is None


def test_the_newest_of_all_folders_is_taken(folder):
    bundle(folder / "old.arrow", age=1)
    newest = bundle(data_home() / "bundles" / "small.arrow", age=3)
    bundle(folder / "build" / "model.arrow", age=2)
    assert newest_bundle(bundle_folders()) == newest


def test_what_only_looks_like_a_bundle_is_left_aside(folder):
    good = bundle(folder / "good.arrow", age=1)
    (folder / "torn.arrow").write_bytes(good.read_bytes()[:200])
    assert newest_bundle(bundle_folders()) == good
