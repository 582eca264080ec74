"""A fork waits for what a hook is in the middle of.

A child has only the thread that forked. If a hook's thread was in SQLite just then, SQLite's own locks stay held
in the child, and its first query hangs for ever; if it had leo's turn, the child has the dreams' chance for its own.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# Seconds. A hook's work takes milliseconds; one that hangs must not hang whoever forks.
FORK_WAITS_S = 1.0

_lock = threading.RLock()  # a hook that forks waits for nobody
_forking = threading.local()


@contextmanager
def unforked() -> Iterator[None]:
    """No fork happens in here."""
    with _lock:
        yield


def _before() -> None:
    _forking.waited = _lock.acquire(timeout=FORK_WAITS_S)


def _in_parent() -> None:
    if _forking.waited:
        _lock.release()


def _in_child() -> None:
    global _lock
    _lock = threading.RLock()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
