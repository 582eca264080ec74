"""The database is probed and its log emptied, at no cost while nothing happens."""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.errors import StoreError, StoreUnavailable
from dreamd.store import watched_database
from dreamd.store.file.connection import Database
from dreamd.store.file.health import LOCKED, REPLACED, UNANSWERED
from dreamd.store.store import Store
from tests.helpers.store_rows import new_dialog, one_dream
from tests.helpers.waiting import until_on_loop
from tests.store.conftest import OpenStore


async def test_an_idle_store_empties_its_log_once(store: Store):
    await one_dream(store)
    full = store.sizes()
    assert full["wal_bytes"] > 0
    assert await store.probe() is None
    assert store.sizes() == full  # written to since the last look: not idle
    assert await store.probe() is None
    emptied = store.sizes()
    assert emptied["wal_bytes"] == 0
    assert emptied["database_bytes"] > full["database_bytes"]
    assert await store.probe() is None
    assert store.sizes() == emptied


async def test_p12_a_probe_of_a_healthy_store_writes_nothing(store: Store, path: Path):
    await one_dream(store)
    for _ in range(3):
        await store.probe()
    before = [os.stat(f"{path}{part}") for part in ("", "-wal")]
    await store.probe()
    after = [os.stat(f"{path}{part}") for part in ("", "-wal")]
    assert [s.st_mtime_ns for s in after] == [s.st_mtime_ns for s in before]


async def test_empties_a_log_later_if_another_process_reads_it(store: Store, path: Path):
    await one_dream(store)
    await store.probe()
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM dream_meta").fetchall()
        await store.begin(new_dialog("dream-2"))
        await store.probe()
        assert await store.probe() is None
        assert store.sizes()["wal_bytes"] > 0
    await store.probe()
    assert store.sizes()["wal_bytes"] == 0
    assert store._database
    assert await store._database.read(lambda c: c.execute("PRAGMA busy_timeout").fetchone()) == (2000,)


def raising(error: Exception) -> Callable[..., None]:
    def raise_it(*_: object) -> None:
        raise error

    return raise_it


async def test_p12_a_probe_of_an_untouched_database_reads_nothing(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
):
    await one_dream(store)
    for _ in range(4):
        await store.probe()
    assert store._database
    with monkeypatch.context() as idle:
        idle.setattr(store._database, "_execute", raising(AssertionError("its thread was woken")))
        assert await store.probe() is None
        os.utime(path)
        with pytest.raises(AssertionError, match="woken"):
            await store.probe()


async def test_a_start_does_not_wait_for_a_disk_that_hangs_after_the_opening(
    open_store: OpenStore, path: Path, monkeypatch: pytest.MonkeyPatch
):
    goes_on, write = asyncio.Event(), Database.write

    async def hangs(*arguments, **more):
        await goes_on.wait()
        return await write(*arguments, **more)

    monkeypatch.setattr(Database, "write", hangs)
    monkeypatch.setattr(watched_database, "START_S", 0.2)
    store = await open_store(path)
    assert store.unavailable_reason == UNANSWERED
    goes_on.set()
    await until_on_loop(lambda: store.unavailable_reason is None)
    assert await one_dream(store) == 1


async def test_p14_a_refusal_of_sqlite_is_named_by_its_code_alone(store: Store):
    """P14: SQLite's own message may hold a value."""

    def refused(_: sqlite3.Connection) -> None:
        raise sqlite3.IntegrityError("the river at night")

    with pytest.raises(StoreError) as error:
        await store._write(refused)
    assert "river" not in str(error.value)


async def test_writes_nothing_to_a_database_that_is_lost(store: Store):
    """Also if it can be reached again."""
    store.unavailable_reason = REPLACED
    with pytest.raises(StoreUnavailable, match=REPLACED):
        await one_dream(store)
    store.unavailable_reason = None
    assert await store.recent(1) == []


async def test_is_well_again_when_a_write_works(store: Store):
    store.unavailable_reason = LOCKED
    assert await store.probe() is None
    assert store.unavailable_reason is None
