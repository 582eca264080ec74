"""What happens to the world of a history: other programs, disks, the clock, the daemon's life."""

import random
from typing import TYPE_CHECKING, Any

from dreamd.daemon import Daemon
from dreamd.errors import StartError
from tests.sim.inbox_model import HALF
from tests.sim.leo_events import new_shards
from tests.sim.life import Trouble
from tests.sim.loop import SimLoop

if TYPE_CHECKING:
    from tests.sim.run import Run


def write(run: "Run", chance: random.Random, trace: str, n: int, twice: bool) -> None:
    run.world.writer.persist(trace, new_shards(run, chance, trace, n, twice=twice))


def damage(run: "Run", chance: random.Random, trace: str) -> None:
    """Another program writes half a file where none is yet."""
    disk, name = run.world.model.disk, f"{trace}.json"
    if not any(name in names for names in disk.current.values()) and disk.folder.exists():
        disk.put("", name, HALF)
        run.world.model.damaged.append(name)


def consume(run: "Run", chance: random.Random) -> None:
    run.world.writer.consume(chance.randrange(10))


def kill_writer(run: "Run", chance: random.Random, calls: int) -> None:
    run.world.writer.kill_after(calls)


def stop(run: "Run", chance: random.Random, down_s: float) -> None:
    run.down_s = down_s
    run.world.life.stop()


def kill(run: "Run", chance: random.Random, power: bool, down_s: float) -> None:
    run.down_s = down_s
    run.world.life.kill(power=power)


def _trouble(run: "Run", kind: str, trouble: Trouble) -> None:
    """Let something go wrong: for this daemon, or for the next one, if this one ends."""
    life = run.world.life
    (run.world.coming if life.stopping else life.troubles)[kind] = trouble


def kill_at_file(run: "Run", chance: random.Random, power: bool, skip: int, down_s: float) -> None:
    run.down_s = down_s
    _trouble(run, "kill at file call", Trouble(power, skip=skip))


def kill_at_database(run: "Run", chance: random.Random, what: Any, skip: int, down_s: float) -> None:
    run.down_s = down_s
    _trouble(run, "kill at database call", Trouble(what, skip=skip))


def database_fault(run: "Run", chance: random.Random, what: Any, left: int, skip: int) -> None:
    _trouble(run, "database fault", Trouble(what, left, skip))


def database_stall(run: "Run", chance: random.Random, what: float, when: str, left: int, skip: int) -> None:
    run.world.model.stalled_s += what * left
    _trouble(run, f"database stall {when}", Trouble(what, left, skip))


def file_fault(run: "Run", chance: random.Random, what: int, left: int, skip: int) -> None:
    _trouble(run, "file fault", Trouble(what, left, skip))


def file_stall(run: "Run", chance: random.Random, what: float, left: int, skip: int) -> None:
    run.world.model.stalled_s += what * left
    _trouble(run, "file stall", Trouble(what, left, skip))


def jump(run: "Run", chance: random.Random, seconds: float) -> None:
    """The wall clock is set."""
    run.world.jumped_s += seconds
    # Over a restart only the wall clock tells.
    run.world.model.paused_until, run.world.model.pause_asked_s = 0.0, None
    run.world.model.jumped_back = run.world.model.jumped_back or seconds < 0


def second(run: "Run", chance: random.Random) -> None:
    """Another daemon starts in the same folder (P8)."""
    life = run.world.life
    if life.serves:
        loop = SimLoop(lambda: run.world.now)
        daemon = Daemon(run.settings, life.folder, None, clock=run.world.clock)
        task = loop.create_task(daemon.serve().__aenter__())
        loop.run_one()
        refused = task.done() and isinstance(task.exception(), StartError)
        run.world.model.hold("P8", refused, "a second daemon starts in one folder")
        loop.close()


OF_THE_WORLD: dict[str, Any] = {
    "write": write, "damage": damage, "consume": consume, "kill writer": kill_writer, "stop": stop, "kill": kill,
    "kill at file": kill_at_file, "kill at database": kill_at_database, "database fault": database_fault,
    "database stall": database_stall, "file fault": file_fault, "file stall": file_stall, "jump": jump,
    "second": second,
}  # fmt: skip
