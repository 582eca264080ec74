"""Waiting for another process, where there is nothing to be told by."""

import time
from collections.abc import Callable

DEADLINE_S = 30.0


def until(holds: Callable[[], object], what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until `holds()`; fail with `what` at the deadline."""
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end, f"not in {deadline_s} s: {what}"
        time.sleep(0.02)
