"""One life of the daemon: from its start to its stop, or to the moment at which it is killed."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamd.daemon import Daemon, place_of
from dreamd.errors import StartError
from dreamd.settings import Settings
from tests.sim.database import DatabaseThread, copy_state, torn
from tests.sim.loop import SimLoop

if TYPE_CHECKING:
    from dreamd.wire.parts import Parts
    from tests.sim.threads import SimThread
    from tests.sim.wires import Wire
    from tests.sim.world import World

STOP_S = 30.0  # virtual seconds in which a stop ends, without stalls


@dataclass
class Trouble:
    """What goes wrong next. `left`: how many calls it concerns. `skip`: how many go well before."""

    what: Any
    left: int = 1
    skip: int = 0

    def take(self) -> bool:
        """Return whether it is this call's turn."""
        if self.skip:
            self.skip -= 1
            return False
        self.left -= 1
        return self.left >= 0


class Life:
    """A daemon in `folder`. Everything of it that is alive belongs to this object."""

    def __init__(self, world: "World", number: int, folder: Path, settings: Settings) -> None:
        self.world, self.number, self.folder = world, number, folder
        self.name = f"daemon {number}"
        self.dead = self.unwinding = self._is_killed = False
        self.began_at = world.now
        self.stopping_since: float | None = None
        self.threads: list[SimThread] = []
        self.wires: list[Wire] = []
        self.connection: sqlite3.Connection | None = None
        self.parts: Parts | None = None
        self.file_calls = 0
        self.troubles, world.coming = world.coming, {}
        self.loop = world.loop = SimLoop(lambda: world.now)
        self.loop.on_fault, self.loop.on_handle = self._fault, self._handle
        world.life = self
        self.database = DatabaseThread(world)
        self.daemon = Daemon(
            settings, folder, None, clock=world.clock, chance=random.Random(f"{world.seed}/{self.name}")
        )
        self.task = self.loop.create_task(self._serve())

    async def _serve(self) -> None:
        try:
            async with self.daemon.serve() as parts:
                self.parts = parts
                if not self.dead:
                    self.world.model.began(self)
                await self.daemon.stopping.wait()
                self.stopping_since = self.world.now
        except StartError as error:
            self.world.note(self.name, "did not start", error.exit_code)
        finally:
            self.parts = None
            if not self.dead:
                self.world.note(self.name, "ended", self.daemon.exit_code)
                self.world.after(0.0, self.world.model.ended, self)

    def _handle(self, begins: bool) -> None:
        if not self.dead:
            self.world.model.handle(self, begins)

    def _fault(self, context: dict[str, Any]) -> None:
        if not self.dead:
            error = context.get("exception")
            text = f"{str(context.get('message')).partition('(')[0]}: {error!r}{place_of(error)}"
            self.world.fail("no internal fault", text)

    @property
    def stopping(self) -> bool:
        """True if it is dead, or about to end."""
        return self.dead or self.daemon.stopping.is_set()

    @property
    def serves(self) -> bool:
        """True if clients can connect."""
        return self.parts is not None and not self.dead and self.stopping_since is None

    # trouble

    def _troubled(self, kind: str) -> Any:
        trouble = self.troubles.get(kind)
        if trouble is None or self.dead:
            return None
        hit = trouble.take()
        if trouble.left <= 0:
            del self.troubles[kind]
        return trouble.what if hit else None

    @property
    def has_file_trouble(self) -> bool:
        """True if a file call is to stall, or to be the last one."""
        return "file stall" in self.troubles or "kill at file call" in self.troubles

    def database_fault(self, name: str) -> tuple[str, bool] | None:
        found = self._troubled("database fault")
        if found is not None:
            self.world.note(self.name, "database", name, "fails", *found)
        return found

    def database_stall(self, when: str) -> float:
        return self._troubled(f"database stall {when}") or 0.0

    def file_fault(self, kind: str) -> int:
        return self._troubled("file fault") or 0

    def file_stall(self, kind: str) -> float:
        return self._troubled("file stall") or 0.0

    def kill_at_file_call(self) -> bool:
        power = self._troubled("kill at file call")
        if power is not None:
            self.world.next_action = partial(self.kill, power=power)
        return power is not None

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        """Run a call of the database, and end the daemon around it if that is due."""
        kill = self._troubled("kill at database call")
        if kill is None:
            answer = call()
            self.world.model.database_did(self, name, answer[1])
            return answer
        when, power, share = kill
        if when == "before":
            self.kill(power=power)
            return call()
        wal = self._wal()
        synced = self._is_synced()
        before = wal.read_bytes() if wal.exists() else b""
        main = self._main().read_bytes() if self._main().exists() else b""
        answer = call()
        grows = self._main().exists() and main == self._main().read_bytes()
        cut = partial(torn, before if synced else b"", share=share) if power and grows else None
        self.kill(power=power, cut=(lambda data: cut(data)) if cut else None)
        return answer

    def _is_synced(self) -> bool:
        """Return whether each commit is synced, so that a power cut spares earlier ones."""
        if self.connection is None:
            return True
        try:
            return bool(self.connection.execute("PRAGMA synchronous").fetchone()[0] >= 2)
        except sqlite3.Error:
            return True

    def _main(self) -> Path:
        return self.folder / "dream.sqlite3"

    def _wal(self) -> Path:
        return self.folder / "dream.sqlite3-wal"

    # ends

    def stop(self) -> None:
        """Ask it to stop, as SIGTERM does."""
        if not self.dead and not self.task.done():
            self.loop.call_soon(self.daemon.stopping.set)

    def kill(self, *, power: bool, cut: Callable[[bytes], bytes] | None = None) -> None:
        """End it at once, or the whole machine with `power`. What is on disk then goes on in another folder."""
        if self.dead or self.task.done():
            return
        world = self.world
        world.note(self.name, "is killed", "with the machine" if power else "")
        target = world.new_state_folder()
        copy_state(self.folder, target, cut or (lambda data: data))
        self.dead = self._is_killed = True
        world.loop = None
        for wire in self.wires:
            wire.die()
        self.unwinding = True
        for thread in self.threads:
            thread.die()
        self.unwinding = False
        self.database.flush()
        world.model.killed(self, power)
        world.after(0.0, self.bury)

    def exit(self) -> None:
        """End the process of a daemon that has ended. What its threads still had to do is not done."""
        self.dead = self.unwinding = True
        for thread in self.threads:
            thread.die()
        self.unwinding = False
        self.database.drop()
        if self.connection is not None:
            self.connection.close()
        self.discard()

    def bury(self) -> None:
        """Let a dead daemon close what it has open, in a folder that nothing else uses."""
        if not self.task.done():
            self.loop.call_soon(self.daemon.stopping.set)
            if not self.loop.finish(self.task):
                self.task.cancel()
                self.loop.finish(self.task, 1000)
        if self.connection is not None:
            self.connection.close()
        self.discard()

    def discard(self) -> None:
        """Forget what is left of an ended daemon."""
        import asyncio

        for task in asyncio.all_tasks(self.loop):
            task._log_destroy_pending = False
            task.cancel()
        while self.loop.run_one():
            pass
        self.loop.close()
        self.world.on_end()
        if self._is_killed:
            shutil.rmtree(self.folder, ignore_errors=True)
