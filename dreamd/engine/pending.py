"""The task for pending work: load the store, end interrupted dialogues, deliver their files, tidy the inbox.

Code that leaves work undone calls `add`, and the tick calls `wake`. Both start an attempt unless the last one has just
failed: each failed attempt doubles the pause.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

from dreamd.clock import Clock
from dreamd.errors import StoreUnavailable
from dreamd.failures import Failures

PAUSE_FIRST_S = 1.0  # after a failed attempt; the next one is made at a later tick
PAUSE_MOST_S = 300.0  # a disk that works again is noticed at the tick, whatever the pause


class Pause:
    """A pause that doubles with each failure. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._until_s = -inf

    def failed(self, now_s: float) -> None:
        """Begin a pause that is twice as long as the last one."""
        self._pause_s = min(PAUSE_MOST_S, max(PAUSE_FIRST_S, 2 * self._pause_s))
        self._until_s = now_s + self._pause_s

    def over(self, now_s: float) -> bool:
        """Return whether another attempt may be made."""
        return now_s >= self._until_s


class Pending:
    """The pending work. Run `run` as a task. `work` does it and returns whether all is done. `due` returns whether
    other work has to be done now."""

    def __init__(
        self,
        work: Callable[[], Awaitable[bool]],
        due: Callable[[], bool],
        clock: Clock,
        failures: Failures,
    ) -> None:
        self.left = True  # work is undone: at the start, that of an earlier daemon
        self._work = work
        self._due = due
        self._monotonic = clock.monotonic
        self._failures = failures
        self._pause = Pause()
        self._woken = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def add(self) -> None:
        """Note that work was left undone, and start an attempt."""
        self.left = True
        self.wake()

    def wake(self) -> None:
        """Start an attempt if there is work."""
        self._woken.set()

    def retry(self) -> None:
        """Start an attempt without a pause, because the cause of the failures has gone."""
        self._pause = Pause()
        self.wake()

    async def run(self) -> None:
        """Work until cancelled."""
        while await self._woken.wait():
            self._woken.clear()
            await self.attempt()

    async def attempt(self) -> None:
        """Do all pending work, unless the pause after a failure is not over."""
        async with self._one_at_a_time:
            if (self.left or self._due()) and self._pause.over(self._monotonic()):
                self.left = False  # before the work, so that what is added meanwhile stays noted
                if await self._done():
                    self._pause = Pause()
                else:
                    self.left = True
                    self._pause.failed(self._monotonic())

    async def wait_idle(self, patience_s: float) -> None:
        """Wait for the current attempt, at most `patience_s`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await asyncio.sleep(0)  # lets the woken task begin
                async with self._one_at_a_time:
                    pass

    async def _done(self) -> bool:
        try:
            return await self._work()
        except StoreUnavailable as error:
            self._failures.count("store", error.reason, place="recovery")
        except Exception as error:  # noqa: BLE001 - counted and logged by the loop's handler
            fault = {"message": "pending work", "exception": error}
            asyncio.get_running_loop().call_exception_handler(fault)
        return False
