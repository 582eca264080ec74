"""The tick, which does everything periodic: health and recovery, the socket's file, pending work, the watchdog."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from dreamd.errors import StartError
from dreamd.process.threads import Looker
from dreamd.wire.listener import Listener
from dreamd.wire.parts import Parts
from dreamd.wire.server import Server, descriptors_left

RESOURCE_REASONS = VANISHED, EXHAUSTED = "socket vanished", "out of descriptors"
SETTLE_S = 1.0  # how long a tick waits for pending work, so that recovery is reported in the same tick
# How long a tick waits for its check of the database and the inbox, usually milliseconds. The second value is for a
# watchdog with a short time.
LOOK_S, LOOK_LEAST_S = 4.0, 1.0

log = logging.getLogger("dreamd")


class Housekeeping:
    """The tick. Run `run` as a task. `tell` sends a status to systemd. `listener` is None if embedded. `held` returns
    whether the state folder is still the locked one. If it is not, `lose` ends the daemon."""

    def __init__(
        self,
        parts: Parts,
        listener: Listener | None,
        server: Server,
        tell: Callable[..., None],
        held: Callable[[], bool],
        lose: Callable[[], None],
    ) -> None:
        self._engine = parts.engine
        self._store = parts.store
        self._delivery = parts.delivery
        self._forgetting = parts.forgetting
        self._undreaming = parts.undreaming
        self._listener = listener
        self._server = server
        self._failures = parts.failures
        self._tell = tell
        self._lose = lose
        self._place = Looker("dreamd-place", lambda: (held(), listener is not None and listener.vanished))
        self._state: str | None = None  # as last logged
        self._told = len(parts.store.notes)
        self._looking: asyncio.Task[None] | None = None
        self._tidying: dict[str, asyncio.Task[None]] = {}  # by part
        self._hindered = False

    async def run(self, every_s: float) -> None:
        """Tick until cancelled. A failure is counted, and the next tick tries again."""
        patience_s = min(LOOK_S, max(every_s / 4, LOOK_LEAST_S))
        self._log_changes()
        try:
            while True:
                await asyncio.sleep(every_s)
                await _try_part(self._server.tick())
                # A task of its own, because the check of a database, or a disk that hangs, must not delay the watchdog.
                if self._looking is None or self._looking.done():
                    self._looking = asyncio.create_task(_try_part(self._look()))
                await asyncio.wait([self._looking], timeout=patience_s)
                self._tidy()
                self._engine.unanswered = not self._looking.done()
                self._log_changes()
                said = self._engine.doing
                self._tell("WATCHDOG=1", f"STATUS={said}")
                await self._have_pending_done()
                self._log_changes()
                if self._engine.doing != said:
                    self._tell(f"STATUS={self._engine.doing}")
        finally:
            self._place.close()
            for task in (self._looking, *self._tidying.values()):
                if task is not None:
                    task.cancel()

    async def _look(self) -> None:
        held, vanished = await self._place.ask() or (False, False)
        if not held:  # the folder there may be another daemon's
            self._lose()
            return
        self._engine.resources_reason = await self._resources_reason(vanished)
        await self._store.probe()
        await self._delivery.look()

    def _tidy(self) -> None:
        """Start each part as a task of its own, unless it still runs: one takes minutes for a large database of 0.1.0,
        and an inbox that hangs must not keep the others from their turn."""
        parts = {
            "heard": self._engine.keep_heard,
            "database": self._store.tidy,
            "age": self._forgetting.by_age,
            "undreams": self._undreaming.load,
        }
        for name, part in parts.items():
            if name not in self._tidying or self._tidying[name].done():
                self._tidying[name] = asyncio.create_task(_try_part(part()))

    async def _have_pending_done(self) -> None:
        """Wake the task of the pending work, and wait a little for it, so that recovery is reported in the same
        tick."""
        pending, hindered = self._engine.pending, self._engine.is_hindered
        if self._hindered and not hindered:
            pending.retry()
        self._hindered = hindered
        pending.wake()
        await pending.wait_idle(SETTLE_S)

    async def _resources_reason(self, vanished: bool) -> str | None:
        """Return a word if the socket has vanished or no descriptor is left, or None. Make a vanished socket again."""
        if self._listener is not None and vanished:
            if self._engine.resources_reason != VANISHED:
                self._failures.count("listener", VANISHED)
            try:
                self._listener.bind()
            except StartError:  # its folder cannot be written, or something else is in its place
                return VANISHED
            await self._server.listen(self._listener.socket)
        return None if descriptors_left() else EXHAUSTED

    def _log_changes(self) -> None:
        """Log new notes and a changed state, so that a tick without a change logs nothing."""
        notes, state = self._store.notes, self._engine.degraded_reason
        for note in notes[self._told :]:
            log.warning("%s", note)
        if state != self._state:
            log.warning("state: %s", state or "ok")
        self._state, self._told = state, len(notes)


async def _try_part(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - counted and logged by the loop's handler
        fault = {"message": "the tick", "exception": error}
        asyncio.get_running_loop().call_exception_handler(fault)
