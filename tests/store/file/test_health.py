"""Trouble with the file: noticed, reported in a word, and ended as soon as its cause is gone."""

import errno
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from dreamd.errors import StoreError, StoreUnavailable
from dreamd.store.file.connection import with_quota
from dreamd.store.file.health import UNAVAILABLE_REASONS, name_of, reason_for
from dreamd.store.records import Charge
from dreamd.store.store import Store
from tests.helpers.ptrace import Call, needs_ptrace, traced
from tests.helpers.store_rows import STARTED_AT, finish, line, new_dialog, one_dream
from tests.store.conftest import fill

OpenStore = Callable[..., Awaitable[Store]]


async def refused(awaitable: Awaitable[object]) -> str:
    """Check that the store refuses, and return the trouble that it names."""
    with pytest.raises(StoreUnavailable) as error:
        await awaitable
    assert error.value.reason in UNAVAILABLE_REASONS
    return error.value.reason


def corrupt() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT"
    return error


async def test_reports_damage_that_cannot_be_marked(store: Store, path: Path):
    def garbled(_: sqlite3.Connection) -> None:
        raise corrupt()

    path.with_name("dream.sqlite3.suspect").mkdir()  # in the way of the mark
    assert await refused(store._read(garbled)) == "damaged"
    assert await refused(store.begin(new_dialog())) == "damaged"


# The disk is full.


async def limit_pages(store: Store, pages: int) -> None:
    assert store._database
    await store._database.read(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchone())


async def test_full_writes_are_refused_reads_work_and_it_recovers_without_reopening(store: Store):
    number = await one_dream(store)
    running = await store.begin(new_dialog("dream-2"))
    await limit_pages(store, 1)
    long = line(1, "stones " * 10_000)
    assert await refused(store.record(running, long, STARTED_AT, charge=Charge("leo", 1.0))) == "disk full"
    assert store.unavailable_reason == "disk full"
    assert await store.probe() == "disk full"
    assert (await store.get(number))["lines"] == 3
    assert (await store.get(running))["turns"] == []
    assert (await store.load()).last_run == {}

    await limit_pages(store, 100_000)
    assert await store.probe() is None
    assert store.unavailable_reason is None
    await store.record(running, long, STARTED_AT)
    await store.finish(running, finish(long))


async def test_a_write_that_works_ends_the_trouble(store: Store):
    running = await store.begin(new_dialog())
    await limit_pages(store, 1)
    assert await refused(store.record(running, line(1, "stones " * 10_000), STARTED_AT)) == "disk full"
    await store.record(running, line(1, "a stone"), STARTED_AT)  # there was room for a short one
    assert store.unavailable_reason is None


async def test_recovers_from_a_full_disk(small_disk: Path, open_store: OpenStore):
    store = await open_store(small_disk / "dream.sqlite3")
    done = await one_dream(store)
    running = await store.begin(new_dialog("dream-2"))
    filler = fill(small_disk)
    recorded = 0
    while not store.unavailable_reason:  # the log may have a little room of its own
        with suppress(StoreUnavailable):
            await store.record(running, line(recorded + 1, "stones " * 100), STARTED_AT)
            recorded += 1
    assert store.unavailable_reason == "disk full"
    assert await store.probe() == "disk full"
    assert len((await store.get(running))["turns"]) == recorded
    assert (await store.get(done))["lines"] == 3

    filler.unlink()
    assert await store.probe() is None
    await store.record(running, line(recorded + 1), STARTED_AT)
    await store.finish(running, finish())
    assert (await store.load()).lines == recorded + 4


async def test_a_full_disk_at_the_start_is_full_not_damaged(small_disk: Path, open_store: OpenStore):
    """SQLite has no room for the -shm file then: SQLITE_IOERR_SHMSIZE."""
    path = small_disk / "dream.sqlite3"
    store = await open_store(path)
    await one_dream(store)
    await store.close()
    filler = fill(small_disk)

    store = await open_store(path)
    assert (store.unavailable_reason, store.notes) == ("disk full", [])
    assert await refused(store.load()) == "disk full"
    assert await refused(store.begin(new_dialog("dream-2"))) == "disk full"
    assert await store.probe() == "disk full"

    filler.unlink()
    assert await store.probe() is None
    assert (await store.load()).lines == 3
    await one_dream(store, "dream-2")


async def test_a_first_start_on_a_full_disk_waits_for_room(small_disk: Path, open_store: OpenStore):
    filler = fill(small_disk)
    store = await open_store(small_disk / "dream.sqlite3")
    assert store.unavailable_reason == "disk full"
    filler.unlink()
    assert await store.probe() is None
    assert store.notes == []
    await one_dream(store)


async def test_a_migration_waits_for_room_for_its_backup(small_disk: Path, open_store: OpenStore):
    path = small_disk / "dream.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE dream_meta (key TEXT PRIMARY KEY, value TEXT)")
    filler = fill(small_disk)
    store = await open_store(path)
    assert store.unavailable_reason == "disk full"
    assert [file for file in small_disk.iterdir() if "version-0" in file.name] == []
    filler.unlink()
    assert await store.probe() is None
    assert "migrated from version 0" in store.notes[0]


