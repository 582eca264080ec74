"""The two clocks, handed in so that a test or a simulation can own time."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """`wall` gives unix seconds, for what people and files read; `monotonic` seconds, for intervals."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
