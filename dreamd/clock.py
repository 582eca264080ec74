"""The two clocks, as an argument, so that a test or a simulation can control time."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """A pair of clocks. `wall` returns unix seconds, for people and files. `monotonic` returns seconds for
    intervals."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
