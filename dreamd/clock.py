"""The clocks, as an argument, so that a test or a simulation can control time."""

import time
from collections.abc import Callable
from dataclasses import dataclass


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Clock:
    """The clocks. `wall` returns unix seconds, for people and files. `monotonic` returns seconds for intervals, and
    `boottime` does too, with the time that the machine slept."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    boottime: Callable[[], float] = _boottime
