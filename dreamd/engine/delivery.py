"""From the store into the inbox: every dialogue that spoke leaves one file (P5).

A file is always made from what the store holds, so that a dialogue just ended and one that a crash cut short are
delivered in one way. The store knows which have none yet.
"""

import asyncio
import errno
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any, TypeVar

from dreamd.clock import Clock
from dreamd.engine.events import Events
from dreamd.engine.pending import Pause
from dreamd.failures import Failures
from dreamd.inbox import Inbox, InboxBusy, InboxError, InboxUnavailable, ValidationError, dream_document
from dreamd.inbox.folder.files import Files
from dreamd.process.threads import Looker, OneThread
from dreamd.store.records import StoredDialog
from dreamd.store.store import Store

TIDY_S = 3600.0
LOOK_S = 0.5  # a check of the inbox takes microseconds; one that hangs is trouble

T = TypeVar("T")


class StoppableFiles(Files):
    """The inbox's file calls, but that waiting for its lock, which may take long, ends with the daemon."""

    def __init__(self) -> None:
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Wait for no lock any more."""
        self._stopping.set()

    def pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise InboxBusy(errno.ECANCELED, "the daemon stops")


# The whole inbox is in trouble, not one file.
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE})


@dataclass
class Parked:
    """A dialogue whose own file could not be written: others go on, and it is tried again after its pause."""

    trace_id: str
    failure: str = ""
    pause: Pause = field(default_factory=Pause)


class Delivery:
    """Delivers files, one at a time."""

    def __init__(self, store: Store, inbox: Inbox, clock: Clock, failures: Failures, events: Events) -> None:
        self.inbox = inbox
        self._failed: str | None = None  # why the last file could not be written: the inbox as a whole
        self.closed_to_us: str | None = None  # why none could be written, as the last look found
        self._parked: dict[int, Parked] = {}  # by dialogue
        self._store = store
        self._clock = clock
        self._failures = failures
        self._events = events
        self._tidy_again = -inf  # monotonic s
        # fsync blocks: the inbox has a thread of its own, as the database has. Another one only looks.
        self._thread = OneThread("dreamd-inbox")
        self._turn = asyncio.Lock()
        self._reader = OneThread("dreamd-inbox-read")
        self._looker = Looker("dreamd-inbox-look", self._check)

    @property
    def trouble(self) -> str | None:
        """Why a file could not be delivered, or none could be now; else None."""
        parked = next(iter(self._parked.values()), None)
        return self._failed or self.closed_to_us or (parked.failure if parked else None)

    @property
    def due(self) -> bool:
        """Whether there is something to do now that no dialogue's end has announced."""
        now_s = self._clock.monotonic()
        tidy = self.inbox.settings.enabled and now_s >= self._tidy_again
        return tidy or any(parked.pause.over(now_s) for parked in self._parked.values())

    async def deliver(self) -> bool:
        """Write the file of each dialogue that has none yet. Return False if the inbox could not take it; a dialogue
        whose own file is in trouble is parked, and the others go on. Raises StoreUnavailable."""
        while dialogs := await self._store.unwritten(self._resting()):
            for dialog in dialogs:
                if not await self._deliver(dialog):
                    return False
        self._failed = None
        return True

    async def look(self) -> None:
        """Find out whether a file could be written, before there is one: in `trouble`."""
        if not self.inbox.settings.enabled:
            return
        try:
            answered = await self._looker.ask(LOOK_S)
        except InboxError as error:
            self.closed_to_us = type(error).__name__
        else:
            self.closed_to_us = None if answered else InboxUnavailable.__name__

    async def tidy(self) -> None:
        """Remove what killed writers left, and what was acknowledged long ago: once an hour, or as often as files are
        to be removed. An acknowledged file stays until its dialogue is known to be written: it is what remembers
        the acknowledgement."""
        if not self.inbox.settings.enabled or self._clock.monotonic() < self._tidy_again:
            return
        self._tidy_again = self._clock.monotonic() + min(TIDY_S, self.inbox.settings.retention_s)
        unsure = frozenset(parked.trace_id for parked in self._parked.values())
        try:
            await self.on_thread(self.inbox.sweep, TIDY_S)
            await self.on_thread(self.inbox.retire, unsure)
        except InboxError as error:
            self._failures.count("inbox", type(error).__name__, place="tidy")

    async def on_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run one call of the inbox that writes on its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(function, *args))

    async def for_a_client(self, function: Callable[..., T], *args: Any) -> T:
        """Run one call that a client asked for on the inbox's thread. They take turns, so that a file of ours waits
        for one of them, however many there are."""
        async with self._turn:
            return await self.on_thread(function, *args)

    async def reading(self, function: Callable[..., T], *args: Any) -> T:
        """Run one call of the inbox that only reads, which does not wait behind those that write."""
        return await asyncio.get_running_loop().run_in_executor(self._reader, partial(function, *args))

    def close(self) -> None:
        """Let the threads end; what the inbox's does now, it does whole."""
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
        """Return whether others may be tried after this one."""
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
        # A file that was delivered and acknowledged does not come back when another version makes other nodes.
        return self.inbox.write(*document, trace_id=dialog.trace_id, nodes_of_new_shards=True)
