"""Delivering dialogues from the store to the inbox: every one that spoke leaves one file (P5).

A file is always made from the rows of the store, which knows the dialogues without a file. So a dialogue that has just
ended and one that a crash interrupted are delivered in one way.
"""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import Any, TypeVar

from msgspec import Struct, field

from dreamd.clock import Clock
from dreamd.engine.events import Events
from dreamd.engine.pending import Pause
from dreamd.failures import Failures
from dreamd.inbox import Inbox, InboxBusy, InboxError, InboxUnavailable, ValidationError, dream_document
from dreamd.inbox.folder.files import Files
from dreamd.inbox.inbox import MORE_DROPPED
from dreamd.process.threads import Looker, OneThread
from dreamd.store.file.late_calls import OneByOne
from dreamd.store.records import StoredDialog
from dreamd.store.store import Store

TIDY_S = 3600.0
LOOK_S = 0.5  # a check of the inbox usually takes microseconds

T = TypeVar("T")


class StoppableFiles(Files):
    """The inbox's file calls. Waiting for the lock, which may take long, ends when the daemon stops."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End all waiting for the lock."""
        self._stopping.set()

    def pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise InboxBusy(errno.ECANCELED, "the daemon stops")


# Errors that concern the whole inbox, not one file.
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})


class Parked(Struct):
    """A dialogue whose file could not be written although others can. It is tried again after its pause."""

    trace_id: str
    failure: str = ""
    pause: Pause = field(default_factory=Pause)


