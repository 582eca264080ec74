"""The database thread: it runs whole functions even if callers are cancelled. And the used internals of aiosqlite."""

import asyncio
import inspect
import logging
import sqlite3
import threading
from pathlib import Path

import aiosqlite
import pytest

from dreamd.store.file.connection import Database
from dreamd.store.records import Charge
from dreamd.store.store import Store
from tests.helpers.store_rows import STARTED_AT, line, new_dialog


def connector(path: Path):
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("CREATE TABLE IF NOT EXISTS pairs (number INTEGER, half TEXT)")
        return connection

    return connect


async def test_aiosqlite_has_the_internals_that_are_used(tmp_path: Path):
    """connection.py uses parts of aiosqlite 0.22 that are not public. Check it again if this fails."""
    assert inspect.iscoroutinefunction(aiosqlite.Connection._execute)
    assert list(inspect.signature(aiosqlite.Connection._execute).parameters) == [
        "self",
        "fn",
        "args",
        "kwargs",
    ]
    assert list(inspect.signature(aiosqlite.Connection).parameters)[:2] == ["connector", "iter_chunk_size"]
    async with aiosqlite.connect(tmp_path / "plain") as plain:
        assert isinstance(plain._conn, sqlite3.Connection)
        assert isinstance(plain._thread, threading.Thread)
        assert await plain._execute(threading.current_thread) is plain._thread
    plain._thread.join(20)
    assert not plain._thread.is_alive()


async def test_fifty_tasks_cancelled_in_mid_transaction_leave_whole_rows(tmp_path: Path):
    path = tmp_path / "pairs"
    database = await Database.open(path, connector(path))
    loop = asyncio.get_running_loop()

    def two_halves(connection: sqlite3.Connection, number: int, between: asyncio.Event, go: threading.Event):
        connection.execute("INSERT INTO pairs VALUES (?, 'first')", (number,))
        loop.call_soon_threadsafe(between.set)
        assert go.wait(20)
        connection.execute("INSERT INTO pairs VALUES (?, 'second')", (number,))

    for number in range(50):
        between, go = asyncio.Event(), threading.Event()
        task = asyncio.create_task(database.write(two_halves, number, between, go))
        await between.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go.set()
    halves = await database.read(
        lambda connection: connection.execute(
            "SELECT count(*) FROM (SELECT number FROM pairs GROUP BY number HAVING count(*) = 2)"
        ).fetchone()
    )
    await database.close()
    assert halves == (50,)


async def test_a_cancelled_record_is_whole_or_absent(store: Store):
    """If a task is cancelled at any await, the line, its count and its charge are all there, or none of them."""
    numbers = [await store.begin(new_dialog(f"dream-{n}")) for n in range(50)]
    tasks = [
        asyncio.create_task(store.record(number, line(1), STARTED_AT, charge=Charge(f"client-{number}", 1.0)))
        for number in numbers
    ]
    for steps, task in enumerate(tasks):
        if steps % 10 == 0:
            await asyncio.sleep(0)
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(end, asyncio.CancelledError) for end in ended)
    charged = (await store.load()).last_run
    recorded = 0
    for number in numbers:
        dialog = await store.get(number)
        assert dialog["lines"] == len(dialog["turns"]) == (f"client-{number}" in charged)
        recorded += dialog["lines"]
    assert recorded > 0
    assert await store.begin(new_dialog("dream-after")) == 51


async def test_a_failed_opening_leaves_no_thread(tmp_path: Path):
    def broken() -> sqlite3.Connection:
        raise LookupError("no")

    before = threading.active_count()
    with pytest.raises(LookupError):
        await Database.open(tmp_path / "none", broken)
    waiting = [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]
    assert waiting == []
    assert threading.active_count() <= before + 1  # the loop's pool, that waited for it


async def test_a_cancelled_opening_closes_the_file(tmp_path: Path):
    path = tmp_path / "pairs"
    loop = asyncio.get_running_loop()
    reached, go = asyncio.Event(), threading.Event()
    made: list[sqlite3.Connection] = []

    def slow() -> sqlite3.Connection:
        loop.call_soon_threadsafe(reached.set)
        assert go.wait(20)
        made.append(connector(path)())
        return made[0]

    task = asyncio.create_task(Database.open(path, slow))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):  # at once: a disk may hang
        await task
    [thread] = [thread for thread in threading.enumerate() if "_connection_worker_thread" in thread.name]
    go.set()
    thread.join(20)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        made[0].execute("SELECT 1")


async def test_p14_no_text_reaches_a_log(store: Store, caplog: pytest.LogCaptureFixture):
    """P14: aiosqlite logs its arguments at DEBUG, and asyncio logs slow callbacks in debug mode."""
    caplog.set_level(logging.DEBUG)
    number = await store.begin(new_dialog())
    await store.record(number, line(1, "the river"), STARTED_AT)
    with pytest.raises(Exception, match="SQLITE_CONSTRAINT_UNIQUE") as failed:
        await store.record(number, line(1, "the river"), STARTED_AT)
    assert "river" not in caplog.text
    assert "aiosqlite" not in caplog.text
    assert "river" not in str(failed.value)
