"""What the threads of the clients owe the process: its forks, its exit and its signals.

A forked child has only the thread that forked. If a hook's thread was in SQLite at that moment, SQLite's own locks
stay held in the child, and its first query hangs. So a fork waits until no hook is in an `unforked` block.
"""

import atexit
import os
import signal
import threading
import time
import weakref
from _signal import pthread_sigmask as _set_mask  # type: ignore[import-not-found]  # see call_host
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import MethodType
from typing import Any, TypeVar

T = TypeVar("T")

# Seconds. A hook's work takes milliseconds; one that hangs must not hang a host that forks.
FORK_WAITS_S = 1.0
EXIT_WAITS_S = 0.5  # that the exit of a host waits at most, for all threads of clients together
# Signals that the kernel gives to any thread. The others are faults of the thread that makes them.
_TO_ANY_THREAD = signal.valid_signals() - {
    getattr(signal, f"SIG{name}") for name in ("ABRT", "BUS", "FPE", "ILL", "SEGV", "SYS", "TRAP")
}


class _Process:
    def __init__(self) -> None:
        self.working = threading.RLock()  # a hook that forks does not wait for itself
        self.in_child: weakref.WeakKeyDictionary[Any, Callable[[Any], object]] = weakref.WeakKeyDictionary()
        # The runs that have a thread: `stop` asks it to end, `join` waits for that.
        self.running: set[Any] = set()
        # The signals that the host blocked when it started each of our threads.
        self.blocked: weakref.WeakKeyDictionary[threading.Thread, set[int]] = weakref.WeakKeyDictionary()

    def fork_begins(self) -> None:
        self.working.acquire(timeout=FORK_WAITS_S)

    def fork_ends(self) -> None:
        with suppress(RuntimeError):  # `fork_begins` did not get the lock in time
            self.working.release()

    def child_begins(self) -> None:
        self.working = threading.RLock()
        self.running.clear()  # the threads are the parent's
        for part, method in list(self.in_child.items()):
            method(part)

    def exit(self) -> None:
        parts, deadline = list(self.running), time.monotonic() + EXIT_WAITS_S
        for part in parts:
            part.stop()
        for part in parts:
            part.join(max(0.0, deadline - time.monotonic()))


_process = _Process()
started = _process.running.add  # (part): stop it at the exit of this process
ended = _process.running.discard  # (part): it has ended, or was abandoned


def start_thread(thread: threading.Thread) -> None:
    """Start a thread that gets no signal of the process. A host that blocks a signal while it saves would get it
    through that thread: Python runs the handler, or the process ends. Raise RuntimeError if no thread is left."""
    theirs = _set_mask(signal.SIG_BLOCK, ())  # without a change: a handler may raise within each call
    try:
        _set_mask(signal.SIG_BLOCK, _TO_ANY_THREAD)  # the thread inherits it
        _process.blocked[thread] = theirs
        thread.start()
    finally:
        _set_mask(signal.SIG_SETMASK, theirs)


def call_host(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function of the host's on a thread of `start_thread`. A process that it starts inherits the signals that
    the host blocks, not ours.

    Each hook call passes here. The `pthread_sigmask` of `signal` makes members of an enumeration of the 60 signals,
    which takes 50 µs."""
    theirs = _process.blocked.get(threading.current_thread())
    if theirs is None:
        return function(*arguments)
    ours = _set_mask(signal.SIG_SETMASK, theirs)
    try:
        return function(*arguments)
    finally:
        _set_mask(signal.SIG_SETMASK, ours)


@contextmanager
def unforked() -> Iterator[None]:
    """Hold forks back during this block, for a second at most. Hooks of several leos take turns."""
    lock = _process.working  # in a child that the block forks, it is another one
    # An interrupt at a fork leaves the lock held.
    if not lock.acquire(timeout=FORK_WAITS_S):
        lock = _process.working = threading.RLock()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def call_in_child(method: Callable[[], object]) -> None:
    """Call a bound method in each forked child, as long as its object lives. An object has one such method."""
    assert isinstance(method, MethodType)
    _process.in_child[method.__self__] = method.__func__


os.register_at_fork(
    before=_process.fork_begins, after_in_parent=_process.fork_ends, after_in_child=_process.child_begins
)
atexit.register(_process.exit)
