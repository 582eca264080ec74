"""The files of an open database. A loss is noticed before the next write and by the probe, and nothing more is written.
Use by other programs through SQLite raises no alarm."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.errors import StoreError, StoreUnavailable
from dreamd.store.file.files import back_up
from dreamd.store.store import Store
from tests.helpers.store_rows import new_dialog, one_dream

OpenStore = Callable[..., Awaitable[Store]]


class Lost:
    """A store of one dream, another database beside it, and what the daemon was told."""

    def __init__(self, store: Store, told: list[StoreError]) -> None:
        self.store = store
        self.path = store.path
        self.told = told

    async def is_noticed(self, by: str, trouble: str) -> None:
        """Check that the loss is reported once, and that nothing is written afterwards."""
        if by == "write":
            with pytest.raises(StoreUnavailable) as refused:
                await self.store.begin(new_dialog("dream-late"))
            assert refused.value.reason == trouble
        elif by == "probe":
            assert await self.store.probe() == trouble
        else:
            await self.store.close()
        if by != "close":
            with pytest.raises(StoreUnavailable, match=f"nothing is written: {trouble}"):
                await self.store.begin(new_dialog("dream-later"))
            assert await self.store.probe() == trouble
        await self.store.close()
        assert [error.reason for error in self.told if isinstance(error, StoreUnavailable)] == [trouble]
        assert len(self.told) == 1


@pytest.fixture
async def lost(path: Path, open_store: OpenStore) -> Lost:
    told: list[StoreError] = []
    store = await open_store(path, on_lost=told.append)
    await one_dream(store, "dream-of-the-old")
    return Lost(store, told)


@pytest.fixture
async def backup(path: Path, open_store: OpenStore) -> Path:
    """A whole database with one dialogue, in one file."""
    other = await open_store(path.with_name("other.sqlite3"))
    await one_dream(other, "dream-of-the-backup")
    await other._read(back_up, path.with_name("backup.sqlite3"))
    await other.close()
    return path.with_name("backup.sqlite3")


async def traces(path: Path, open_store: OpenStore) -> list[str]:
    """Return the trace ids of the dialogues that the next start finds."""
    store = await open_store(path)
    found = [dialog["trace_id"] for dialog in await store.recent(9)]
    await store.close()
    return found


BY = pytest.mark.parametrize("by", ["write", "probe", "close"])


@BY
async def test_notices_a_removed_database(lost: Lost, open_store: OpenStore, by: str):
    lost.path.unlink()
    await lost.is_noticed(by, "database deleted")
    assert not lost.path.exists()
    assert await traces(lost.path, open_store) == []  # a deleted database means a fresh one
    assert len(list(lost.path.parent.glob("dream.sqlite3.left-over-*-wal"))) == 1


@BY
async def test_notices_a_database_replaced_by_a_rename(
    lost: Lost, backup: Path, open_store: OpenStore, by: str
):
    """The log of the old database is neither applied to the new one nor lost."""
    log = lost.path.with_name("dream.sqlite3-wal").read_bytes()
    before = backup.read_bytes()
    os.replace(backup, lost.path)
    await lost.is_noticed(by, "database replaced")
    assert lost.path.read_bytes() == before
    assert lost.path.with_name("dream.sqlite3.replaced-20260102T150000Z-wal").read_bytes() == log
    assert "its log is kept as" in str(lost.told[0])
    assert await traces(lost.path, open_store) == ["dream-of-the-backup"]


@BY
async def test_notices_a_backup_copied_over_the_database(
    lost: Lost, backup: Path, open_store: OpenStore, by: str
):
    """`cp` keeps the inode. At the last close SQLite would write the old log over the copy."""
    before = backup.read_bytes()
    shutil.copyfile(backup, lost.path)
    await lost.is_noticed(by, "database replaced")
    assert lost.path.read_bytes() == before
    assert await traces(lost.path, open_store) == ["dream-of-the-backup"]


@BY
@pytest.mark.parametrize("spoil", [b"", b"\0" * 100, b"my notes\n" * 1000])
async def test_notices_other_bytes_at_the_beginning(lost: Lost, by: str, spoil: bytes):
    with lost.path.open("r+b") as file:
        file.write(spoil)
        if not spoil:
            file.truncate()
    before = lost.path.read_bytes()
    await lost.is_noticed(by, "database replaced")
    assert lost.path.read_bytes() == before


@BY
async def test_leaves_the_log_of_a_new_database_alone(lost: Lost, by: str):
    for part in ("", "-wal"):
        lost.path.with_name(f"new{part}").write_bytes(b"not looked at")
        os.replace(lost.path.with_name(f"new{part}"), f"{lost.path}{part}")
    await lost.is_noticed(by, "database replaced")
    assert Path(f"{lost.path}-wal").read_bytes() == b"not looked at"


@BY
async def test_notices_a_removed_log(lost: Lost, open_store: OpenStore, by: str):
    """Its committed writes are saved."""
    for part in ("-wal", "-shm"):
        os.unlink(f"{lost.path}{part}")
    await lost.is_noticed(by, "database log lost")
    assert await traces(lost.path, open_store) == ["dream-of-the-old"]


@BY
async def test_notices_a_replaced_log(lost: Lost, by: str):
    for part in ("-wal", "-shm"):
        os.unlink(f"{lost.path}{part}")
    Path(f"{lost.path}-wal").write_bytes(b"of another program")
    before = lost.path.read_bytes()
    await lost.is_noticed(by, "database log lost")
    assert lost.path.read_bytes() == before
    assert Path(f"{lost.path}-wal").read_bytes() == b"of another program"


@BY
async def test_notices_a_removed_index_of_the_log(lost: Lost, open_store: OpenStore, by: str):
    """Another program would make an index of its own, and not see our writes."""
    os.unlink(f"{lost.path}-shm")
    await lost.is_noticed(by, "database log lost")
    assert await traces(lost.path, open_store) == ["dream-of-the-old"]


@BY
async def test_notices_an_emptied_log(lost: Lost, open_store: OpenStore, by: str):
    """The writes in it are lost, and later ones would be too."""
    while lost.store.sizes()["wal_bytes"]:
        await lost.store.probe()
    await one_dream(lost.store, "dream-of-the-log")
    os.truncate(f"{lost.path}-wal", 0)
    await lost.is_noticed(by, "database log lost")
    assert await traces(lost.path, open_store) == ["dream-of-the-old"]


@pytest.mark.parametrize("by", ["write", "probe"])
async def test_notices_a_missing_end(lost: Lost, open_store: OpenStore, by: str):
    while lost.store.sizes()["wal_bytes"]:
        await lost.store.probe()
    os.truncate(lost.path, lost.path.stat().st_size - 3 * 4096)
    left = lost.path.read_bytes()
    await lost.is_noticed(by, "damaged")
    assert lost.path.read_bytes() == left
    assert await traces(lost.path, open_store) == []
    [aside] = lost.path.parent.glob("dream.sqlite3.damaged-*Z")
    assert aside.read_bytes() == left


async def test_notices_a_link_that_leads_elsewhere(path: Path, backup: Path, open_store: OpenStore):
    """The old database stays whole, with its log."""
    real = path.with_name("real.sqlite3")
    path.symlink_to(real)
    store = await open_store(path)
    await one_dream(store, "dream-of-the-old")
    path.unlink()
    path.symlink_to(backup)
    assert await store.probe() == "database replaced"
    await store.close()
    assert await traces(path, open_store) == ["dream-of-the-backup"]
    assert await traces(real, open_store) == ["dream-of-the-old"]


async def test_reports_a_missing_file_whatever_sqlite_raises(lost: Lost):
    """Whatever error SQLite raises, it does not count as damage, and the new file is not suspect."""

    def garbled(_: sqlite3.Connection) -> None:
        error = sqlite3.DatabaseError("database disk image is malformed")
        error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise error

    lost.path.unlink()
    with pytest.raises(StoreUnavailable) as refused:
        await lost.store._read(garbled)
    assert refused.value.reason == "database deleted"
    assert not lost.path.with_name("dream.sqlite3.suspect").exists()


# What other programs do through SQLite.

OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    connection.execute(statement).fetchall()
"""


