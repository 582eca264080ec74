"""Use for a database that fails and recovers: another connection holds its write lock."""

import sqlite3
from contextlib import suppress
from pathlib import Path

from dreamd.errors import StoreUnavailable
from dreamd.store.store import Store
from dreamd.store.writes import forget_the_write


async def impatient(store: Store) -> None:
    """Have the store wait for no lock: it is in trouble at its first write."""
    assert store._database
    await store._database.read(lambda connection: connection.execute("PRAGMA busy_timeout = 0").fetchall())


class Locked:
    """The write lock of the database in this folder, held from `begin` to `end`, or while the block runs."""

    def __init__(self, folder: Path) -> None:
        self._other = sqlite3.connect(folder / "dream.sqlite3", isolation_level=None, timeout=20)

    def begin(self) -> None:
        """Take the lock."""
        self._other.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        """Release it, if it is held."""
        if self._other.in_transaction:
            self._other.execute("ROLLBACK")
        self._other.close()


class Trouble:
    """A store that is `locked`, and knows it, while the block runs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = Locked(store.path.parent)

    async def __aenter__(self) -> None:
        await impatient(self._store)
        self._lock.begin()
        with suppress(StoreUnavailable):
            await self._store._write(forget_the_write)
        assert self._store.unavailable_reason == "locked"

    async def __aexit__(self, *_: object) -> None:
        self._lock.end()
        assert await self._store.probe() is None
