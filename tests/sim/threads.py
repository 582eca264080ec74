"""Threads of the simulation: each runs only while the world waits for it, until it parks or ends."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sim.world import World


WHOLE = 0.6  # of the calls without trouble


class Killed(BaseException):
    """Raised in a parked call whose process is killed."""


class _Thread:
    """A thread that works for one Stretch at a time, and is used again."""

    idle: list["_Thread"] = []  # noqa: RUF012 - of all runs of this process

    def __init__(self) -> None:
        self.go, self.back = threading.Lock(), threading.Lock()
        self.go.acquire()
        self.back.acquire()
        self.work: Callable[[], None] | None = None
        threading.Thread(target=self._run, name="simulated", daemon=True).start()

    def _run(self) -> None:
        while True:
            self.go.acquire()
            assert self.work is not None
            self.work()
            self.work = None
            self.back.release()


class Stretches:
    """A call on a thread of its own. `resume` runs it until it parks or ends. With `whole` it never parks, and needs no
    thread: a change of threads costs as much as twenty calls of files."""

    def __init__(self, world: "World", call: Callable[[], Any], *, whole: bool = False) -> None:
        self._world = world
        self._call = call
        self.whole = whole
        self._thread: _Thread | None = None
        self._kill = False
        self.ended = False
        self.result: Any = None
        self.error: BaseException | None = None

    def resume(self, *, kill: bool = False) -> bool:
        """Go on. Return whether the call has ended."""
        if self._thread is None and not self.whole:
            self._thread = _Thread.idle.pop() if _Thread.idle else _Thread()
            self._thread.work = self._work
            self._world.parked += 1
        self._kill = kill
        before, self._world.stretches = self._world.stretches, self
        if self._thread is None:
            self._work()
        else:
            self._thread.go.release()
            self._thread.back.acquire()
        self._world.stretches = before
        if self.ended and self._thread is not None:
            _Thread.idle.append(self._thread)
            self._world.parked -= 1
        return self.ended

    def park(self) -> None:
        """Let the world go on until the next `resume`. Called by the call itself."""
        if self._thread is None:
            return
        self._thread.back.release()
        self._thread.go.acquire()
        if self._kill:
            raise Killed

    def _work(self) -> None:
        try:
            self.result = self._call()
        except BaseException as error:
            self.error = error
        self.ended = True


class SimThread(Executor):
    """Stands for `process.threads.OneThread`: calls run one by one, and each begins and ends after a while."""

    def __init__(self, world: "World", name: str) -> None:
        self._world = world
        self._life = world.life
        self._chance = world.chance(f"thread {name}")
        self._reads_only = name in ("dreamd-place", "dreamd-files", "dreamd-sizes")
        self._calls: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._current: tuple[Future[Any], Stretches] | None = None
        self._begun = False  # the current call has
        self._ended: deque[Callable[[], None]] = deque()  # answers on their way to the loop
        self._life.threads.append(self)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self._calls.append((future, partial(fn, *args, **kwargs)))
        self._next()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        while cancel_futures and self._calls:
            self._calls.popleft()[0].cancel()

    def _next(self) -> None:
        while self._current is None and self._calls:
            future, call = self._calls.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            self._current = future, Stretches(self._world, call)
            self._begun = False
            if self._life.dead:
                self._go_on()
            else:
                self._world.after(self._world.pace * self._chance.uniform(1e-5, 2e-3), self._go_on)

    def _may_be_whole(self) -> bool:
        """Return whether nothing happens in the middle of the call that begins: most end before anything else does."""
        if self._reads_only:
            return True
        quiet = not (self._world.parked or self._life.has_file_trouble or self._world.writer.is_doomed)
        return quiet and self._chance.random() < WHOLE

    def _go_on(self, *, kill: bool = False) -> None:
        if self._current is None:
            return
        future, call = self._current
        if not self._begun:  # not earlier: another call may have been parked since, with the lock
            self._begun, call.whole = True, self._may_be_whole()
        while not call.resume(kill=kill):
            if not self._life.dead:
                self._world.after(self._world.parked_s, self._go_on)
                return
        self._current = None
        error = OSError(5, "the process was killed") if isinstance(call.error, Killed) else call.error
        settle = partial(future.set_exception, error) if error else partial(future.set_result, call.result)
        self._ended.append(settle)
        if self._life.dead:
            self._settle()
        else:
            self._world.after(self._world.pace * self._chance.uniform(1e-5, 1e-3), self._settle)
        self._next()

    def _settle(self) -> None:
        if self._ended:
            self._ended.popleft()()

    def die(self) -> None:
        """End the current call where it is parked, because its process was killed."""
        while self._ended:
            self._settle()
        self._go_on(kill=True)
