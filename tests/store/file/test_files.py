"""The files of a database: backed up, and set aside."""

import os
import sqlite3
from pathlib import Path

import pytest

from dreamd.store.file.files import back_up, free_name_beside, set_aside
from dreamd.store.store import Store
from tests.helpers.store_rows import one_dream
from tests.store.conftest import OpenStore, fill
from tests.store.test_opening import folder


async def test_a_backup_is_whole_and_one_file(store: Store, path: Path, open_store: OpenStore):
    number = await one_dream(store)
    target = path.with_name("copy.sqlite3")
    await store._read(back_up, target)
    assert sorted(file.name for file in path.parent.glob("copy*")) == ["copy.sqlite3"]
    assert os.stat(target).st_mode & 0o777 == 0o600
    assert target.read_bytes()[18:20] == b"\x01\x01"  # not in WAL mode: `cp` takes all of it
    assert await (await open_store(target)).get(number) == await store.get(number)


async def test_a_backup_overwrites_nothing(store: Store, path: Path):
    target = path.with_name("letter.txt")
    target.write_text("dear friend")
    with pytest.raises(FileExistsError):
        await store._database.read(back_up, target)
    assert target.read_text() == "dear friend"


async def test_half_a_backup_is_removed(small_disk: Path, store: Store):
    await one_dream(store)
    fill(small_disk)
    with pytest.raises(sqlite3.OperationalError):
        await store._database.read(back_up, small_disk / "copy.sqlite3")
    assert [file.name for file in small_disk.iterdir()] == ["filler"]


def test_sets_aside_the_files_beside_a_database_too(path: Path):
    parts = ("", "-wal", "-shm", "-journal")
    for part in parts:
        path.with_name(path.name + part).write_text(f"part{part}")
    first = set_aside(path, "damaged", 0.0)
    assert folder(path) == {f"{first.name}{part}": f"part{part}".encode() for part in parts}
    first.unlink()
    assert (
        free_name_beside(path, "damaged", 0.0).name == f"{first.name}-2"
    )  # its log is still there: not taken over


def test_a_crash_while_it_is_set_aside_leaves_no_log_to_a_new_database(
    path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, renamed = os.rename, []
    for part in ("", "-wal"):
        path.with_name(path.name + part).touch()

    def rename(source: str, target: str) -> None:
        renamed.append(source)
        if len(renamed) > 1:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        set_aside(path, "damaged", 0.0)
    assert (path.exists(), path.with_name(f"{path.name}-wal").exists()) == (True, False)
