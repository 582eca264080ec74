"""The pause: no dream begins by itself until its end. It is kept in the database, so it outlives the daemon.

It is a length of time, measured by a clock that counts the sleep of the machine and never jumps. Over a restart only
the wall clock is left: if it was set back, the pause lasts at most twice as long.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf

from dreamclient.messages import Code

from dreamd.clock import Clock
from dreamd.engine.dialogues import Dialogues
from dreamd.errors import Refusal, StoreUnavailable
from dreamd.store.file.late_calls import OneByOne
from dreamd.store.records import Pause
from dreamd.store.store import Store


class DreamPause:
    """The pause of one daemon, if there is one. `ended` is called when dreams may go on."""

    def __init__(self, store: Store, dialogues: Dialogues, clock: Clock, ended: Callable[[], None]) -> None:
        self._store = store
        self._dialogues = dialogues
        self._clock = clock
        self._ended = ended
        self._pause: Pause | None = None
        self._ends_s = inf  # on the clock that counts sleep
        self._loaded = False
        self._changing = asyncio.Lock()
        self._turn = OneByOne()

    def take_up(self, pause: Pause | None) -> None:
        """Set the pause to one that the store has."""
        self._pause, self._ends_s, self._loaded = pause, inf, True
        if pause is not None and pause.until is not None:
            left_s = min(pause.until - self._clock.wall(), pause.until - pause.at)
            self._ends_s = self._clock.boottime() + left_s

    @property
    def left_s(self) -> float | None:
        """The rest of the pause: inf if it lasts until `resume`, None if there is none."""
        left_s = self._ends_s - self._clock.boottime() if self._pause is not None else 0.0
        return left_s if left_s > 0.0 else None

    @property
    def due(self) -> bool:
        """True if the pause is over, and that was not noted yet."""
        return self._pause is not None and self.left_s is None

    def report(self) -> dict[str, float | None] | None:
        """Return {at, until}: since when, and until when by the clock as it is now (None: until `resume`). Return None
        without a pause."""
        left_s = self.left_s
        if self._pause is None or left_s is None:
            return None
        return {"at": self._pause.at, "until": None if left_s == inf else self._clock.wall() + left_s}

    async def begin(self, length_s: float | None) -> dict[str, float | None] | None:
        """Begin no dream for this long, or until `resume`. Wait for the end of the dialogues that run, none of which is
        cut. Return the `report`. Raise Refusal if the pause cannot be stored: then there is none."""
        at = self._clock.wall()
        await self._change(Pause(at=at, until=None if length_s is None else at + length_s))
        if running := [task for _, task in self._dialogues.running.values()]:
            await asyncio.wait(running)
        return self.report()

    async def end(self) -> dict[str, float | None]:
        """End the pause. Return {at}: since when it was, None if there was none. Raise Refusal."""
        before = self.report()
        await self._change(None)
        return {"at": before["at"] if before else None}

    async def note_end(self) -> None:
        """Remove a pause that is over from the store. Raise StoreUnavailable."""
        async with self._changing:
            if self.due:
                await self._store.keep_pause(None)
                self._pause = None

    async def _change(self, pause: Pause | None) -> None:
        """Change memory and store together, also if the caller is cancelled."""
        if not self._loaded:  # a pause of the store would come over it
            raise Refusal(Code.UNAVAILABLE, "the database is not loaded yet; `dreamctl status` says more")
        await self._turn.run(partial(self._changed_to, pause))

    async def _changed_to(self, pause: Pause | None) -> None:
        async with self._changing:
            before = self._pause, self._ends_s
            self.take_up(pause)  # before the store has it, so that no dream begins meanwhile
            try:
                await self._store.keep_pause(pause)
            except StoreUnavailable as error:
                self._pause, self._ends_s = before
                raise Refusal(Code.UNAVAILABLE, f"this cannot be kept now: {error.reason}") from None
            if pause is None:
                self._ended()
