"""The dream database as a file that is watched: opening and closing it, its health, and running calls on it."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dreamd.clock import Clock
from dreamd.errors import StoreError, StoreForeign, StoreTaken, StoreTooNew, StoreUnavailable
from dreamd.process.threads import Looker
from dreamd.store import forgetting, tidying, writes
from dreamd.store.file.connection import Database
from dreamd.store.file.files import BUSY_TIMEOUT_S, PARTS, set_aside
from dreamd.store.file.health import CLOSED, DAMAGED, LOST, READ_ONLY, UNREACHABLE, name_of, reason_for
from dreamd.store.file.late_calls import OneByOne, answer_within
from dreamd.store.file.open_files import Stamp, file_stamp, size_of
from dreamd.store.file.transaction import OnConnection, P, T
from dreamd.store.opening import mark_suspect
from dreamd.store.places import OPEN_S, Places

START_S = OPEN_S + 0.25  # seconds that a start waits for the opening and a first write
CLOSE_S = 5.0  # seconds that `close` waits for started calls, and for the last checkpoint
OnLost = Callable[[StoreError], None]


class WatchedDatabase:
    """A database that may be unusable for a time. `unavailable_reason` is then a word of file/health.py, until a
    `probe` can write again. If the database is lost, `on_lost` is called once, and nothing more is written."""

    def __init__(
        self,
        own: Path,
        *,
        clock: Clock,
        given: Path | None = None,
        diagnostics: bool = True,
        replayable: int = 256,
        undoable: int = 1000,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        lock: Callable[[Path], None] = lambda _: None,
        on_lost: OnLost = lambda _: None,
    ) -> None:
        self._places = Places(
            own, given, clock=clock, keep_texts=diagnostics, busy_timeout_s=busy_timeout_s, lock=lock
        )
        self.unavailable_reason: str | None = None
        self.notes = self._places.notes
        self._clock = clock
        self._keep_texts = diagnostics
        self._replayable = replayable
        self._undoable = undoable
        self._untidied = True  # something was written since the last `tidy`, or by an earlier daemon
        self._unscrubbed = True  # something was forgotten since the last `scrub`, maybe by an earlier daemon
        self._on_lost = on_lost
        self._database: Database | None = None
        self._reading, self._searching = OneByOne(), OneByOne()  # calls of clients
        self._closed = False
        self._changes_seen = 0
        self._looked: tuple[Stamp | None, Stamp | None] | None = None
        self._looker = Looker("dreamd-files", lambda: (file_stamp(self._places.name), file_stamp(self._wal)))

    @classmethod
    async def open(cls, own: Path, **options: Any) -> Self:
        """Open or make the database: `own`, dreamd's place in the state folder, or `given`. If a file at another place
        than `own` is not known to be dreamd's, it is left alone, and the name of `own` beside it is used.

        Raise StoreTooNew, StoreForeign or StoreTaken with the file untouched. If it cannot be opened now (disk full,
        locked, ..), return the store with its `unavailable_reason`, which a later `probe` clears. `options`: those of
        the constructor. `lock`: as of opening.Opening.
        """
        store = cls(own, **options)
        try:
            await answer_within(store._connect(), START_S)
        except StoreUnavailable as error:
            store.unavailable_reason = error.reason
        return store

    async def close(self) -> None:
        """Finish the started calls and close the file. Safe to call twice."""
        self._closed = True
        self._looker.close()
        await self._places.close()
        with suppress(TimeoutError):  # a disk that hangs: committed writes are in the log
            async with asyncio.timeout(CLOSE_S):
                if self._database is not None and self.unavailable_reason not in LOST:
                    with suppress(StoreError), self._noticing():
                        await self._database.read(self._database.glance)
                await self._disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    def sizes(self) -> dict[str, int]:
        """Return the bytes of the database and of its write-ahead log."""
        return {"database_bytes": size_of(self.path), "wal_bytes": size_of(self._wal)}

    async def tidy(self) -> None:
        """Empty what is kept only for a time, a part in each transaction. Do nothing if nothing was written since."""
        while self._untidied and self.unavailable_reason is None and self._database is not None:
            self._untidied = False
            limits = self._replayable, self._undoable, self._keep_texts, self._clock.wall()
            try:
                with self._noticing():
                    done = await self._database.write(tidying.tidy_part, *limits)
            except StoreUnavailable:  # reported as `unavailable_reason`
                done = False
            self._untidied = self._untidied or not done
        if self._unscrubbed and not self._untidied and self._database is not None:
            with suppress(StoreUnavailable):  # reported as `unavailable_reason`
                await self.scrub()

    async def scrub(self) -> bool:
        """Rewrite the file and empty its log if something was forgotten. Return whether no byte of it can be left."""
        database = self._ready()
        self._unscrubbed = False  # before, so that what is forgotten meanwhile stays noted
        empty = False
        try:
            with self._noticing():
                empty = await database.read(forgetting.scrub)
                database.files.written()
        finally:
            self._unscrubbed = self._unscrubbed or not empty
        return empty

    async def probe(self) -> str | None:
        """Check the file, clear `unavailable_reason` if a write works again, and empty an idle log. Called by the tick.
        Return `unavailable_reason`."""
        if self.unavailable_reason not in LOST and not self._closed:
            try:
                await self._probe()
            except StoreUnavailable:  # reported as `unavailable_reason`
                pass
            except (StoreTooNew, StoreForeign, StoreTaken) as error:  # could not be opened earlier
                self._on_lost(error)
        return self.unavailable_reason

    async def _probe(self) -> None:
        before, self._looked = self._looked, await self._looker.ask()
        still, log = self._looked == before, self._looked and self._looked[1]
        log_bytes = log[2] if log else 0
        if self.unavailable_reason == READ_ONLY and self._database:  # an open connection stays read-only
            with self._noticing():
                await self._database.read(self._database.glance)
            await self._disconnect()
        database = self._database
        if database is None:
            return await self._connect()
        if still and not self.unavailable_reason and not log_bytes:
            # Unchanged since the last good check: an idle daemon need not wake the database thread.
            return None
        with self._noticing():
            changes = await database.read(database.glance)
            if self.unavailable_reason:
                await database.write(writes.try_a_write)
                await database.write(writes.forget_the_write)
                self.unavailable_reason = None
            elif changes == self._changes_seen and log_bytes:
                await database.read(writes.truncate_wal)
                database.files.written()
            self._changes_seen = changes
        return None

    @property
    def path(self) -> Path:
        """The path of the database, with links resolved."""
        return self._places.path

    @property
    def _wal(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def _lose(self, error: StoreUnavailable) -> None:
        """Stop all writes and report the loss. If another database lies in its place, set the old log beside it aside:
        SQLite would apply it to the new database."""
        self.unavailable_reason = error.reason
        if error.reason == DAMAGED:
            mark_suspect(self.path)
        kept = ""
        if self._database is not None:
            self._database.files.lost = error.reason
            with suppress(OSError):
                if self._database.files.has_old_log:
                    kept = f"; its log is kept as {set_aside(self.path, 'replaced', self._clock.wall(), PARTS[1:])}-wal"
        self._on_lost(StoreUnavailable(error.reason, f"{error.reason} ({self.path}){kept}"))

    async def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database:
            await database.close()

    async def _connect(self) -> None:
        if self._closed:
            raise StoreUnavailable(CLOSED, "the store is closed")
        with self._noticing():
            self._database = await self._places.open()
            await self._database.write(writes.forget_the_write)
        self.unavailable_reason = None

    def _ready(self) -> Database:
        if self._database is None:
            reason = CLOSED if self._closed else self.unavailable_reason or CLOSED
            raise StoreUnavailable(reason, f"the dream database is not open: {reason}")
        return self._database

    async def _read(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        database = self._ready()
        with self._noticing():
            return await database.read(function, *args, **kwargs)

    async def _write(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        database = self._ready()
        if self.unavailable_reason in LOST:
            raise StoreUnavailable(self.unavailable_reason, f"nothing is written: {self.unavailable_reason}")
        with self._noticing():
            result = await database.write(function, *args, **kwargs)
        self.unavailable_reason, self._untidied = None, True
        return result

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Keep an error as `unavailable_reason`, and turn errors of SQLite into dreamd's, which name codes and no
        contents."""
        try:
            yield
        except StoreUnavailable as error:
            raise self._hold(error) from None
        except (sqlite3.Error, OSError) as error:
            reason = self._reason_for(error)
            if reason is None:
                raise StoreError(f"the dream database refused: {name_of(error)}") from None
            text = f"the dream database: {reason} ({name_of(error)})"
            raise self._hold(StoreUnavailable(reason, text)) from None

    def _hold(self, error: StoreUnavailable) -> StoreUnavailable:
        lost = self.unavailable_reason in LOST
        if not lost:
            self.unavailable_reason = error.reason
        if error.reason in LOST and not lost:
            self._lose(error)
        return error

    def _reason_for(self, error: sqlite3.Error | OSError) -> str | None:
        reason = reason_for(error)
        if reason == UNREACHABLE and self.path.parent.exists() and not os.access(self.path.parent, os.W_OK):
            return READ_ONLY  # SQLite writes beside the database even to read it
        return reason
