"""The database is probed and its log emptied, at no cost while nothing happens."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.store.store import Store
from tests.helpers.store_rows import new_dialog, one_dream


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
