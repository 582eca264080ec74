"""Everything periodic, in one place: health and recovery, the socket's file, what is owed, the watchdog."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from dreamd.delivery import Delivery
from dreamd.engine import Engine
from dreamd.errors import StartError
from dreamd.failures import Failures
from dreamd.wire.listener import Listener
from dreamd.wire.server import Server, descriptors_left

SHORTAGES = REPLACED, VANISHED, EXHAUSTED = "state folder replaced", "socket vanished", "out of descriptors"
SETTLE_S = 1.0  # how long a tick waits for what was owed, so as to tell at once that it is well again

log = logging.getLogger("dreamd")


class Tick:
    """`run` it as a task. `tell` tells the service manager; `listener` is None where nobody can knock. `mine`:
    whether the state folder is still the one that is held."""

    def __init__(
        self,
        engine: Engine,
        delivery: Delivery,
        listener: Listener | None,
        server: Server,
        failures: Failures,
        tell: Callable[..., None],
        mine: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._delivery = delivery
        self._listener = listener
        self._server = server
        self._failures = failures
        self._tell = tell
        self._mine = mine
        self._state: str | None = None  # as it was told
        self._told = len(engine.store.notes)
        self._settling: asyncio.Task[None] | None = None

    async def run(self, every_s: float) -> None:
        """Until cancelled. What fails is told, counted, and tried again at the next tick."""
        self._log_changes()
        try:
            while True:
                await asyncio.sleep(every_s)
                await _tried(self._look())
                self._log_changes()
                said = self._engine.doing
                self._tell("WATCHDOG=1", f"STATUS={said}")
                # Beside the tick: an inbox whose lock is held, or whose disk hangs, must not starve the watchdog.
                if self._settling is None or self._settling.done():
                    self._settling = asyncio.create_task(_tried(self._settle()))
                    await asyncio.wait([self._settling], timeout=SETTLE_S)
                self._log_changes()
                if self._engine.doing != said:
                    self._tell(f"STATUS={self._engine.doing}")
        finally:
            if self._settling is not None:
                self._settling.cancel()

    async def _look(self) -> None:
        for session in list(self._server.sessions.values()):
            session.tick()
        self._engine.shortage = shortage = await self._shortage()
        if shortage != REPLACED or self._engine.store.trouble is None:
            await self._engine.store.probe()  # once it is noticed, what lies there now is another daemon's

    async def _shortage(self) -> str | None:
        """What is wrong with what the process holds: its folder, its socket, its descriptors."""
        if not self._mine():
            return REPLACED
        if self._listener is not None and self._listener.vanished:
            if self._engine.shortage != VANISHED:
                self._failures.count("listener", VANISHED)
            try:
                self._listener.bind()
            except StartError:  # its folder is not to be written, or something else stands there
                return VANISHED
            await self._server.listen(self._listener.socket)
        return None if descriptors_left() else EXHAUSTED

    async def _settle(self) -> None:
        await self._engine.settle_debts()
        if not self._engine.owes:
            await self._delivery.tidy()
        await self._delivery.look()

    def _log_changes(self) -> None:
        """Changes, no ticks: a log of no-ops is read by nobody."""
        notes, state = self._engine.store.notes, self._engine.ailment
        for note in notes[self._told :]:
            log.warning("%s", note)
        if state != self._state:
            log.warning("state: %s", state or "ok")
        self._state, self._told = state, len(notes)


async def _tried(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 - counted and logged by the loop's handler
        fault = {"message": "the tick", "exception": error}
        asyncio.get_running_loop().call_exception_handler(fault)
