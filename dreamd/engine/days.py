"""Days, in UTC, by which decisions and replies are counted."""

from datetime import date, timedelta
from math import isfinite

FIRST_DAY = date(1970, 1, 1)
LAST_DAY = (date.max - FIRST_DAY).days
DAY_S = 86_400


def day_number(at: float) -> int:
    """Return the day since 1970 of a moment; the first or the last one if a host's clock is beyond them."""
    return int(min(LAST_DAY, max(0.0, at // DAY_S))) if isfinite(at) else 0


def day_name(number: int) -> str:
    """Return the date of a day since 1970, such as "2026-11-30"."""
    return str(FIRST_DAY + timedelta(number))
