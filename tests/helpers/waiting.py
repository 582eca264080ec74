"""Use where no event can be awaited: `until` blocks the thread, `until_on_loop` lets the loop run."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from dreamd.ctl.machine.places import has_listener

DEADLINE_S = 30.0


def until(
    holds: Callable[[], object], what: str = "the condition holds", deadline_s: float = DEADLINE_S
) -> None:
    """Wait until `holds()`. Raises AssertionError with `what` at the deadline.

    A look may start a process, so the pause behind it is twice as long."""
    end = time.monotonic() + deadline_s
    while True:
        began = time.monotonic()
        if holds():
            return
        now = time.monotonic()
        assert now < end, f"not in {deadline_s} s: {what}"
        time.sleep(max(0.01, 2 * (now - began)))


def until_listened(path: Path) -> None:
    """Wait until a process listens at `path`. The file alone is there as soon as the socket is bound."""
    until(lambda: has_listener(path), "a process listens")


async def until_on_loop(holds: Callable[[], object]) -> None:
    """Let the loop run until `holds()`. Raises TimeoutError at the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.002)
