"""One connection on a thread of its own, that runs whole functions.

aiosqlite has no public way to run a function on its thread, and statement by statement a cancelled task
would leave half a transaction open. This leans on `_execute`, `_conn` and `_thread` of aiosqlite 0.22 (pinned
below 0.23; a contract test says when that changes).
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import aiosqlite

from dreamd.store.file.health import with_quota
from dreamd.store.file.open_files import FilesOpen
from dreamd.store.file.transaction import OnConnection, P, T, transaction


class Database(aiosqlite.Connection):
    """Use `open`, then `read` and `write`; what they start runs to its end, whatever task is cancelled."""

    files: FilesOpen

    @classmethod
    async def open(
        cls, path: Path, connector: Callable[[], sqlite3.Connection], name: Path | None = None
    ) -> Self:
        """Run `connector` on the new thread; it opens `path`, asked for by `name`, which may be a link. What it raises
        is raised here, when the thread is gone."""
        logging.getLogger("aiosqlite").setLevel(logging.WARNING)  # its debug lines hold texts (P14)
        made: list[tuple[sqlite3.Connection, FilesOpen]] = []
        abandoned = threading.Event()

        def connect() -> sqlite3.Connection:
            with with_quota(path.parent):
                connection = connector()
            try:
                database.files = FilesOpen(path, name or path)
            except BaseException:
                connection.close()
                raise
            made.append((connection, database.files))
            if abandoned.is_set():
                _close(made)
            return connection

        database = cls(connect, iter_chunk_size=64)
        work, thread = database._thread.run, database._thread
        thread.daemon = True  # embedded, it must not keep the exit of its host waiting
        thread.run = partial(_quietly, work)  # type: ignore[method-assign]
        try:
            await database
        except asyncio.CancelledError:  # a disk may hang: the thread closes what it opens when it can
            abandoned.set()
            _close(made)
            raise
        except BaseException:
            await asyncio.to_thread(thread.join)
            raise
        return database

    async def close(self) -> None:
        """Close the connection, then its files. Nothing is written if they are lost."""
        self.files.before_close()
        await super().close()
        self.files.close()

    async def read(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `function(connection, ...)`, run on the database thread."""
        done: T = await self._execute(  # type: ignore[no-untyped-call]
            self._looked_into, function, self._conn, *args, **kwargs
        )
        return done

    async def write(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it as one transaction, unless the files are no longer those that were opened: StoreUnavailable."""
        done: T = await self._execute(  # type: ignore[no-untyped-call]
            self._looked_into, self._transaction, function, *args, **kwargs
        )
        return done

    def glance(self, connection: sqlite3.Connection) -> int:
        """Look whether the file is there and answers, a page of each table. Return the changes made on this
        connection so far."""
        self.files.check(connection)
        connection.execute("PRAGMA shrink_memory")  # what is cached says nothing of the file
        for table in ("dream_meta", "dream_bootstrap_fragments", "dream_dialogs", "dream_turns"):
            connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()  # noqa: S608 - constants
        return connection.total_changes

    def _looked_into(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Run a function; if it fails as the files are lost or a quota is used up, say that instead."""
        try:
            with with_quota(self.files.folder):
                return function(*args, **kwargs)
        except (sqlite3.Error, OSError):
            with suppress(OSError):
                self.files.check(self._conn)
            raise

    def _transaction(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        self.files.check(self._conn)
        result = transaction(self._conn, function, *args, **kwargs)
        self.files.written()
        return result


def _close(made: list[tuple[sqlite3.Connection, FilesOpen]]) -> None:
    """Close what was opened for no caller, once: either thread may come first."""
    with suppress(IndexError):
        connection, files = made.pop()
        connection.close()
        files.close()


def _quietly(work: Callable[[], None]) -> None:
    """Run the thread of a connection to its end. If the loop has ended before, no caller waits for its answer."""
    with suppress(RuntimeError):
        work()
