"""The front of the dream database: the calls that the daemon makes, and the health of the file."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dreamclient.messages import Code

from dreamd.clock import Clock
from dreamd.dream.fragment_records import Copy
from dreamd.dream.model import Line
from dreamd.dream.replay import Script
from dreamd.errors import Refusal, StoreError, StoreForeign, StoreTaken, StoreTooNew, StoreUnavailable
from dreamd.process.threads import Looker
from dreamd.store import checkpoints, reads, search, suspension, tidying, writes
from dreamd.store.file.connection import Database
from dreamd.store.file.files import BUSY_TIMEOUT_S, PARTS, set_aside
from dreamd.store.file.health import CLOSED, DAMAGED, LOST, READ_ONLY, UNREACHABLE, name_of, trouble_of
from dreamd.store.file.open_files import Stamp, size_of, stamp
from dreamd.store.file.transaction import OnConnection, P, T
from dreamd.store.opening import mark_suspect
from dreamd.store.places import Places
from dreamd.store.records import Charge, Finish, Memory, NewDialog, Observed, OpenDialog, StoredDialog

CLOSE_S = 5.0  # seconds that `close` waits for started calls, and for the last checkpoint
OnLost = Callable[[StoreError], None]


class Store:
    """The dream database. Open it with `Store.open` and close it, or use it as an async context manager.

    Every method may raise StoreUnavailable if the file cannot be used now. `trouble` is the reason then, as a word of
    file/health.py, until a write works again at a `probe`. StoreError is a mistake of the caller. Cancelling a caller
    never splits a transaction. If the database is lost, `on_lost` is called once with the reason, and nothing more is
    written.
    """

    def __init__(
        self,
        own: Path,
        *,
        clock: Clock,
        given: Path | None = None,
        diagnostics: bool = True,
        replayable: int = 256,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        lock: Callable[[Path], None] = lambda _: None,
        on_lost: OnLost = lambda _: None,
    ) -> None:
        self._places = Places(
            own, given, clock=clock, keep_texts=diagnostics, busy_timeout_s=busy_timeout_s, lock=lock
        )
        self.trouble: str | None = None
        self.notes = self._places.notes
        self._clock = clock
        self._keep_texts = diagnostics
        self._replayable = replayable
        self._untidied = True  # something was written since the last `tidy`, or by an earlier daemon
        self._on_lost = on_lost
        self._database: Database | None = None
        self._closed = False
        self._changes_seen = 0
        self._looked: tuple[Stamp | None, Stamp | None] | None = None
        self._looker = Looker("dreamd-files", lambda: (stamp(self._places.name), stamp(self._wal)))

    @classmethod
    async def open(cls, own: Path, **options: Any) -> Self:
        """Open or make the database: `own`, dreamd's place in the state folder, or `given`. If a file at another place
        than `own` is not known to be dreamd's, it is left alone, and the name of `own` beside it is used.

        Raise StoreTooNew, StoreForeign or StoreTaken with the file untouched. If it cannot be opened now (disk full,
        locked, ..), return the store with its `trouble`, which a later `probe` clears. `options`: those of the
        constructor. `lock`: as of opening.Opening.
        """
        store = cls(own, **options)
        with suppress(StoreUnavailable):  # reported as `trouble`
            await store._connect()
        return store

    async def close(self) -> None:
        """Finish what was started and close the file. Safe to call twice."""
        self._closed = True
        self._looker.close()
        await self._places.close()
        with suppress(TimeoutError):  # a disk that hangs: committed writes are in the log
            async with asyncio.timeout(CLOSE_S):
                if self._database is not None and self.trouble not in LOST:
                    with suppress(StoreError), self._noticing():
                        await self._database.read(self._database.glance)
                await self._disconnect()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.close()

    # The steps of a dialogue, in their order.

    async def begin(self, new: NewDialog) -> int:
        """Store a dialogue that starts, and return its id."""
        return await self._write(writes.begin, new)

    async def record(self, dialog_id: int, line: Line, at: float, *, charge: Charge | None = None) -> None:
        """Store a line, marked as sent to `observe`, and with the first line the charge. On return they are on disk
        (P2, P3)."""
        await self._write(writes.record, dialog_id, line, at, charge, self._keep_texts)

    async def observed(self, dialog_id: int, line: Line, how: Observed) -> None:
        """Store how `observe` was answered, and the new measures of the line."""
        await self._write(writes.observed, dialog_id, {line.turn: how}, [line])

    async def recalled(self, dialog_id: int, texts: Sequence[str]) -> None:
        """Store what the client recalled for a dialogue."""
        await self._write(writes.recalled, dialog_id, texts)

    async def finish(self, dialog_id: int, end: Finish) -> None:
        """Store the end of a dialogue and its change of the friend, in one transaction."""
        await self._write(writes.finish, dialog_id, end, self._keep_texts)

    async def keep_signals(self, signals: Mapping[str, bytes], at: float) -> None:
        """Store the signals among which the gates rank contexts, by client name."""
        await self._write(writes.keep_signals, signals, at)

    async def unwritten(self, but: Collection[int] = (), n: int = 100) -> list[StoredDialog]:
        """Return finished dialogues that have lines and no inbox file yet, by id, without those of `but`."""
        return await self._read(reads.unwritten, but, n)

    async def shard_written(self, dialog_id: int, at: float) -> None:
        """Note that the dialogue's inbox file is on disk. Without diagnostics also empty the dialogue's texts."""
        await self._write(writes.shard_written, dialog_id, at, self._keep_texts)

    async def open_dialogs(self) -> list[OpenDialog]:
        """Return the dialogues that have not ended, by id."""
        return await self._read(suspension.open_dialogs)

    async def suspend(self, dialog_id: int, interrupted_in: str) -> None:
        """Mark a dialogue as suspended."""
        await self._write(suspension.suspend, dialog_id, interrupted_in)

    async def resume(self, dialog_id: int, session: int) -> Script | None:
        """Mark a suspended dialogue as running, and return its record so far, None if that was not kept. Raise
        Unreadable."""
        return await self._write(suspension.resume, dialog_id, session)

    # The friend and the past.

    async def load(self) -> Memory:
        """Return the state that the engine keeps in memory."""
        return await self._read(reads.load)

    async def last_measures(self) -> list[tuple[float | None, ...]]:
        """Return arousal, overlap and trauma of the last lines, oldest first, None for an invalid measure."""
        return await self._read(reads.last_measures)

    async def seed(self, fragments: Sequence[str], at: float) -> int:
        """Store the origin at weight 1.0, and return its number of fragments, 0 if there is an origin already."""
        return await self._write(writes.seed, fragments, at) if fragments else 0

    async def keep(self, name: str, at: float, *, again: bool) -> dict[str, Any]:
        """Keep the friend as a checkpoint, and return {name, fragments: count, origin: count}. Raise Refusal."""
        return await self._write(checkpoints.keep, name, at, again)

    async def delete_checkpoint(self, name: str) -> None:
        """Delete a checkpoint. Raise Refusal if there is none of that name."""
        await self._write(checkpoints.delete, name)

    async def checkpoints(self, n: int) -> list[dict[str, Any]]:
        """Return {name, at, learned: count, origin: count} of the last n checkpoints, newest first."""
        return await self._read(checkpoints.latest, n)

    async def checkpoint(self, name: str) -> list[Copy]:
        """Return the friend as it was then. Raise Refusal if there is no checkpoint of that name."""
        return await self._read(checkpoints.content, name)

    async def replace_friend(self, copies: Sequence[Copy], at: float) -> tuple[Memory, dict[str, Any]]:
        """Replace the buffer by `copies`, and keep the old one as a checkpoint, in one transaction. Return the new
        state for the memory, and {kept, added, left, undo, origin_kept}. Raise Refusal."""
        return await self._write(checkpoints.replace_buffer, copies, at, self._keep_texts)

    async def recent(self, n: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return the last n dialogues (of those before a dialogue), newest first: {id, trace_id, started_at,
        finished_at, outcome, lines: count, client, avg_trauma, avg_arousal, drift, note, opening: the
        first words, None if they were not kept}."""
        return await self._read(reads.recent, n, before)

    async def get(self, dialog_id: int) -> dict[str, Any] | None:
        """Return a dialogue as in `recent`, with `turns`, a map for each line. None if there is no such dialogue."""
        return await self._read(reads.get, dialog_id)

    async def script(self, dialog_id: int) -> Script | None:
        """Return all that a replay needs, None if there is no such dialogue or it was not kept. Raise Unreadable."""
        return await self._read(reads.script, dialog_id)

    async def search(self, asked: str, n: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return the last n lines with each word that is asked for, as of search.find. Raise Refusal if no word is, or
        if texts are not kept."""
        if not self._keep_texts:
            raise Refusal(Code.NOT_FOUND, "not kept: store.diagnostics is false")
        return await self._read(search.find, asked, n, before)

    async def drift(self, n: int, before: int | None = None) -> list[dict[str, Any]]:
        """Return {id, at, drift} of the last n dialogues that spoke (before a dialogue), newest first."""
        return await self._read(reads.drift, n, before)

    async def stats(self) -> dict[str, Any]:
        """Return {dialogs, lines, fragments, origin_fragments, avg_trauma, avg_arousal, outcomes}."""
        return await self._read(reads.stats)

    # Health.

    def sizes(self) -> dict[str, int]:
        """Return the bytes of the database and of its write-ahead log."""
        return {"database_bytes": size_of(self.path), "wal_bytes": size_of(self._wal)}

    async def tidy(self) -> None:
        """Empty what is kept only for a time, a part in each transaction. Do nothing if nothing was written since."""
        while self._untidied and self.trouble is None and self._database is not None:
            self._untidied = False
            limits = self._replayable, self._keep_texts, self._clock.wall()
            try:
                with self._noticing():
                    done = await self._database.write(tidying.tidy, *limits)
            except StoreUnavailable:  # reported as `trouble`
                done = False
            self._untidied = self._untidied or not done

    async def probe(self) -> str | None:
        """Check the file, clear `trouble` if a write works again, and empty an idle log. Called by the tick. Return
        `trouble`."""
        if self.trouble not in LOST and not self._closed:
            try:
                await self._probe()
            except StoreUnavailable:  # reported as `trouble`
                pass
            except (StoreTooNew, StoreForeign, StoreTaken) as error:  # could not be opened earlier
                self._on_lost(error)
        return self.trouble

    async def _probe(self) -> None:
        before, self._looked = self._looked, await self._looker.ask()
        still, log = self._looked == before, self._looked and self._looked[1]
        log_bytes = log[2] if log else 0
        if self.trouble == READ_ONLY and self._database:  # an open connection stays read-only
            with self._noticing():
                await self._database.read(self._database.glance)
            await self._disconnect()
        database = self._database
        if database is None:
            return await self._connect()
        if still and not self.trouble and not log_bytes:
            return (
                None  # unchanged since the last good check: an idle daemon need not wake the database thread
            )
        with self._noticing():
            changes = await database.read(database.glance)
            if self.trouble:
                await database.write(writes.try_a_write)
                await database.write(writes.forget_the_write)
                self.trouble = None
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
        self.trouble = error.trouble
        if error.trouble == DAMAGED:
            mark_suspect(self.path)
        kept = ""
        if self._database is not None:
            self._database.files.lost = error.trouble
            with suppress(OSError):
                if self._database.files.has_old_log:
                    kept = f"; its log is kept as {set_aside(self.path, 'replaced', self._clock.wall(), PARTS[1:])}-wal"
        self._on_lost(StoreUnavailable(error.trouble, f"{error.trouble} ({self.path}){kept}"))

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
        if self.trouble in LOST:
            raise StoreUnavailable(self.trouble, f"nothing is written: {self.trouble}")
        with self._noticing():
            result = await database.write(function, *args, **kwargs)
        self.trouble, self._untidied = None, True
        return result

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        """Keep an error as `trouble`, and turn errors of SQLite into dreamd's, which name codes and no contents."""
        try:
            yield
        except StoreUnavailable as error:
            raise self._hold(error) from None
        except (sqlite3.Error, OSError) as error:
            trouble = self._trouble_of(error)
            if trouble is None:
                raise StoreError(f"the dream database refused: {name_of(error)}") from None
            text = f"the dream database: {trouble} ({name_of(error)})"
            raise self._hold(StoreUnavailable(trouble, text)) from None

    def _hold(self, error: StoreUnavailable) -> StoreUnavailable:
        lost = self.trouble in LOST
        if not lost:
            self.trouble = error.trouble
        if error.trouble in LOST and not lost:
            self._lose(error)
        return error

    def _trouble_of(self, error: sqlite3.Error | OSError) -> str | None:
        trouble = trouble_of(error)
        if trouble == UNREACHABLE and self.path.parent.exists() and not os.access(self.path.parent, os.W_OK):
            return READ_ONLY  # SQLite writes beside the database even to read it
        return trouble
