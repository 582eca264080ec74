"""One task does what is left to do: load the store, end interrupted dialogues, deliver their files, tidy the inbox.

Whatever leaves something undone calls `add`, the tick calls `wake`. The task looks then, unless its last attempt has
failed only just: an attempt that fails doubles the pause.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

from dreamd.clock import Clock
from dreamd.errors import StoreUnavailable
from dreamd.failures import Failures

PAUSE_FIRST_S = (
    1.0  # after a failed attempt; attempts are made at the tick, so that the first is one tick later
)
PAUSE_MOST_S = 300.0  # a disk that is back is noticed at the tick, whatever the pause


class Pause:
    """A pause that doubles with each failure. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._pause_s = 0.0
        self._until_s = -inf

    def failed(self, now_s: float) -> None:
        """Begin a pause, twice as long as the last one."""
        self._pause_s = min(PAUSE_MOST_S, max(PAUSE_FIRST_S, 2 * self._pause_s))
        self._until_s = now_s + self._pause_s

    def over(self, now_s: float) -> bool:
        """Return whether another attempt may be made."""
        return now_s >= self._until_s


class Pending:
    """Run it as a task. `work` returns whether all is done; `due` whether there is anything else to do now."""

    def __init__(
        self,
        work: Callable[[], Awaitable[bool]],
        due: Callable[[], bool],
        clock: Clock,
        failures: Failures,
    ) -> None:
        self.left = True  # something is undone: at the start, what an earlier daemon left
        self._work = work
        self._due = due
        self._monotonic = clock.monotonic
        self._failures = failures
        self._pause = Pause()
        self._woken = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def add(self) -> None:
        """Note that something was left undone, and have it done."""
        self.left = True
        self.wake()

    def wake(self) -> None:
        """Have the task look for work."""
        self._woken.set()

    def retry(self) -> None:
        """Have the task look now, whatever failed before: what was in the way has gone."""
        self._pause = Pause()
        self.wake()

    async def run(self) -> None:
        """Work until cancelled."""
        while await self._woken.wait():
            self._woken.clear()
            await self.attempt()

    async def attempt(self) -> None:
        """Do all there is to do, unless the last attempt has failed only just."""
        async with self._one_at_a_time:
            if (self.left or self._due()) and self._pause.over(self._monotonic()):
                self.left = False  # before looking: what is added meanwhile stays
                if await self._done():
                    self._pause = Pause()
                else:
                    self.left = True
                    self._pause.failed(self._monotonic())

    async def wait_idle(self, patience_s: float) -> None:
        """Wait for the attempt that is under way, so long at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await asyncio.sleep(0)  # the task begins what it was woken for
                async with self._one_at_a_time:
                    pass

    async def _done(self) -> bool:
        try:
            return await self._work()
        except StoreUnavailable as error:
            self._failures.count("store", error.trouble, place="recovery")
        except Exception as error:  # noqa: BLE001 - counted and logged by the loop's handler
            fault = {"message": "pending work", "exception": error}
            asyncio.get_running_loop().call_exception_handler(fault)
        return False