def other_program(path: Path, *statements: str) -> None:
    subprocess.run([sys.executable, "-c", OTHER, str(path), *statements], check=True, timeout=20)


@pytest.mark.parametrize(
    "statements",
    [
        ["VACUUM"],
        ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"],
        ["PRAGMA wal_checkpoint(PASSIVE)"],
        ["PRAGMA wal_checkpoint(RESTART)"],
        ["PRAGMA wal_checkpoint(TRUNCATE)"],
        ["ANALYZE", "PRAGMA optimize", "REINDEX"],
        ["CREATE TABLE IF NOT EXISTS _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)"],
    ],
    ids=" ".join,
)
async def test_use_by_other_programs_raises_no_alarm(lost: Lost, statements: list[str]):
    other_program(
        lost.path,
        "CREATE TABLE dream_x (t)",
        "INSERT INTO dream_x VALUES (randomblob(1000000))",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "DROP TABLE dream_x",
    )
    for number in range(
        3
    ):  # the end that VACUUM cuts off is noticed at a write, with an empty log and a full one
        assert await lost.store.probe() is None
        other_program(lost.path, *statements)
        await one_dream(lost.store, f"dream-{number}")
    while lost.store.sizes()["wal_bytes"]:
        assert await lost.store.probe() is None
    assert lost.told == []
    assert len(await lost.store.recent(9)) == 4
    await lost.store.close()
    assert lost.told == []


async def test_a_long_reader_raises_no_alarm(lost: Lost):
    with closing(sqlite3.connect(lost.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM dream_meta").fetchall()
        for number in range(20):
            await one_dream(lost.store, f"dream-{number}")
            assert await lost.store.probe() is None
    await lost.store.close()
    assert lost.told == []
