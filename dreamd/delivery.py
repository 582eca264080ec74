"""From the store into the inbox: every dialogue that spoke leaves one file (P5).

A shard is always made from what the store holds, so a dialogue just ended and one that a crash cut short leave
the same file by the same way. The store knows which are still owed.
"""

import asyncio
import errno
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from math import inf
from typing import Any, TypeVar

from dreamd.clock import Clock
from dreamd.failures import Failures
from dreamd.inbox import Inbox, InboxBusy, InboxError, InboxUnavailable, dream_document
from dreamd.inbox.files import Files
from dreamd.run import Publish
from dreamd.store import Store, StoredDialog

TIDY_S = 3600.0

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


class Delivery:
    """Delivers shards, one at a time."""

    def __init__(
        self,
        store: Store,
        inbox: Inbox,
        clock: Clock,
        failures: Failures,
        publish: Publish,
        thread: Executor | None = None,
    ) -> None:
        self.inbox = inbox
        self._failed: str | None = None
        self._closed_to_us: str | None = None
        self._store = store
        self._clock = clock
        self._failures = failures
        self._publish = publish
        self._tidy_again = -inf  # monotonic s
        self._one_at_a_time = asyncio.Lock()
        # fsync blocks: the inbox has a thread of its own, as the database has.
        self._thread = thread or ThreadPoolExecutor(max_workers=1, thread_name_prefix="dreamd-inbox")

    @property
    def trouble(self) -> str | None:
        """Why a shard could not be delivered, or none could be now; else None."""
        return self._failed or self._closed_to_us

    async def deliver(self) -> bool:
        """Deliver what is owed; returns whether nothing is owed any more. What failed is counted, and owed still.
        Raises StoreUnavailable."""
        async with self._one_at_a_time:
            failed, last = None, 0
            while owed := await self._store.unwritten(after=last):
                for dialog in owed:
                    try:
                        await self._deliver(dialog)
                    except InboxError as error:
                        self._failed = failed = type(error).__name__
                        self._failures.count("inbox", failed, place=f"dialogue {dialog.id}")
                        if isinstance(error, InboxUnavailable):  # the next one would fare no better
                            return False
                last = owed[-1].id
            self._failed = failed
            return failed is None

    async def look(self) -> None:
        """Whether a shard could be delivered, before there is one: in `trouble`."""
        if not self.inbox.settings.enabled:
            return
        try:
            if self.inbox.settings.dir is None:  # beside the database, which the tick looks at as well
                self.inbox.check()
            else:  # it may be on a file system that hangs
                await self.on_thread(self.inbox.check)
        except InboxError as error:
            self._closed_to_us = type(error).__name__
        else:
            self._closed_to_us = None

    async def tidy(self) -> None:
        """Once an hour: remove what killed writers left, and what was acknowledged long ago."""
        if not self.inbox.settings.enabled or self._clock.monotonic() < self._tidy_again:
            return
        self._tidy_again = self._clock.monotonic() + TIDY_S
        try:
            await self.on_thread(self.inbox.sweep, TIDY_S)
            await self.on_thread(self.inbox.retire)
        except InboxError as error:
            self._failures.count("inbox", type(error).__name__, place="tidy")

    async def on_thread(self, function: Callable[..., T], *args: Any) -> T:
        """Run one call of the inbox that writes on its thread. Those that only read must not wait behind it."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def close(self) -> None:
        """Let the thread go; what it does now, it does whole."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _deliver(self, dialog: StoredDialog) -> None:
        if self.inbox.settings.enabled:
            report = await self.on_thread(self._write, dialog)
            self._publish(
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
        seed, shards, nodes = dream_document(dialog.trace_id, dialog.turns, goal=goal, tags=["dream"])
        return self.inbox.write(seed, shards, nodes, trace_id=dialog.trace_id)
