"""The clocks, as an argument, so that a test or a simulation can control time."""

import time
from collections.abc import Callable
from datetime import date, timedelta
from math import isfinite

from msgspec import Struct


def _boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


FIRST_DAY = date(1970, 1, 1)
LAST_DAY = (date.max - FIRST_DAY).days
DAY_S = 86_400


class Clock(Struct, frozen=True):
    """The clocks. `wall` returns unix seconds, for people and files. `monotonic` returns seconds for intervals, and
    `boottime` does too, with the time that the machine slept."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    boottime: Callable[[], float] = _boottime


def day_number(at: float) -> int:
    """Return the day since 1970 (UTC) of a moment; the first or the last one if a host's clock is beyond them."""
    if 0.0 <= at < LAST_DAY * DAY_S:
        return int(at // DAY_S)
    return LAST_DAY if isfinite(at) and at > 0.0 else 0


def day_name(number: int) -> str:
    """Return the date of a day since 1970, such as "2026-11-30"."""
    return str(FIRST_DAY + timedelta(number))
