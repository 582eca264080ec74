"""The key file: made once, never half, kept from others."""

import os
import stat
from pathlib import Path

import pytest

from dreamd.inbox.errors import CapabilityError
from dreamd.inbox.files import Files
from dreamd.inbox.key import make_key, read_key


def test_it_is_made_on_first_use_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "inbox.key"
    assert read_key(path, Files()) is None
    before = os.umask(0)
    try:
        key = make_key(path, Files(), os.urandom)
    finally:
        os.umask(before)
    assert len(key) == 32
    assert make_key(path, Files(), os.urandom) == read_key(path, Files()) == path.read_bytes() == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [name.name for name in tmp_path.iterdir()] == ["inbox.key"]


class Racing(Files):
    """Another process makes the key just before we do."""

    def link(self, name: str, at: int, new_name: str) -> None:
        fd = self.open_new(new_name, at, 0o600)
        with self.closing(fd):
            self.write(fd, memoryview(b"o" * 32))
        super().link(name, at, new_name)


def test_of_two_that_make_it_both_have_the_same(tmp_path: Path) -> None:
    assert make_key(tmp_path / "inbox.key", Racing(), os.urandom) == b"o" * 32
    assert [name.name for name in tmp_path.iterdir()] == ["inbox.key"]


def test_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert read_key(tmp_path / "nowhere" / "inbox.key", Files()) is None


def test_one_that_others_can_read_or_that_is_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inbox.key"
    path.write_bytes(b"x" * 32)
    path.chmod(0o640)
    with pytest.raises(CapabilityError, match="0600"):
        read_key(path, Files())
    path.chmod(0o600)
    assert read_key(path, Files()) == b"x" * 32
    path.write_bytes(b"x" * 31)
    with pytest.raises(CapabilityError):
        read_key(path, Files())
    path.unlink()
    path.mkdir(0o700)
    with pytest.raises(CapabilityError):
        read_key(path, Files())
