"""One connection on a thread of its own, which runs whole functions.

aiosqlite has no public way to run a function on its thread. If statements ran one by one, a cancelled task would leave
half a transaction open. So this uses `_execute`, `_conn` and `_thread` of aiosqlite 0.22, which is pinned below 0.23.
A contract test fails if they change.
"""

import asyncio
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiosqlite

from dreamd.store.file.files import PROBE_BYTES
from dreamd.store.file.health import FAILING, FULL, reason_for
from dreamd.store.file.open_files import OpenFiles
from dreamd.store.file.transaction import OnConnection, P, T, run_transaction


class Database(aiosqlite.Connection):
    """A database connection. A function given to `read` or `write` runs to its end even if the calling task is
    cancelled."""

    files: OpenFiles

    @classmethod
    async def open(
        cls, path: Path, connector: Callable[[], sqlite3.Connection], name: Path | None = None
    ) -> Self:
        """Run `connector` on a new thread to open `path`. `name` is the path that was asked for, which may be a link.
        What `connector` raises is raised here, after the thread has ended."""
        logging.getLogger("aiosqlite").setLevel(logging.WARNING)  # its debug lines hold texts (P14)
        made: list[tuple[sqlite3.Connection, OpenFiles]] = []
        abandoned = threading.Event()

        def connect() -> sqlite3.Connection:
            with with_quota(path.parent):
                connection = connector()
            try:
                database.files = OpenFiles(path, name or path)
            except BaseException:
                connection.close()
                raise
            made.append((connection, database.files))
            if abandoned.is_set():
                _close_unwanted(made)
            return connection

        database = cls(connect, iter_chunk_size=64)
        work, thread = database._thread.run, database._thread
        thread.daemon = True  # in the embedded form the host's exit must not wait for it
        thread.run = partial(_run_quietly, work)  # type: ignore[method-assign]
        try:
            await database
        except asyncio.CancelledError:  # a disk may hang: then the thread closes the connection later
            abandoned.set()
            _close_unwanted(made)
            raise
        except BaseException:
            await asyncio.to_thread(thread.join)
            raise
        return database

    async def close(self) -> None:
        """Close the connection, then the descriptors of its files. If the files are lost, nothing is written to
        them."""
        self.files.before_close()
        await super().close()
        self.files.close()

    async def read(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(connection, ...)` on the database thread, and return its result."""
        done: T = await self._execute(  # type: ignore[no-untyped-call]
            self._looked_into, function, self._conn, *args, **kwargs
        )
        return done

    async def write(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function` as one transaction. Raise StoreUnavailable if the files are no longer those that were
        opened."""
        done: T = await self._execute(  # type: ignore[no-untyped-call]
            self._looked_into, self._transaction, function, *args, **kwargs
        )
        return done

    def glance(self, connection: sqlite3.Connection) -> int:
        """Check that the file is there and readable, by a page of each table. Return the number of changes made on this
        connection so far."""
        self.files.check(connection)
        connection.execute("PRAGMA shrink_memory")  # a cached page would hide a missing file
        for table in ("dream_meta", "dream_bootstrap_fragments", "dream_dialogs", "dream_turns"):
            connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()  # noqa: S608 - constants
        return connection.total_changes

    def _looked_into(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a function. If it fails because the files are lost or a quota is used up, raise that error instead."""
        try:
            with with_quota(self.files.folder):
                return function(*args, **kwargs)
        except (sqlite3.Error, OSError):
            with suppress(OSError):
                self.files.check(self._conn)
            raise

    def _transaction(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        self.files.check(self._conn)
        result = run_transaction(self._conn, function, *args, **kwargs)
        self.files.written()
        return result


def _close_unwanted(made: list[tuple[sqlite3.Connection, OpenFiles]]) -> None:
    """Close a connection that no caller waits for. Both threads may call this, and the first one closes it."""
    with suppress(IndexError):
        connection, files = made.pop()
        connection.close()
        files.close()


def _run_quietly(work: Callable[[], None]) -> None:
    """Run the thread of a connection to its end, even if the loop has ended and no caller waits for the answer."""
    with suppress(RuntimeError):
        work()


@contextmanager
def with_quota(folder: Path) -> Iterator[None]:
    """Raise OSError for an input/output error if a quota or a full disk caused it, which SQLite does not report."""
    try:
        yield
    except sqlite3.Error as error:
        if reason_for(error) == FAILING:
            _try_a_file(folder)
        raise


def _try_a_file(folder: Path) -> None:
    """Write a temporary file, and raise OSError if the disk has no room for it."""
    try:
        from tempfile import TemporaryFile

        with TemporaryFile(dir=folder, buffering=0) as file:
            os.pwrite(file.fileno(), bytes(PROBE_BYTES), 0)
            os.fsync(file.fileno())
    except OSError as error:
        if reason_for(error) == FULL:
            raise
