"""Opening: refusing, migrating, setting aside, and setting up the file."""

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.clock import Clock
from dreamd.dream.gate import Decision
from dreamd.errors import StoreError, StoreForeign, StoreTooNew, StoreUnavailable
from dreamd.store.forgetting import Asked
from dreamd.store.schema import MIGRATIONS
from dreamd.store.store import Store
from tests.helpers import leo_database
from tests.helpers.store_rows import new_dialog, one_dream

OpenStore = Callable[..., Awaitable[Store]]


def folder(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


async def pragma(store: Store, name: str) -> object:
    assert store._database
    return (await store._database.read(lambda c: c.execute(f"PRAGMA {name}").fetchone()))[0]


async def test_sets_up_a_durable_file(store: Store, path: Path):
    assert await pragma(store, "journal_mode") == "wal"
    assert await pragma(store, "synchronous") == 2  # FULL
    assert await pragma(store, "foreign_keys") == 1
    assert await pragma(store, "user_version") == len(MIGRATIONS)
    assert await pragma(store, "journal_size_limit") == 4 * 1024 * 1024
    await one_dream(store)
    for part in ("", "-wal", "-shm"):
        assert stat.S_IMODE(os.stat(f"{path}{part}").st_mode) == 0o600


async def test_a_closed_store_leaves_one_file_and_its_memory(store: Store, path: Path, open_store: OpenStore):
    await one_dream(store)
    await store.close()
    await store.close()
    assert list(folder(path)) == [path.name]
    again = await open_store(path)
    assert (await again.load()).lines == 3
    assert again.notes == []


async def test_a_closed_store_raises(store: Store):
    await store.close()
    with pytest.raises(StoreUnavailable) as refused:
        await store.load()
    assert refused.value.reason == "closed"
    assert await store.probe() is None


async def test_as_a_context_manager_it_closes_itself(path: Path, clock: Clock):
    async with await Store.open(path, clock=clock) as store:
        await one_dream(store)
    assert list(folder(path)) == [path.name]


# What is not ours.


async def test_a_newer_database_is_refused_and_stays_byte_identical(path: Path, open_store: OpenStore):
    store = await open_store(path)
    await one_dream(store)
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE dream_of_the_future (id INTEGER)")
        connection.execute("PRAGMA user_version = 99")
    before = folder(path)
    with pytest.raises(
        StoreTooNew, match=rf"version 99, this dreamd knows {len(MIGRATIONS)}: upgrade dreamd"
    ):
        await open_store(path)
    assert folder(path) == before
    assert list(before) == [path.name]


NEWER_AND_KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("CREATE TABLE dream_meta (key, value)")
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.execute("PRAGMA user_version = 99")
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_newer_database_is_seen_through_its_log(path: Path, open_store: OpenStore):
    """A newer dreamd was killed: its version is in the -wal only, and neither file is touched."""
    killed = subprocess.run([sys.executable, "-c", NEWER_AND_KILLED, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    before = folder(path)
    with pytest.raises(StoreTooNew):
        await open_store(path)
    after = folder(path)
    shm = f"{path.name}-shm"  # holds locks, no data
    assert before.pop(shm)
    assert after.pop(shm)
    assert after == before


@pytest.mark.parametrize("version", [0, 99])
async def test_leos_field_is_never_opened_for_writing(path: Path, open_store: OpenStore, version: int):
    shutil.copy(leo_database.FIELD, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    before = folder(path)
    with pytest.raises(
        StoreForeign, match=r"tables of others \(bigrams, co_occurrence, meta, snapshots, \.\.\)"
    ):
        await open_store(path)
    assert folder(path) == before
    assert list(before) == [path.name]


async def test_one_foreign_table_makes_a_database_foreign(path: Path, open_store: OpenStore):
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (id INTEGER)")
    with pytest.raises(StoreForeign, match=r"\(recipes\)"):
        await open_store(path)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
async def test_leaves_alone_what_is_no_file(path: Path, open_store: OpenStore, make: Callable[[Path], None]):
    make(path)
    before = os.stat(path)
    with pytest.raises(StoreForeign, match="no file stands in its place"):
        await open_store(path)
    assert os.listdir(path.parent) == [path.name]
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns


# Damage.


def damage_header(path: Path) -> None:
    path.write_bytes(b"not a database at all, but a letter" * 40)


def damage_schema(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 900)


def damage_friend(path: Path) -> None:
    damage_table(path, "dream_bootstrap_fragments")


def damage_table(path: Path, table: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with open(path, "r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)


@pytest.mark.parametrize("damage", [damage_header, damage_schema, damage_friend])
async def test_a_damaged_file_is_set_aside_whole(
    path: Path, open_store: OpenStore, damage: Callable[[Path], None]
):
    store = await open_store(path)
    await one_dream(store)
    await store.close()
    damage(path)
    damaged = path.read_bytes()

    store = await open_store(path)
    aside = "dream.sqlite3.damaged-20260102T150000Z"
    assert store.notes == [f"the database was damaged: it is kept as {aside}, a new one was started"]
    assert path.with_name(aside).read_bytes() == damaged
    assert (await store.load()).dialogs == 0
    assert store.unavailable_reason is None
    await one_dream(store)

    await store.close()
    damage_header(path)
    again = await open_store(path)
    assert path.with_name(f"{aside}-2").exists()
    assert path.with_name(aside).read_bytes() == damaged
    assert again.unavailable_reason is None


async def test_makes_the_log_of_a_database_that_was_read_only_for_a_time_writable(
    path: Path, open_store: OpenStore
):
    """SQLite gives the files beside a read-only database its mode, and they stay when it is writable again."""
    store = await open_store(path)
    await one_dream(store)
    copy = path.with_name("copy") / path.name
    copy.parent.mkdir()
    for part in ("", "-wal", "-shm"):
        shutil.copy(f"{path}{part}", f"{copy}{part}")
    os.chmod(f"{copy}-shm", 0o444)
    again = await open_store(copy)
    assert (again.unavailable_reason, stat.S_IMODE(os.stat(f"{copy}-shm").st_mode)) == (None, 0o644)


async def test_a_link_that_leads_to_itself_is_named(path: Path, open_store: OpenStore):
    path.symlink_to(path.name)
    with pytest.raises(StoreForeign, match="a link stands in its place that leads to itself: remove it"):
        await open_store(path)


KILLED_WITHOUT_A_LOG = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE").fetchone()
connection.execute("PRAGMA cache_size = 2")
connection.execute("BEGIN")
for number in range(300):
    connection.execute("INSERT INTO dream_meta VALUES (?, zeroblob(1000))", (f"dream_{number}",))
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_rolls_back_what_a_killed_program_left_half_written(path: Path, open_store: OpenStore):
    """As one that was killed while a backup that was put in place got its log."""
    store = await open_store(path)
    number = await one_dream(store)
    await store.close()
    killed = subprocess.run([sys.executable, "-c", KILLED_WITHOUT_A_LOG, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.with_name("dream.sqlite3-journal").stat().st_size
    store = await open_store(path)
    assert (store.unavailable_reason, store.notes) == (None, [])
    assert [each["id"] for each in await store.recent(9)] == [number]
    assert not path.with_name("dream.sqlite3-journal").exists()


async def test_a_log_without_its_database_is_kept(path: Path, open_store: OpenStore):
    """SQLite would delete it unread, with all that was committed to it."""
    path.with_name("dream.sqlite3-wal").write_bytes(b"committed")
    store = await open_store(path)
    kept = "dream.sqlite3.left-over-20260102T150000Z-wal"
    assert path.with_name(kept).read_bytes() == b"committed"
    assert kept in store.notes[0]
    assert store.unavailable_reason is None


async def test_damage_found_while_running_stops_writing_and_is_set_aside_at_the_next_start(
    path: Path, open_store: OpenStore
):
    store = await open_store(path)
    number = await one_dream(store)
    await store.close()
    damage_table(path, "dream_turns")

    told: list[StoreError] = []
    store = await open_store(path, on_lost=told.append)
    assert (store.notes, store.unavailable_reason) == ([], None)  # the start reads no lines
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="damaged"):
            await store.get(number)
    assert store.unavailable_reason == "damaged"
    assert [str(error) for error in told] == [f"damaged ({path})"]
    with pytest.raises(StoreUnavailable, match="nothing is written: damaged"):
        await store.begin(new_dialog("dream-2"))
    assert (await store.stats())["dialogs"] == 1
    assert await store.probe() == "damaged"
    await store.close()
    store = await open_store(path)
    assert "damaged" in store.notes[0]
    assert (await store.load()).dialogs == 0
    assert not path.with_name("dream.sqlite3.suspect").exists()
    await store.close()
    assert (await open_store(path)).notes == []


async def test_a_whole_database_that_was_suspect_stays(path: Path, open_store: OpenStore):
    store = await open_store(path)
    await one_dream(store)
    await store.close()
    path.with_name("dream.sqlite3.suspect").touch()
    store = await open_store(path)
    assert store.notes == ["the database was suspect: it was checked, and is whole"]
    assert (await store.load()).dialogs == 1
    assert not path.with_name("dream.sqlite3.suspect").exists()


async def test_a_suspect_mark_does_not_apply_to_a_new_file(path: Path, open_store: OpenStore):
    path.with_name("dream.sqlite3.suspect").touch()
    assert (await open_store(path)).notes == []
    assert not path.with_name("dream.sqlite3.suspect").exists()


async def test_the_log_beside_an_emptied_database_is_set_aside_with_it(path: Path, open_store: OpenStore):
    """SQLite would delete it unread."""
    store = await open_store(path)
    await one_dream(store)
    log = path.with_name("dream.sqlite3-wal").read_bytes()
    await store.close()
    path.write_bytes(b"")
    path.with_name("dream.sqlite3-wal").write_bytes(log)
    store = await open_store(path)
    [note] = store.notes
    assert "the database was damaged: it is kept as " in note
    [aside] = path.parent.glob("dream.sqlite3.damaged-*Z-wal")
    assert aside.read_bytes() == log


@pytest.mark.parametrize(
    "broken",
    [
        "dream_bootstrap_fragments SET text",
        "dream_signals SET client",
        "dream_meta SET value",
        "dream_decisions SET decision",
        "dream_decision_counts SET reason",
        "dream_checkpoints SET fragments",
        "dream_dialogs SET client",
        "dream_dialogs SET outcome",
        "dream_turns SET text",
        "dream_turns SET seed",
    ],
)
async def test_one_text_that_is_no_utf_8_hides_no_other(path: Path, open_store: OpenStore, broken: str):
    """As after a bit that flipped: the daemon starts, and each list is answered."""
    store = await open_store(path)
    number = await one_dream(store)
    await store.seed(["the sea is quiet", "the river runs"], 1.0)
    await store.keep("tuesday", 1.0, again=False)
    await store.keep_signals({"leo": b"\x80"}, 1.0)
    await store.keep_decisions(
        [Decision(at=1.0, dream=False, reason="calm")] * 2, {("2026-01-01", "calm"): 2}
    )
    await store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        table = broken.partition(" ")[0]
        key = f"UPDATE {broken} = CAST(x'61FF62' AS TEXT) WHERE ROWID = (SELECT min(ROWID) FROM {table})"
        key = key if table != "dream_decision_counts" else key.partition(" WHERE")[0]
        assert connection.execute(key).rowcount == 1
    store = await open_store(path)
    assert store.unavailable_reason is None
    assert len((await store.load()).fragments) == 2
    assert [each["id"] for each in await store.recent(9)] == [number]
    assert len((await store.get(number))["turns"]) == 3
    assert [each.reason for each in await store.decisions(9)] == ["calm"] * (
        1 if table == "dream_decisions" else 2
    )
    assert sum(sum(each.values()) for each in (await store.stats())["days"].values()) == 2
    assert [each["name"] for each in await store.checkpoints(9)] == ["tuesday"]
    everything = Asked(before=1e12, friend=True, everywhere=True)
    gone, memory = await store.forget(await store.forgettable(everything), everything)
    assert (gone.lines, [fragment.origin for fragment in memory.fragments]) == (3, [True, True])
    assert await store.scrub()


async def test_a_symlinked_database_is_set_aside_where_it_lies(path: Path, open_store: OpenStore):
    real = path.with_name("elsewhere")
    real.mkdir()
    damage_header(real / "real.sqlite3")
    path.symlink_to(real / "real.sqlite3")
    store = await open_store(path)
    await one_dream(store)
    assert path.is_symlink()
    assert (real / "real.sqlite3.damaged-20260102T150000Z").exists()


async def test_two_stores_wait_for_each_other(path: Path, open_store: OpenStore):
    """The daemon's lock keeps a second store out. This is the case in which it does not."""
    first, second = await open_store(path), await open_store(path)
    numbers = await asyncio.gather(*(s.begin(new_dialog(f"dream-{id(s)}")) for s in (first, second)))
    assert sorted(numbers) == [1, 2]


async def test_a_deleted_text_leaves_no_byte_in_the_file(store: Store):
    def pragmas(connection: sqlite3.Connection) -> list[int]:
        names = ("secure_delete", "synchronous", "foreign_keys")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await store._read(pragmas) == [1, 2, 1]


async def test_a_value_of_another_type_keeps_nothing_from_being_read(path: Path, open_store: OpenStore):
    """As another program may store it: a friend with one such fragment dreams, and the line is delivered."""
    store = await open_store(path)
    number = await one_dream(store)
    await store.seed(["the sea is quiet", "the river runs"], 1.0)
    await store.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE dream_bootstrap_fragments SET text = x'61FF62', weight = 'x', added_at = 'y' WHERE id = 1"
        )
        connection.execute("UPDATE dream_turns SET text = x'61FF62' WHERE turn = 1")
    store = await open_store(path)
    first, second = (await store.load()).fragments
    assert (first.text, first.weight, first.added_at) == ("a\ufffdb", 0.0, 0.0)
    assert (second.text, second.weight) == ("the river runs", 1.0)
    assert (await store.get(number))["turns"][0]["text"] == "a\ufffdb"
