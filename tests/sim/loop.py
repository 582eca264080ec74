"""An event loop whose time is virtual: it runs one callback at a time, and waits for nothing."""

import asyncio
import heapq
from asyncio import events
from collections.abc import Callable
from itertools import count
from typing import Any


class SimTask(asyncio.Task[Any]):
    """A task whose hash is its number, so that sets of tasks have one order in every run."""

    def __init__(self, *args: Any, number: int, **kwargs: Any) -> None:
        self.number = number
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self.number


class SimLoop(asyncio.BaseEventLoop):
    """The loop of one daemon. `now` returns the world's time. `ahead`: how much later it is here, after the daemon's
    end, when nothing else goes on."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now
        self.ahead = 0.0
        self._numbers = count()
        self.set_debug(False)
        self.set_task_factory(
            lambda loop, work, **more: SimTask(work, loop=loop, number=next(self._numbers), **more)
        )

    # Called before each callback (True) and after it.
    on_handle: Callable[[bool], None] = staticmethod(lambda begins: None)
    on_fault: Callable[[dict[str, Any]], None] = staticmethod(lambda context: None)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.on_fault(context)
        super().call_exception_handler(context)

    def time(self) -> float:
        return self._now() + self.ahead

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def run_one(self) -> bool:
        """Run the next callback. Return whether there was one."""
        self._wake_timers()
        if not self._ready:
            return False
        handle = self._ready.popleft()
        if not handle._cancelled:
            before = events._get_running_loop()
            events._set_running_loop(self)
            self.on_handle(True)
            try:
                handle._run()
            finally:
                events._set_running_loop(before)
            self.on_handle(False)
        return True

    def next_timer(self) -> float | None:
        """Return the time of the next timer, or None."""
        while self._scheduled and self._scheduled[0]._cancelled:
            heapq.heappop(self._scheduled)._scheduled = False
        return self._scheduled[0]._when if self._scheduled else None

    def _wake_timers(self) -> None:
        while (when := self.next_timer()) is not None and when <= self.time():
            handle = heapq.heappop(self._scheduled)
            handle._scheduled = False
            self._ready.append(handle)

    def finish(self, task: asyncio.Task[Any], most_steps: int = 100_000) -> bool:
        """Run until a task ends, without the world. Time passes here only. Return whether it ended."""
        for _ in range(most_steps):
            if task.done():
                return True
            if not self.run_one():
                when = self.next_timer()
                if when is None:
                    return False
                self.ahead += max(0.0, when - self.time())
        return False
