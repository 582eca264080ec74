"""The world of one run: its time, its chance, its order of events, and the hash of its history."""

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamd.clock import Clock

if TYPE_CHECKING:
    from tests.sim.life import Life
    from tests.sim.model import Model
    from tests.sim.threads import Stretches

START = 1_800_000_000.0  # unix s
TOLD = 250  # of the last events, which a failure shows
MOST_STEPS = 400_000  # of one run: a loop that never rests is a fault


class Violation(AssertionError):
    """A promise does not hold. `promise` is its name, the same after shrinking."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(f"{promise}: {text}")
        self.promise = promise


class World:
    """Time passes only here. `life`: the running daemon, or the last one. `model`: the checks."""

    life: "Life"
    model: "Model"

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed = seed
        self.folder = folder
        self.now = 1000.0
        self.jumped_s = 0.0  # by which the wall clock was set
        self.clock = Clock(
            wall=lambda: START + self.now + self.jumped_s,
            monotonic=lambda: self.now,
            boottime=lambda: self.now,
        )
        self.loop: Any = None  # of the running daemon
        self.stretches: Stretches | None = None  # the call of a thread that runs now
        self.parked = 0  # calls of threads that have begun and not ended
        self.parked_s = 0.0  # for how long that call is to be parked
        self.next_action: Callable[[], None] | None = None  # asked for by a call on a thread
        self.told: deque[str] = deque(maxlen=TOLD)
        self.steps = 0
        self.writer: Any = None  # another program at the inbox
        self.coming: dict[str, Any] = {}  # what goes wrong in the next daemon
        self.on_end: Callable[[], None] = lambda: None  # called when a daemon has ended
        self.failure: Violation | None = None
        self.state = folder / "state 0"  # of the running daemon, or of the next one
        self._states = count(1)
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._history = hashlib.blake2b(digest_size=8)
        self._order = self.chance("order")
        # How slow the disks are: with slow ones more goes on at once.
        self.pace = self.chance("pace").choice((1.0, 1.0, 25.0))

    def chance(self, purpose: str) -> random.Random:
        """Return a source of chance for one purpose, so that purposes do not disturb each other."""
        return random.Random(f"{self.seed}/{purpose}")

    def new_state_folder(self) -> Path:
        """Return a place for a copy of the state, from which the next daemon starts."""
        self.state = self.folder / f"state {next(self._states)}"
        return self.state

    def fail(self, promise: str, text: str) -> None:
        """Note that a promise does not hold. The run ends after this step, because code under test may catch what is
        raised here."""
        if self.failure is None:
            self.failure = Violation(promise, text)

    def note(self, *what: Any) -> None:
        """Add to the history. What differs between two processes (paths, pids) must not be in it."""
        line = f"{self.now - 1000.0:10.4f} {' '.join(map(str, what))}"
        self._history.update(line.encode())
        self.told.append(line)

    @property
    def hash(self) -> str:
        """Return the hash of the history so far."""
        return self._history.hexdigest()

    def after(self, seconds: float, function: Callable[..., Any], *args: Any) -> None:
        """Call a function later."""
        heapq.heappush(self._later, (self.now + seconds, next(self._numbers), partial(function, *args)))

    def run(self, until: float, quiet: Callable[[], bool] = lambda: False) -> None:
        """Let time pass until `until`, or until `quiet` returns true at a moment when nothing is ready."""
        while True:
            if not self._step():
                self.model.at_rest()
                if quiet():
                    return
                times = [self._later[0][0]] if self._later else []
                if self.loop is not None and (timer := self.loop.next_timer()) is not None:
                    times.append(timer)
                if not times or min(times) > until:
                    self.now = until
                    return
                self.now = max(self.now, min(times))
            if self.next_action is not None:
                action, self.next_action = self.next_action, None
                action()
            if self.failure is not None:
                raise self.failure

    def _step(self) -> bool:
        """Do one thing that is due now: of the world, or of the daemon. Return whether there was one."""
        self.steps += 1
        if self.steps > MOST_STEPS:
            self.fail("the daemon rests", "it never does")
        due = bool(self._later) and self._later[0][0] <= self.now
        if due and self._order.random() < 0.5:
            heapq.heappop(self._later)[2]()
            return True
        if self.loop is not None and self.loop.run_one():
            return True
        if due:
            heapq.heappop(self._later)[2]()
        return due
