"""Threads for calls that block or hang. The exit of the process does not wait for them."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class OneThread(Executor):
    """An executor that runs calls one by one on a daemon thread. A ThreadPoolExecutor would delay the exit, and it
    takes no call while the interpreter ends, when an embedded daemon may still have a file to write."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[tuple[Future[object], Callable[[], object]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        self._calls.put((future, partial(fn, *args, **kwargs)))  # type: ignore[arg-type]
        if self._thread.ident is None:
            self._thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the thread after the queued calls, or with `cancel_futures` after the current one."""
        with suppress(Empty):  # the thread may take the last call at any time
            while cancel_futures and (taken := self._calls.get_nowait()) is not None:
                taken[0].cancel()
        self._calls.put(None)
        if wait and self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while (taken := self._calls.get()) is not None:
            future, call = taken
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                future.set_exception(error)


class Looker(Generic[T]):
    """A thread for one call that may hang. The call is never made twice at a time, and no caller waits for long."""

    def __init__(self, name: str, call: Callable[[], T]) -> None:
        self._thread = OneThread(name)
        self._call = call
        self._asked: asyncio.Future[T] | None = None

    async def ask(self, patience_s: float | None = None) -> T | None:
        """Return the result of the call, or raise its exception. Return None if it takes longer than `patience_s`."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.get_running_loop().run_in_executor(self._thread, self._call)
            self._asked.add_done_callback(_mark_retrieved)
        asked = self._asked
        await asyncio.wait([asked], timeout=patience_s)
        return asked.result() if asked.done() else None

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def _mark_retrieved(future: "asyncio.Future[T]") -> None:
    if not future.cancelled():
        future.exception()  # there may be no caller to receive it
