"""The places of the database: dreamd's own in the state folder, or a given one. Only a file that is proven to be
dreamd's is ever renamed or written to."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dreamd.errors import StoreError, StoreForeign, StoreTaken
from dreamd.store import places
from dreamd.store.file.health import UNANSWERED
from dreamd.store.store import Store
from tests.helpers import leo_database
from tests.helpers.store_rows import one_dream
from tests.store.file.test_health import hold

OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture
def given(path: Path) -> Path:
    """A place in another folder than dreamd's own."""
    folder = path.with_name("elsewhere")
    folder.mkdir()
    return folder / "leo.sqlite3"


def a_table(path: Path, name: str, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE {name} (a)")
        connection.executemany(f"INSERT INTO {name} VALUES (?)", [("x" * 900,)] * 50)
        for statement in statements:
            connection.execute(statement)


def torn(path: Path) -> None:
    a_table(path, "trigrams")
    with path.open("r+b") as file:
        file.write(b"\0" * 100)


def damaged_schema(path: Path) -> None:
    a_table(path, "trigrams")
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 900)


def half(path: Path) -> None:
    a_table(path, "trigrams")
    os.truncate(path, 2048)


def empty_database(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("VACUUM")


def log_alone(path: Path) -> None:
    path.with_name(f"{path.name}-wal").write_bytes(b"committed")


def emptied_with_log(path: Path) -> None:
    path.touch()
    log_alone(path)


HOT = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("UPDATE trigrams SET a = hex(randomblob(400))")
os._exit(0)
"""


def hot(path: Path) -> None:
    """Make a database whose program died within a transaction, which has to be rolled back."""
    a_table(path, "trigrams")
    subprocess.run([sys.executable, "-c", HOT, str(path)], check=True, timeout=20)
    assert path.with_name(f"{path.name}-journal").stat().st_size


FOREIGN = {
    "a database with a hot journal": hot,
    "leo's field": lambda path: shutil.copy(leo_database.FIELD, path),
    "a torn first page": torn,
    "a damaged schema": damaged_schema,
    "half a database": half,
    "a text file": lambda path: path.write_text("my notes\n" * 1000),
    "an empty file": lambda path: path.touch(),
    "an empty database": empty_database,
    "tables named alike": lambda path: a_table(path, "dream_journal"),
    "tables named alike, with a version": lambda path: a_table(path, "dream_meta", "PRAGMA user_version = 1"),
    "a version below zero": lambda path: a_table(path, "dream_meta", "PRAGMA user_version = -1"),
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a log without a database": log_alone,
    "an empty file with a log": emptied_with_log,
}


def contents(folder: Path) -> dict[str, bytes | str]:
    return {file.name: file.read_bytes() if file.is_file() else "no file" for file in folder.iterdir()}


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN.keys())
@pytest.mark.parametrize("beside", ["nothing", "foreign"])
async def test_leaves_a_foreign_database_alone_and_uses_another_place(
    path: Path, given: Path, open_store: OpenStore, make: Callable[[Path], object], beside: str
):
    """dream.sqlite3 beside it is used, or the one in the state folder if that is not dreamd's either."""
    make(given)
    if beside == "foreign":
        make(given.with_name(path.name))
    before = contents(given.parent)
    store = await open_store(path, given=given)
    taken = path if beside == "foreign" else given.with_name(path.name)
    assert store.path == taken
    assert f"{given}: " in store.notes[0]
    assert f"dreams are kept in {given.with_name(path.name)}" in store.notes[0]
    await one_dream(store)
    await store.close()
    after = contents(given.parent)
    if beside == "nothing":
        del after[path.name]
    assert after == before
    again = await open_store(path, given=given)
    assert (again.path, len(await again.recent(2))) == (taken, 1)


@pytest.mark.parametrize("own", [True, False])
async def test_uses_a_given_place_if_it_is_free_or_dreamds(
    path: Path, given: Path, open_store: OpenStore, own: bool
):
    chosen = path if own else given
    for count in (1, 2):
        store = await open_store(path, given=chosen)
        await one_dream(store, f"dream-{count}")
        assert (store.path, store.notes, len(await store.recent(9))) == (chosen, [], count)
        await store.close()


async def test_leos_own_four_tables_are_taken_over(path: Path, given: Path, open_store: OpenStore):
    shutil.copy(leo_database.BARE, given)
    store = await open_store(path, given=given)
    assert store.path == given
    assert "migrated from version 0" in store.notes[0]


async def test_sets_aside_a_damaged_file_that_is_proven_to_be_dreamds(
    path: Path, given: Path, open_store: OpenStore
):
    store = await open_store(path, given=given)
    await one_dream(store)
    await store.close()
    with closing(sqlite3.connect(given)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'dream_bootstrap_fragments'"
        ).fetchone()
    with given.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)
    damaged = given.read_bytes()
    store = await open_store(path, given=given)
    assert store.path == given
    assert given.with_name("leo.sqlite3.damaged-20260102T150000Z").read_bytes() == damaged