@needs_ptrace
@pytest.mark.parametrize(("code", "word"), [(errno.EDQUOT, "disk full"), (errno.EIO, "input/output error")])
def test_a_quota_that_is_used_up_is_a_full_disk(tmp_path: Path, code: int, word: str):
    """SQLite reports an input/output error for both. The system call really fails here."""

    def write() -> int:
        with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as connection:
            try:
                with with_quota(tmp_path):
                    connection.execute("CREATE TABLE dream_meta (key)")
            except (sqlite3.Error, OSError) as error:
                return UNAVAILABLE_REASONS.index(reason_for(error) or "closed")
        return 99

    def fault(call: Call) -> int | None:
        writes = call.name in ("write", "pwrite64") and call.file.startswith(str(tmp_path))
        return code if writes else None

    assert traced(write, fault) == UNAVAILABLE_REASONS.index(word)
    assert [file.name for file in tmp_path.iterdir() if "dream" not in file.name] == []


# Others.

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA locking_mode = " + sys.argv[2])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def hold(path: Path, mode: str) -> subprocess.Popen[bytes]:
    """Start a process that holds the write lock until its standard input ends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"held\n"
    return holder


async def test_reports_locked_until_the_other_process_releases_it(path: Path, open_store: OpenStore):
    store = await open_store(path, busy_timeout_s=0.01)
    number = await one_dream(store)
    with hold(path, "NORMAL") as holder:
        assert await refused(store.begin(new_dialog("dream-2"))) == "locked"
        assert await store.probe() == "locked"
        assert (await store.get(number))["lines"] == 3
        holder.communicate()
    assert await store.probe() is None
    await one_dream(store, "dream-2")


async def test_opens_later_if_it_is_locked_at_the_start(path: Path, open_store: OpenStore):
    await (await open_store(path)).close()
    with hold(path, "EXCLUSIVE") as holder:
        store = await open_store(path, busy_timeout_s=0.01)
        assert store.unavailable_reason == "locked"
        holder.communicate()
    assert await store.probe() is None
    await one_dream(store)


async def test_reports_a_read_only_file(path: Path, open_store: OpenStore):
    """SQLite's own switch answers as a read-only file does, and binds root too."""
    store = await open_store(path)
    assert store._database
    await store._database.read(lambda c: c.execute("PRAGMA query_only = ON"))
    assert await refused(store.begin(new_dialog())) == "read-only"
    assert (await store.load()).dialogs == 0
    await store._database.read(lambda c: c.execute("PRAGMA query_only = OFF"))
    assert await store.probe() is None


async def test_reports_a_read_only_disk(small_disk: Path, open_store: OpenStore):
    await (await open_store(small_disk / "old.sqlite3")).close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for name in ("old.sqlite3", "new.sqlite3"):
        store = await open_store(small_disk / name)
        assert store.unavailable_reason == "read-only"
        assert await store.probe() == "read-only"
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert await store.probe() is None


async def test_reports_a_missing_folder(path: Path, open_store: OpenStore):
    store = await open_store(path.parent / "none" / "dream.sqlite3")
    assert store.unavailable_reason == "cannot open"
    assert store.sizes() == {"database_bytes": 0, "wal_bytes": 0}
    (path.parent / "none").mkdir()
    assert await store.probe() is None


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (OSError(errno.ENOSPC, "no room"), "disk full"),
        (OSError(errno.EROFS, "read-only"), "read-only"),
        (OSError(errno.EIO, "broken"), "input/output error"),
        (corrupt(), "damaged"),
        (sqlite3.ProgrammingError("a mistake of ours"), None),
    ],
)
def test_each_error_has_a_word_or_is_a_fault_of_dreamd(error: sqlite3.Error | OSError, word: str | None):
    assert reason_for(error) == word


def test_p14_an_error_is_named_without_its_message():
    assert name_of(sqlite3.OperationalError("Could not decode to UTF-8: 'the river'")) == "OperationalError"
    assert name_of(corrupt()) == "SQLITE_CORRUPT"


# The log, sizes, and copies.


@pytest.mark.parametrize(
    ("spoil", "why"),
    [("PRAGMA user_version = 99", "version 99"), ("CREATE TABLE tokens (id INTEGER)", "tables of others")],
)
async def test_leaves_a_file_unchanged_that_proves_to_be_foreign(
    path: Path, open_store: OpenStore, spoil: str, why: str
):
    """It was locked at the start, so its contents could not be read."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(spoil)
    told: list[StoreError] = []
    with hold(path, "EXCLUSIVE") as holder:
        store = await open_store(path, busy_timeout_s=0.01, on_lost=told.append)
        assert store.unavailable_reason == "locked"
        holder.communicate()
    before = path.read_bytes()
    await store.probe()
    assert why in str(told[0])
    with pytest.raises(StoreUnavailable):
        await store.begin(new_dialog())
    assert path.read_bytes() == before


async def test_reopens_a_read_only_file_when_it_becomes_writable(
    path: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
):
    """SQLite keeps such a file read-only. The test uses SQLite's own parameter, which binds root too."""
    number = await one_dream(await open_store(path))
    with monkeypatch.context() as bound:
        connect = sqlite3.connect
        bound.setattr(
            "dreamd.store.opening.sqlite3.connect",
            lambda path, **more: connect(
                str(path) if more.get("uri") else f"file:{path}?mode=ro", **more | {"uri": True}
            ),
        )
        store = await open_store(path)
        assert store.unavailable_reason == "read-only"
        assert (await store.get(number))["lines"] == 3
        assert await store.probe() == "read-only"
        assert await refused(store.begin(new_dialog("dream-2"))) == "read-only"
    assert await store.probe() is None
    await one_dream(store, "dream-2")
