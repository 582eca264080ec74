"""`--since`: a moment in the past, and a length of time, as people write them."""

import re
import time
from datetime import datetime

import click

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
MOST_S = 366 * _UNITS["d"]  # that the daemon takes
_LENGTH = re.compile(rf"(\d{{1,6}})\s*({'|'.join(_UNITS)})", re.ASCII)


def parse_length(text: str) -> float | None:
    """Return the seconds of a length of time (`90min`, `3h`, `2d`, `1w`), or None if it is none."""
    found = _LENGTH.fullmatch(text.strip())
    return float(int(found[1]) * _UNITS[found[2]]) if found else None


def parse_length_option(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Return the seconds that an argument gives, at least a second and at most a year. Raise click.BadParameter."""
    length = None if text is None else parse_length(text)
    if text is not None and not 1 <= (length or 0) <= MOST_S:
        raise click.BadParameter(f"expected a length of time up to a year (30m, 2h, 1d, 1w), not {text!r}")
    return length


def parse_since(text: str) -> float:
    """Return the unix seconds of a length of time before now (`90min`, `3h`, `2d`, `1w`), or of a local date or time.
    Raise ValueError."""
    if (ago := parse_length(text)) is not None:
        return time.time() - ago
    return datetime.fromisoformat(text.strip()).timestamp()


def parse_since_option(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    """Return the unix seconds that an option gives. Raise click.BadParameter."""
    try:
        return None if text is None else parse_since(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"expected a length of time (90min, 3h, 2d, 1w) or a date (2026-11-30, '2026-11-30 14:00'), not {text!r}"
        ) from None


since_option = click.option(
    "--since", metavar="WHEN", callback=parse_since_option, help="Those begun since then: 3h, 2d, or a date."
)
