"""A host that forks: the fork waits for what hooks are in the middle of, and the child begins anew.

A child has only the thread that forked. If a hook's thread was in SQLite just then, SQLite's own locks stay held
in the child, and its first query hangs for ever; if it had leo's turn, the child has the dreams' chance for its own.
"""

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Seconds. A hook's work takes milliseconds; one that hangs must not hang whoever forks.
FORK_WAITS_S = 1.0


class _Forks:
    """The hooks at work in this process, and its forks: these go first, and hooks work side by side."""

    def __init__(self) -> None:
        self._mine = threading.local()
        self._renew()

    def _renew(self) -> None:
        self._changed = threading.Condition()
        self._at_work = self._depth  # in a child, the hook that forked it goes on
        self._pending = 0  # forks that wait, or happen

    @property
    def _depth(self) -> int:
        """How many blocks this thread is in."""
        depth: int = getattr(self._mine, "depth", 0)
        return depth

    @contextmanager
    def unforked(self) -> Iterator[None]:
        with self._changed:
            if not self._depth and not self._changed.wait_for(lambda: not self._pending, FORK_WAITS_S):
                self._pending = 0  # an interrupt at a fork: it does not say that it is over
            self._count(1)
        try:
            yield
        finally:
            with self._changed:
                self._count(-1)
                self._changed.notify_all()

    def _count(self, more: int) -> None:
        self._at_work += more
        self._mine.depth = self._depth + more

    def before(self) -> None:
        with self._changed:
            self._pending += 1
            # Not for this thread's own: it may be a hook that forks.
            self._changed.wait_for(lambda: self._at_work == self._depth, FORK_WAITS_S)

    def in_parent(self) -> None:
        with self._changed:
            self._pending = max(0, self._pending - 1)
            self._changed.notify_all()

    def in_child(self) -> None:
        self._renew()


_forks = _Forks()
unforked = _forks.unforked  # a context manager: no fork happens in its block
os.register_at_fork(before=_forks.before, after_in_parent=_forks.in_parent, after_in_child=_forks.in_child)


def call_in_child(method: Callable[[], object]) -> None:
    """Call a bound method in each forked child, as long as its object lives: the registration has no end."""
    here = weakref.WeakMethod(method)
    os.register_at_fork(after_in_child=lambda: (call := here()) and call())
