"""One connection on a thread of its own, that runs whole functions.

aiosqlite has no public way to run a function on its thread, and statement by statement a cancelled task
would leave half a transaction open. This leans on `_execute`, `_conn` and `_thread` of aiosqlite 0.22 (pinned
below 0.23; a contract test says when that changes).
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import aiosqlite

from dreamd.errors import StoreUnavailable
from dreamd.store.trouble import DAMAGED, Identity, identity_of, moved

P = ParamSpec("P")
T = TypeVar("T")
OnConnection = Callable[Concatenate[sqlite3.Connection, P], T]


class Database(aiosqlite.Connection):
    """Use `open`, then `read` and `write`; what they start runs to its end, whoever is cancelled."""

    path: Path
    identity: Identity
    size: int  # bytes; it only grows
    log: Identity | None  # of the -wal, which stays the same file while it is open

    @classmethod
    async def open(cls, path: Path, connector: Callable[[], sqlite3.Connection]) -> Self:
        """Run `connector` on the new thread. What it raises is raised here, when the thread is gone."""
        logging.getLogger("aiosqlite").setLevel(logging.WARNING)  # its debug lines hold texts (P14)
        made: list[sqlite3.Connection] = []

        def connect() -> sqlite3.Connection:
            made.append(connector())
            return made[0]

        database = cls(connect, iter_chunk_size=64)
        database._thread.daemon = True  # embedded, it must not keep the exit of its host waiting
        try:
            await database
        except BaseException:
            await asyncio.to_thread(database._thread.join)
            for connection in made:  # cancelled in between: nobody got it
                connection.close()
            raise
        found = identity_of(path)
        database.path, database.identity, database.size = path, found or (0, 0), 0
        database.log = identity_of(path.with_name(f"{path.name}-wal"))
        return database

    async def read(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        """`function(connection, ...)` on the database thread."""
        done: T = await self._execute(  # type: ignore[no-untyped-call]
            function, self._conn, *args, **kwargs
        )
        return done

    async def write(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        """The same as one transaction, unless the file is no longer there: StoreUnavailable."""
        done: T = await self._execute(  # type: ignore[no-untyped-call]
            self._transaction, function, *args, **kwargs
        )
        return done

    def glance(self, connection: sqlite3.Connection) -> int:
        """Look whether the file is there and answers, a page of each table. Returns the changes made on this
        connection so far."""
        self.check_identity()
        connection.execute("PRAGMA shrink_memory")  # what is cached says nothing of the file
        for table in ("dream_meta", "dream_bootstrap_fragments", "dream_dialogs", "dream_turns"):
            connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()  # noqa: S608 - constants
        return connection.total_changes

    def _transaction(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        self.check_identity()
        return transaction(self._conn, function, *args, **kwargs)

    def check_identity(self) -> None:
        """Raise StoreUnavailable where the path no longer leads to the file that is open, or that was cut short:
        what the log has of it is still read, so that nothing else may tell before the log is gone."""
        if trouble := moved(self.path, self.identity):
            raise StoreUnavailable(trouble, f"{trouble} while it was open")
        size = self.path.stat().st_size
        if size < self.size:
            raise StoreUnavailable(DAMAGED, "cut short while it was open")
        self.size = size


def transaction(
    connection: sqlite3.Connection, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs
) -> T:
    """All that `function` writes, or nothing. The connection must be in autocommit mode."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = function(connection, *args, **kwargs)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself rolls back on a full disk
            connection.execute("ROLLBACK")
        raise
    return result
