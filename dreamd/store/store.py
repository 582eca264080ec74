"""The front of the dream database: what the daemon asks for, and how healthy the file is."""

import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from dreamd.clock import Clock
from dreamd.dream.copies import Copy
from dreamd.dream.replay import Script
from dreamd.dream.shapes import Line
from dreamd.errors import StoreError, StoreForeign, StoreTooNew, StoreUnavailable
from dreamd.store import checkpoints, reading, transactions
from dreamd.store.connection import Database, OnConnection
from dreamd.store.file import BUSY_TIMEOUT_S, PARTS, back_up, set_aside
from dreamd.store.opening import mark_suspect, open_file
from dreamd.store.rows import Charge, Finish, Memory, NewDialog, Observed, StoredDialog
from dreamd.store.trouble import (
    CLOSED,
    DAMAGED,
    READ_ONLY,
    REOPEN,
    REPLACED,
    STICKY,
    UNREACHABLE,
    identity_of,
    moved,
    name_of,
    trouble_of,
)

P = ParamSpec("P")
T = TypeVar("T")
Stamp = tuple[int, int, int, int]


class Store:
    """The dream database. Open it with `Store.open`, close it, or use it as an async context manager.

    Every method may raise StoreUnavailable: the file cannot take it now, `trouble` says why in a word of
    trouble.TROUBLES, and `probe` clears it when a write works again. StoreError is a mistake of the caller.
    Cancelling a caller never splits what it started.
    """

    def __init__(
        self, path: Path, *, clock: Clock, diagnostics: bool = True, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        self.path = path.resolve()
        self.trouble: str | None = None
        self.notes: list[str] = []  # what opening had to do: set aside, migrated
        self.opened = 0  # how often
        self._clock = clock
        self._keep_texts = diagnostics
        self._busy_timeout_s = busy_timeout_s
        self._database: Database | None = None
        self._closed = False
        self._changes_seen = 0
        self._looked: tuple[Stamp | None, Stamp | None] | None = None

    @classmethod
    async def open(
        cls, path: Path, *, clock: Clock, diagnostics: bool = True, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> Self:
        """Open or make the database.

        Raises StoreTooNew and StoreForeign, the file untouched. Where it cannot be opened now (disk full,
        locked, ..), the store comes back with its `trouble`; once `probe` has cleared that, `load` works.
        """
        store = cls(path, clock=clock, diagnostics=diagnostics, busy_timeout_s=busy_timeout_s)
        with suppress(StoreUnavailable):  # told as `trouble`
            await store._connect()
        return store

    async def close(self) -> None:
        """Finish what was started and let go of the file. Safe to call twice."""
        self._closed = True
        with suppress(OSError):
            self._set_log_aside()
        await self._disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    # A dialogue, in the order of its life.

    async def begin(self, new: NewDialog) -> int:
        """Returns the dialogue's id."""
        return await self._write(transactions.begin, new)

    async def record(self, dialog_id: int, line: Line, at: float, *, charge: Charge | None = None) -> None:
        """P2, P3: on return the line is on disk, with its mark "sent to observe"; and the charge, with the first."""
        await self._write(transactions.record, dialog_id, line, at, charge)

    async def observed(self, dialog_id: int, line: Line, how: Observed) -> None:
        """Store how `observe` was answered, and the measures that the line has from there on."""
        await self._write(transactions.observed, dialog_id, {line.turn: how}, [line])

    async def recalled(self, dialog_id: int, texts: Sequence[str]) -> None:
        """Store what the client recalled for a dialogue."""
        await self._write(transactions.recalled, dialog_id, texts)

    async def finish(self, dialog_id: int, end: Finish) -> None:
        """The end of a dialogue and what it changed in the friend, together or not at all."""
        await self._write(transactions.finish, dialog_id, end, self._keep_texts)

    async def unwritten(self, but: Collection[int] = (), n: int = 100) -> list[StoredDialog]:
        """Return finished dialogues that have lines and no inbox file yet, by id, but for those of `but`."""
        return await self._read(reading.unwritten, but, n)

    async def shard_written(self, dialog_id: int, at: float) -> None:
        """The inbox file is on disk. Without diagnostics the dialogue's texts are emptied with this."""
        await self._write(transactions.shard_written, dialog_id, at, self._keep_texts)

    async def close_interrupted(self, at: float, running: Collection[int] = ()) -> int:
        """Close what a crash, or a failed `finish`, left open, but for those `running`. Returns how many."""
        return await self._write(transactions.close_interrupted, at, running, self._keep_texts)

    # The friend and the past.

    async def load(self) -> Memory:
        """What the engine keeps in memory."""
        return await self._read(reading.load)

    async def seed(self, fragments: Sequence[str], at: float) -> int:
        """The origin, at weight 1.0. Returns how many were stored: 0 if there is an origin already."""
        return await self._write(transactions.seed, fragments, at) if fragments else 0

    async def keep(self, name: str, at: float, *, again: bool) -> dict[str, Any]:
        """Keep the friend as a checkpoint; return {name, fragments: count, origin: count}. Raise Refusal."""
        return await self._write(checkpoints.keep, name, at, again)

    async def delete_checkpoint(self, name: str) -> bool:
        """Delete a checkpoint; return whether there was one of that name."""
        return await self._write(checkpoints.delete, name)

    async def checkpoints(self, n: int) -> list[dict[str, Any]]:
        """Return {name, at, learned: count, origin: count} of the last n checkpoints, newest first."""
        return await self._read(checkpoints.latest, n)

    async def checkpoint(self, name: str) -> list[Copy] | None:
        """Return the friend as it was then; None if there is no checkpoint of that name."""
        return await self._read(checkpoints.content, name)

    async def replace_friend(self, copies: Sequence[Copy], at: float) -> tuple[Memory, dict[str, Any]]:
        """Put `copies` in the buffer's place, and keep what was there as a checkpoint, in one transaction. Return what
        is to be kept in memory now, and {kept, added, left, undo, origin_kept}. Raise Refusal."""
        return await self._write(checkpoints.replace_buffer, copies, at)

    async def recent(self, n: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return the last n dialogues (of those before a dialogue), newest first: {id, trace_id, started_at,
        finished_at, outcome, lines: count, client, avg_trauma, avg_arousal, drift, note}."""
        return await self._read(reading.recent, n, before)

    async def get(self, dialog_id: int) -> dict[str, Any] | None:
        """One of `recent` with `turns`, a map a line; None where there is no such dialogue."""
        return await self._read(reading.get, dialog_id)

    async def script(self, dialog_id: int) -> Script | None:
        """What `replay` needs; None where there is no such dialogue, or it was not kept. Raises Unreadable."""
        return await self._read(reading.script, dialog_id)

    async def drift(self, n: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return {id, at, drift} of the last n dialogues that spoke (before a dialogue), newest first."""
        return await self._read(reading.drift, n, before)

    async def stats(self) -> dict[str, Any]:
        """{dialogs, lines, fragments, origin_fragments, avg_trauma, avg_arousal, outcomes}."""
        return await self._read(reading.stats)

    async def backup(self, target: Path) -> None:
        """A copy in one file, which must not exist yet. Other calls wait meanwhile."""
        try:
            await self._ready().read(back_up, target)
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"no backup was made: {name_of(error)}") from None

    # Health.

    def sizes(self) -> dict[str, int]:
        """Bytes of the database and of its write-ahead log."""
        return {"database_bytes": _bytes(self.path), "wal_bytes": _bytes(self._wal)}

    async def probe(self) -> str | None:
        """The daemon's regular look: notices and clears trouble, empties an idle log. Returns `trouble`.

        What is damaged, read-only or has been replaced is opened anew; `opened` counts that, and whoever keeps
        something of the database in memory has to `load` it again.
        """
        with suppress(StoreUnavailable, StoreTooNew, StoreForeign):  # told as `trouble`
            await self._probe()
        return self.trouble

    async def _probe(self) -> None:
        still = self._still()
        if self.trouble in REOPEN and (still or self.trouble != REPLACED):
            with self._noticing():
                self._set_log_aside()
                await self._disconnect()
        database = self._database
        if database is None:
            return await self._connect()
        if still and not self.trouble and not _bytes(self._wal):
            return None  # nobody has touched it since it was found well: idle wakes not even its thread
        with self._noticing():
            changes = await database.read(database.glance)
            if self.trouble:
                await database.write(transactions.try_a_write)
                await database.write(transactions.forget_the_write)
                self.trouble = None
            elif changes == self._changes_seen and _bytes(self._wal):
                await database.read(transactions.truncate_wal)
                database.check_identity()  # it has grown by what was in the log
            self._changes_seen = changes
        return None

    @property
    def _wal(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")

    def _still(self) -> bool:
        """Whether the files are as at the last look: nobody is in the midst of copying others into their place."""
        before, self._looked = self._looked, (_stamp(self.path), _stamp(self._wal))
        return self._looked == before

    def _set_log_aside(self) -> None:
        """Before closing. Where another file has taken the database's place, the log beside it is still that of
        the old one, and SQLite would play it into the new one."""
        old = self._database
        if (
            old
            and moved(self.path, old.identity) == REPLACED
            and old.log
            and identity_of(self._wal) == old.log
        ):
            aside = set_aside(self.path, "replaced", self._clock.wall(), PARTS[1:])
            self.notes.append(
                f"the database was replaced: the log of the old one is kept as {aside.name}-wal"
            )

    async def _disconnect(self) -> None:
        database, self._database = self._database, None
        if database:
            await database.close()

    async def _connect(self) -> None:
        if self._closed:
            raise StoreUnavailable(CLOSED, "the store is closed")
        connector = partial(
            open_file,
            self.path,
            at=self._clock.wall(),
            keep_texts=self._keep_texts,
            busy_timeout_s=self._busy_timeout_s,
            notes=self.notes,
        )
        with self._noticing():
            self._database = await Database.open(self.path, connector)
            self.opened += 1
            await self._database.write(transactions.forget_the_write)
        self.trouble = None

    def _ready(self) -> Database:
        if self._database is None:
            trouble = CLOSED if self._closed else self.trouble or CLOSED
            raise StoreUnavailable(trouble, f"the dream database is not open: {trouble}")
        return self._database

    async def _read(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        database = self._ready()
        with self._noticing():
            return await database.read(function, *args, **kwargs)

    async def _write(self, function: "OnConnection[P, T]", *args: P.args, **kwargs: P.kwargs) -> T:
        database = self._ready()
        if self.trouble in STICKY:
            raise StoreUnavailable(self.trouble, f"nothing is written: {self.trouble}")
        with self._noticing():
            result = await database.write(function, *args, **kwargs)
        self.trouble = None
        return result

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Hold what is wrong as `trouble`; turn SQLite's errors into ours, which name codes, not contents."""
        try:
            yield
        except StoreUnavailable as error:
            self.trouble = error.trouble
            if error.trouble == DAMAGED:
                mark_suspect(self.path)
            raise
        except (StoreTooNew, StoreForeign) as error:
            self.trouble = trouble_of(error)
            raise
        except (sqlite3.Error, OSError) as error:
            trouble = self._trouble_of(error)
            if trouble is None:
                raise StoreError(f"the dream database refused: {name_of(error)}") from None
            self.trouble = trouble
            raise StoreUnavailable(trouble, f"the dream database: {trouble} ({name_of(error)})") from None

    def _trouble_of(self, error: sqlite3.Error | OSError) -> str | None:
        trouble = trouble_of(error)
        if trouble and self._database and (gone := moved(self.path, self._database.identity)):
            return gone  # whatever else it looks like
        if trouble == UNREACHABLE and self.path.parent.exists() and not os.access(self.path.parent, os.W_OK):
            return READ_ONLY  # SQLite needs to write beside the database, even to read
        if trouble == DAMAGED:
            mark_suspect(self.path)
        return trouble


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _bytes(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
