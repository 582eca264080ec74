"""Run histories: `make sim SEED=1 RUNS=100`."""

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dreamd.wire.session import Session
from tests.helpers.daemons.in_loop import chosen
from tests.sim import shrink
from tests.sim.database import SimDatabase
from tests.sim.files import SimFiles
from tests.sim.history import History, make_history
from tests.sim.life import Life
from tests.sim.model import Model
from tests.sim.peers import MARK, Peer
from tests.sim.scene import perform
from tests.sim.threads import SimThread
from tests.sim.world import Violation, World
from tests.sim.writer import Writer

DAY_S = 86_500.0
CALM_S = 700.0  # in which all that is owed is done, once nothing goes wrong: more than two pauses of 300 s
MEMORY = Path("/dev/shm")


@dataclass
class Outcome:
    """The outcome of a run. `failure`: the promise that does not hold, and what was seen."""

    history: History
    hash: str = ""
    failure: Violation | None = None
    told: list[str] = field(default_factory=list)
    checks: Counter[str] = field(default_factory=Counter)


class SimSession(Session):
    """A session whose hash is its number, so that sets of sessions have one order in every run."""

    def __hash__(self) -> int:
        return self.number


class _Texts(logging.Handler):
    """Fails the run if a text of a leo is logged (P14)."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        if MARK in record.getMessage():
            self._world.fail("P14", f"{record.name} logs a text of a dream")


class Run:
    """One history, from the first start of the daemon to the end of all that is owed."""

    def __init__(self, history: History, world: World) -> None:
        self.history, self.world = history, world
        self.settings = chosen(inbox__dir=world.folder / "inbox", **history.settings)
        world.model = Model(world, world.folder / "inbox", self.settings)
        world.writer = Writer(world, self.settings.inbox)
        self.peers: list[Peer] = world.model.peers
        self.sent: dict[str, list[Any]] = {}
        self.texts = 0
        self.down_s = 0.1
        self._lives = 0
        world.state.mkdir()
        world.on_end = self._start_later
        self._start()

    def _start_later(self) -> None:
        self.world.after(self.down_s, self._start)

    def _start(self) -> None:
        self._lives += 1
        Life(self.world, self._lives, self.world.state, self.settings)

    def check_page(self, error: Any, result: Any) -> None:
        """Check the answer of a replay (P13)."""
        if error is None:
            self.world.model.hold("P13", result["same"] or not result["lines"], f"{result['difference']}")

    def whole(self) -> None:
        """Let all happen."""
        world = self.world
        for number, about in enumerate(self.history.leos):
            self.peers.append(Peer(world, number, about))
        start = world.now
        for event in self.history.events:
            world.run(start + event.at)
            perform(self, event)
        world.run(world.now + 1.0)
        self._calm()

    def _calm(self) -> None:
        """Let nothing go wrong any more, and check that all that is owed is done."""
        world, model = self.world, self.world.model
        for peer in self.peers:
            peer.mood, peer.stays_away = "well", False
            if peer.wire is not None and peer.wire.slow:
                peer.wire.go_on_reading()
            peer.connect()
        self.down_s = 0.1
        world.coming.clear()
        world.life.troubles.clear()
        world.run(world.now + CALM_S, lambda: model.is_settled and model.is_undreamt)
        for number, peer in model.waiting_undreams().items():
            if peer is not None:  # a leo that was lost three times is asked again only by a person
                peer.call("dialogs.undream", [{"id": number}])
        world.run(world.now + CALM_S, lambda: model.is_settled and model.is_undreamt)
        model.hold("what is to be taken back is", model.is_undreamt, "a leo is there, and was not asked")
        for peer in self.peers:
            peer.stays_away = True
            peer.cut()
        world.run(world.now + 100.0)
        world.jumped_s += DAY_S  # nobody comes back for what is suspended
        world.run(world.now + CALM_S, lambda: model.is_settled)
        world.run(world.now + 20.0)
        model.check_end()
        self._check_idle()
        world.life.stop()
        lives = self._lives
        world.run(world.now + 60.0, lambda: self._lives > lives and world.life.parts is not None)
        world.run(world.now + 35.0)
        model.check_after_restart()
        model.check_end()
        world.life.stop()
        world.on_end = lambda: None
        world.run(world.now + 60.0, lambda: world.life.task.done())
        model.hold("every stop ends", world.life.task.done(), "it has not ended after 60 s")
        if world.failure is not None:
            raise world.failure

    def _check_idle(self) -> None:
        """Check that an idle daemon writes nothing at its ticks (P12)."""
        world, life = self.world, self.world.life
        if life.parts is not None and life.connection is not None:
            world.run(world.now + 31.0)
            before = life.connection.total_changes
            world.run(world.now + 46.0)
            world.model.hold("P12", life.connection.total_changes == before, "an idle tick writes")


@contextmanager
def _in_place_of_the_real(world: World) -> Iterator[None]:
    """Put the simulated threads, files and database in the places of the real ones."""
    SimDatabase.world = world

    def files() -> SimFiles:
        return SimFiles(world, world.model.disk, world.life)

    log, texts = logging.getLogger("dreamd"), _Texts(world)
    with ExitStack() as stack:
        for name, double in {
            "dreamd.daemon.StoppableFiles": files,
            "dreamd.engine.delivery.OneThread": partial(SimThread, world),
            "dreamd.process.threads.OneThread": partial(SimThread, world),
            "dreamd.store.places.Database": SimDatabase,
            "dreamd.wire.server.Session": SimSession,
        }.items():
            stack.enter_context(patch(name, double))
        log.addHandler(texts)
        propagates, log.propagate = log.propagate, False
        try:
            yield
        finally:
            log.removeHandler(texts)
            log.propagate = propagates


def run_history(history: History) -> Outcome:
    """Run a history. The same one has the same hash, whatever ran before."""
    folder = Path(tempfile.mkdtemp(prefix="dreamd-sim-", dir=MEMORY if MEMORY.is_dir() else None))
    world, outcome = World(history.seed, folder), Outcome(history)
    try:
        with _in_place_of_the_real(world):
            try:
                Run(history, world).whole()
            except Violation as failure:
                outcome.failure = failure
            outcome.hash, outcome.told, outcome.checks = world.hash, list(world.told), world.model.checks
            _clear(world)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _clear(world: World) -> None:
    life = world.life
    world.failure = None
    world.writer.kill()
    if not life.dead and not life.task.done():
        life.kill(power=False)
    if not life.task.done():
        life.bury()


def main(arguments: list[str]) -> int:
    """Run histories, print those that fail, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--no-shrink", action="store_true")
    asked = parser.parse_args(arguments)
    began, checks, failed = time.process_time(), Counter[str](), 0
    for seed in range(asked.seed, asked.seed + asked.runs):
        outcome = run_history(make_history(seed))
        checks += outcome.checks
        if asked.verbose:
            print(seed, outcome.hash, outcome.failure or "")
        if outcome.failure is not None:
            failed += 1
            print(f"SEED={seed}: {outcome.failure}", flush=True)
            if not asked.keep_going:
                print("" if asked.no_shrink else shrink.report(outcome, run_history))
                break
    else:
        seed += 1
    took = time.process_time() - began
    runs = seed - asked.seed + bool(failed and not asked.keep_going)
    print(f"{runs} runs from seed {asked.seed}, {failed} failed, {runs / took:.1f} a second of processor")
    for name, n in sorted(checks.items()):
        print(f"  {n:9} {name}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