class Delivery:
    """The delivery of files, one at a time."""

    def __init__(self, store: Store, inbox: Inbox, clock: Clock, failures: Failures, events: Events) -> None:
        self.inbox = inbox
        # Why the last file could not be written, if it concerns the whole inbox.
        self._failed: str | None = None
        self.unwritable_reason: str | None = None  # why no file could be written now, as the last check found
        self._parked: dict[int, Parked] = {}  # by dialogue
        self._store = store
        self._clock = clock
        self._failures = failures
        self._events = events
        self.dropped = 0  # files, since the beginning: removed to make room
        self._uncounted = 0  # of these, those that the store has not counted yet
        self._room = 0  # for so many more files, the oldest of our own need not be looked at
        self._delivering = asyncio.Lock()
        self._tidy_again = -inf  # monotonic s
        # fsync blocks, so the inbox has a thread of its own, as the database has. Another one only reads.
        self._thread = OneThread("dreamd-inbox")
        self._for_clients = OneByOne()
        self._reader = OneThread("dreamd-inbox-read")
        self._looker = Looker("dreamd-inbox-look", self._check)

    @property
    def undelivered_reason(self) -> str | None:
        """The reason for which a file could not be delivered, or none could be now, or None."""
        parked = next(iter(self._parked.values()), None)
        return self._failed or self.unwritable_reason or (parked.failure if parked else None)

    @property
    def due(self) -> bool:
        """True if there is work now without the end of a dialogue: tidying, or a parked file whose pause is over."""
        now_s = self._clock.monotonic()
        tidy = self.inbox.settings.enabled and now_s >= self._tidy_again
        return tidy or any(parked.pause.over(now_s) for parked in self._parked.values())

    async def deliver(self) -> bool:
        """Write the inbox file of every finished dialogue that lacks one. Return False if the inbox could not take it.
        If only one file is in trouble, park its dialogue and go on with the others. Raise StoreUnavailable."""
        async with self._delivering:
            written = 0
            while dialogs := await self._store.unwritten(self._resting()):
                for dialog in dialogs:
                    if not await self._deliver(dialog):
                        return False
                    written += 1
            self._failed = None
        self._room -= written
        if self._room < 0:
            await self._drop_oldest()
        return True

    @asynccontextmanager
    async def paused(self, dialogs: Iterable[int]) -> AsyncIterator[None]:
        """Write no file in the block. These dialogues are to have none afterwards."""
        async with self._delivering:
            yield
            for dialog in dialogs:
                self._parked.pop(dialog, None)

    async def _drop_oldest(self) -> None:
        """Remove the oldest files of our own beyond `inbox.keep`, and count them. After that look at them again only
        when there may be too many, since that takes long with many files."""
        keep = self.inbox.settings.keep
        if not keep:
            return
        try:
            waiting = [each["trace_id"] for each in await self.on_thread(self.inbox.list)]
            own = await self._store.shards_of(waiting) if len(waiting) > keep else {}
            excess, dropped = len(own or waiting) - keep, 0
            if own and excess > 0:
                dropped = len(await self.on_thread(self.inbox.drop_oldest, own, waiting))
                self.dropped += dropped
                self._uncounted += dropped
            if self._uncounted:
                await self._store.count_dropped(self._uncounted)
                self._uncounted = 0
            # If none was dropped, a consumer reads them, or others wrote to them.
            more = 0 if dropped else keep // MORE_DROPPED
            self._room = max(dropped - excess, more if excess > 0 else 0)
        except InboxError as error:
            self._failures.count("inbox", type(error).__name__, place="keep")

    async def look(self) -> None:
        """Check whether a file could be written, and set `unwritable_reason`, before there is a file to write."""
        if not self.inbox.settings.enabled:
            return
        try:
            answered = await self._looker.ask(LOOK_S)
        except InboxError as error:
            self.unwritable_reason = type(error).__name__
        else:
            self.unwritable_reason = None if answered else InboxUnavailable.__name__

    async def tidy(self) -> None:
        """Remove temporary files of killed writers and files that were acknowledged long ago. Done once an hour, or
        more often if the retention is shorter. The acknowledged files of parked dialogues stay, because only they show
        the acknowledgement."""
        if not self.inbox.settings.enabled or self._clock.monotonic() < self._tidy_again:
            return
        self._tidy_again = self._clock.monotonic() + min(TIDY_S, self.inbox.settings.retention_s)
        unsure = frozenset(parked.trace_id for parked in self._parked.values())
        failed = set()
        for work in (partial(self.inbox.sweep, TIDY_S), partial(self.inbox.retire, unsure)):
            try:
                await self.on_thread(work)
            except InboxError as error:  # the other one may succeed
                failed.add(type(error).__name__)
        for failure in failed:
            self._failures.count("inbox", failure, place="tidy")

    async def on_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run one writing call of the inbox on its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args))

    async def for_a_client(self, function: Callable[..., T], *args: Any) -> T:
        """Run one call for a client on the inbox's thread. The daemon's own files wait for only one of them."""
        return await self._for_clients.run(partial(self.on_thread, function, *args))

    async def reading(self, function: Callable[..., T], *args: Any) -> T:
        """Run one reading call of the inbox, which does not wait for the writing ones."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, partial(function, *args))

    def close(self) -> None:
        """End the threads after their current calls."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._reader.shutdown(wait=False, cancel_futures=True)
        self._looker.close()

    def _check(self) -> bool:
        self.inbox.check()
        return True

    def _resting(self) -> list[int]:
        now_s = self._clock.monotonic()
        return [dialog for dialog, parked in self._parked.items() if not parked.pause.over(now_s)]

    async def _deliver(self, dialog: StoredDialog) -> bool:
        """Write the file of one dialogue. Return False if the inbox as a whole could not take it."""
        try:
            await self._write_and_tell(dialog)
        except InboxError as error:
            failure = type(error).__name__
            self._failures.count("inbox", failure, place=f"dialogue {dialog.id}")
            if await self._is_of_the_folder(error):
                self._failed = failure
                return False
            parked = self._parked.setdefault(dialog.id, Parked(dialog.trace_id))
            parked.failure = failure
            parked.pause.failed(self._clock.monotonic())
        else:
            self._parked.pop(dialog.id, None)
        return True

    async def _is_of_the_folder(self, error: InboxError) -> bool:
        if isinstance(error, InboxBusy) or getattr(error, "errno", None) in _OF_THE_DISK:
            return True
        try:
            await self.on_thread(self.inbox.check)
        except InboxError:
            return True
        return False

    async def _write_and_tell(self, dialog: StoredDialog) -> None:
        if self.inbox.settings.enabled:
            report = await self.on_thread(self._write, dialog)
            self._events.publish(
                {
                    "type": "inbox.written",
                    "at": self._clock.wall(),
                    "dialog": dialog.id,
                    "trace_id": dialog.trace_id,
                    "path": report["path"],
                    "shards": report["shards_written"],
                }
            )
        await self._store.shard_written(dialog.id, self._clock.wall())

    def _write(self, dialog: StoredDialog) -> dict[str, object]:
        goal = f"dream of {dialog.client}"
        form = self.inbox.settings.node_form
        try:
            document = dream_document(
                dialog.trace_id, dialog.turns, goal=goal, tags=["dream"], node_form=form
            )
        except Exception as error:  # noqa: BLE001 - rows that another program changed may hold anything
            raise ValidationError(f"no file can be made of what is stored: {type(error).__name__}") from None
        # An acknowledged file must not come back if another version makes other nodes.
        return self.inbox.write(*document, trace_id=dialog.trace_id, nodes_of_new_shards=True)