async def test_decides_on_a_locked_place_when_it_can_be_read(path: Path, given: Path, open_store: OpenStore):
    """A lock does not show whose database it is."""
    a_table(given, "trigrams", "PRAGMA journal_mode = WAL")
    before = given.read_bytes()
    with hold(given, "EXCLUSIVE") as holder:
        store = await open_store(path, given=given, busy_timeout_s=0.01)
        assert (store.unavailable_reason, store.path) == ("locked", given)
        holder.communicate()
    assert await store.probe() is None
    assert store.path == given.with_name(path.name)
    assert given.read_bytes() == before


async def test_does_not_use_another_file_if_another_dreamd_has_it_open(
    path: Path, given: Path, open_store: OpenStore
):
    asked = []

    def taken(file: Path) -> None:
        asked.append(file)
        raise StoreTaken("another dreamd has it open")

    with pytest.raises(StoreTaken):
        await open_store(path, given=given, lock=taken)
    assert asked == [given]
    await open_store(path, lock=taken)  # dreamd's own place is held with the state folder
    assert asked == [given]


@pytest.mark.parametrize("tables", [{"_litestream_seq", "_litestream_lock"}, {"_litestream_seq"}])
async def test_accepts_the_tables_of_litestream(
    path: Path, given: Path, open_store: OpenStore, tables: set[str]
):
    for place in (path, given):
        store = await open_store(path, given=place)
        await one_dream(store)
        await store.close()
        with closing(sqlite3.connect(place)) as connection:
            for table in tables:
                connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")
        store = await open_store(path, given=place)
        assert (store.path, store.notes, store.unavailable_reason) == (place, [], None)
        await one_dream(store, "dream-2")
        with closing(sqlite3.connect(place)) as connection:
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        assert tables <= found


@pytest.mark.parametrize("name", ["_litestream_of_mine", "litestream_seq"])
async def test_refuses_a_table_that_only_resembles_litestreams(path: Path, open_store: OpenStore, name: str):
    a_table(path, name)
    with pytest.raises(StoreForeign):
        await open_store(path)


async def test_does_not_take_a_file_with_contents_for_a_suspect_mark(path: Path, open_store: OpenStore):
    """A mark has the database's name and no content."""
    mark = path.with_name("dream.sqlite3.suspect")
    mark.write_text("mine")
    told: list[StoreError] = []
    store = await open_store(path, on_lost=told.append)
    await one_dream(store)
    await store.close()
    assert (await open_store(path)).notes == []
    assert mark.read_text() == "mine"


async def test_an_opening_that_takes_long_is_made_once(
    path: Path, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
):
    """Each look would begin a thread of its own, on a disk that is slow already."""
    go, real, opened = threading.Event(), places.open_file, list[Path]()

    def open_file(path: Path, how: Any) -> sqlite3.Connection:
        opened.append(path)
        go.wait(20)
        return real(path, how)

    monkeypatch.setattr(places, "OPEN_S", 0.01)
    monkeypatch.setattr(places, "open_file", open_file)
    store = await open_store(path)
    assert [await store.probe() for _ in range(3)] == [UNANSWERED] * 3
    go.set()
    async with asyncio.timeout(20):
        while await store.probe() is not None:
            await asyncio.sleep(0.01)
    assert opened == [path]
