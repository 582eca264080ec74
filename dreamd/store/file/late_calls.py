"""Waiting for the database with a deadline, and the calls that were not answered in time.

Such a call still has its effect later. Until then the row of its dialogue is not what it will be.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from dreamd.errors import DreamdError, StoreUnavailable
from dreamd.store.file.health import UNANSWERED

T = TypeVar("T")


async def answer_within(
    work: Coroutine[Any, Any, T],
    patience_s: float,
    late: "Callable[[asyncio.Task[T]], object]" = lambda _: None,
) -> T:
    """Return the store's answer. Raise StoreUnavailable if it takes too long. The store then goes on without its
    caller, and `late` is called with the task. It also goes on if the caller is cancelled."""
    task = asyncio.get_running_loop().create_task(work)
    try:
        async with asyncio.timeout(patience_s):
            return await wait_uncancelled(task)
    except TimeoutError:
        late(task)
        raise StoreUnavailable(UNANSWERED, "the database does not answer") from None


async def wait_uncancelled(task: "asyncio.Task[T]") -> T:
    """Return the result of a task that goes on even if the caller is cancelled."""
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(report_fault)
        raise


def report_fault(task: "asyncio.Task[Any]") -> None:
    """Report the exception of a task that no caller waits for, if it is a fault. StoreUnavailable shows as the state of
    the store, and a refusal needs its caller."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, DreamdError):
        task.get_loop().call_exception_handler({"message": "a late call", "exception": error})


class OneByOne:
    """Calls for clients, one after the other. One that has begun goes on to its end if its client leaves, and only then
    the next one begins: a client that comes back again and again must not fill the queue of a thread."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[Any] | None = None  # held, since a loop holds its tasks weakly

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for the turn, do the work, and return its result."""
        await self._turn.acquire()
        self._task = task = asyncio.get_running_loop().create_task(work())
        task.add_done_callback(self._end)
        return await wait_uncancelled(task)

    def _end(self, _: "asyncio.Task[Any]") -> None:
        self._task = None
        self._turn.release()


class LateCalls:
    """The calls of dialogues that go on without their caller. `is_done`: called when one of them has ended."""

    def __init__(self, is_done: Callable[[], None]) -> None:
        self._by_dialog: dict[int, set[asyncio.Task[Any]]] = {}
        self._is_done = is_done

    def __contains__(self, dialog: int) -> bool:
        """Return whether a call of this dialogue goes on."""
        return dialog in self._by_dialog

    async def answer(self, dialog: int, work: Coroutine[Any, Any, T], patience_s: float) -> T:
        """Return the store's answer as `answer_within` does, and note a call of this dialogue that takes too long."""
        return await answer_within(work, patience_s, partial(self._add, dialog))

    def _add(self, dialog: int, task: "asyncio.Task[Any]") -> None:
        self._by_dialog.setdefault(dialog, set()).add(task)
        task.add_done_callback(partial(self._end, dialog))

    def _end(self, dialog: int, task: "asyncio.Task[Any]") -> None:
        self._by_dialog[dialog].discard(task)
        if not self._by_dialog[dialog]:
            del self._by_dialog[dialog]
        self._is_done()
