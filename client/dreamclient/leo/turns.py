"""When a hook may touch leo's field: while leo is in none of his calls, and once between two of them.

A plain lock starves the hooks, since a leo who talks takes it again at once. So a waiting hook is handed its
turn as leo leaves a call, and his next call waits for that one turn.
"""

import random
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from dreamclient.clients.process import call_in_child, unforked
from dreamclient.errors import DreamError

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

# Seconds. A reply of a grown leo takes up to 15 s; the daemon gives a hook 30.
HOOK_WAITS_S = 25.0
# Seconds. What leo waits for a turn at most: a turn takes milliseconds, a hook that hangs must not hang him.
LEO_WAITS_S = 1.0


class NoTurn(DreamError):
    """Leo was busy for all the time that a hook may wait, or his event loop does not run."""


class Turns(Protocol):
    """Runs a hook's work in a turn."""

    def take(self, work: Callable[[], T]) -> T:
        """What `work` returns, done while leo is in no call. Raises NoTurn."""


class OwnChance:
    """The global `random`, whose state decides leo's replies, is in a state of the dreams' own for a turn. Merely
    put back, it would give each line the draws of the one before."""

    def __init__(self) -> None:
        self._other = random.Random().getstate()

    def swap(self) -> None:
        """Between the dreams' state and leo's."""
        theirs, self._other = self._other, random.getstate()
        random.setstate(theirs)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """A whole turn, on leo's own thread."""
        with unforked():
            self.swap()
            try:
                yield
            finally:
                self.swap()


class ThreadTurns:
    """Turns of a `LeoField`: its calls come from any threads of leo's, the hooks' from others.

    Leo's calls nest (`reply` observes) and never wait for one another. `ready` says whether the field is loaded.
    """

    def __init__(self, ready: Callable[[], bool] = lambda: True, hook_waits_s: float = HOOK_WAITS_S) -> None:
        self._ready = ready
        self._hook_waits_s = hook_waits_s
        self._depth = threading.local()
        self._chance = OwnChance()
        self._renew()
        call_in_child(self._renew)

    def _renew(self) -> None:
        """In a forked child another thread of the parent may have held the lock."""
        self._changed = threading.Condition()
        self._one_hook = threading.Lock()
        self._inside = int(self._nested > 0)  # how many of leo's threads are in a call
        self._waiting = False  # a hook, for its turn
        self._given = False  # the turn is a hook's
        self._overtaken = False  # leo did not wait for its end

    @property
    def _nested(self) -> int:
        nested: int = getattr(self._depth, "calls", 0)
        return nested

    # leo's threads

    def enter(self) -> bool:
        """Leo begins a call. True where it is not within another."""
        nested = self._nested
        if not nested:
            with self._changed:
                if self._given and not self._overtaken:  # who hangs is waited for once
                    self._overtaken = not self._changed.wait_for(lambda: not self._given, LEO_WAITS_S)
                self._inside += 1
        self._depth.calls = nested + 1
        return not nested

    def leave(self) -> None:
        """Leo's call has ended; who waits gets a turn."""
        self._depth.calls = nested = self._nested - 1
        if not nested:
            with self._changed:
                self._inside -= 1
                if self._waiting and not self._inside and self._ready():
                    self._given = True
                    self._changed.notify_all()

    # the hooks' thread

    def take(self, work: Callable[[], T]) -> T:
        with self._one_hook:
            self._wait()
            with unforked():
                self._chance.swap()
                try:
                    return work()
                finally:
                    with self._changed:
                        if not self._overtaken:  # else leo has drawn meanwhile, and goes on from there
                            self._chance.swap()
                        self._given = self._overtaken = False
                        self._changed.notify_all()

    def _wait(self) -> None:
        with self._changed:
            if not self._inside and self._ready():
                self._given = True
                return
            self._waiting = True
            given = self._changed.wait_for(lambda: self._given, self._hook_waits_s)
            self._waiting = False
            if not given:
                raise NoTurn(f"leo was in a call, or not loaded, for {self._hook_waits_s:g} s")


class _Asked:
    """A turn that is waited for on another thread."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._done = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error  # it is raised where the turn was asked for
            if not isinstance(error, Exception):  # and here, where a signal of leo's was handled meanwhile
                raise
        finally:
            self._done.set()

    def result(self, timeout_s: float) -> Any:
        if not self._done.wait(timeout_s):
            raise NoTurn(f"leo was in a call, or his loop stood, for {timeout_s:g} s")
        if self._error is not None:
            raise self._error
        return self._result


class LoopTurns:
    """Turns of an `AsyncLeoField`: on its own event loop, while its lock is free.

    There a turn is one step of the loop, so it neither takes the lock nor needs a task, which would complain
    if the loop ended first. `serve` is called at the end of each call: there may be no step before the next.
    """

    def __init__(
        self, lock: Any, ready: Callable[[], bool] = lambda: True, hook_waits_s: float = HOOK_WAITS_S
    ) -> None:
        self._lock = lock
        self._ready = ready
        self._hook_waits_s = hook_waits_s
        self._chance = OwnChance()
        self._asked: deque[_Asked] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def note_loop(self) -> None:
        """On the loop, as leo begins a call: this is where he lives now."""
        import asyncio  # here it is loaded; a LeoField may do without

        self._loop = asyncio.get_running_loop()

    def serve(self) -> None:
        """On the loop: the turn that is waited for, if leo is in no call."""
        if not self._asked or self._lock.locked() or not self._ready():
            return
        with suppress(IndexError):  # it has been given up just now
            asked = self._asked.popleft()
            with self._chance.turn():
                asked.run()

    def take(self, work: Callable[[], T]) -> T:
        loop, asked = self._loop, _Asked(work)
        if loop is None or not loop.is_running():
            raise NoTurn("leo's event loop does not run")
        self._asked.append(asked)
        try:
            loop.call_soon_threadsafe(self.serve)
            result: T = asked.result(self._hook_waits_s)
        except RuntimeError:
            if not loop.is_closed():
                raise
            raise NoTurn("leo's event loop has been closed") from None
        finally:
            with suppress(ValueError):
                self._asked.remove(asked)
        return result
