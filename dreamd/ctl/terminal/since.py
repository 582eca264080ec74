"""`--since`: a moment in the past, as people write it."""

import re
import time
from datetime import datetime

import click

_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(rf"(\d{{1,6}})\s*({'|'.join(_UNITS)})", re.ASCII)


def parse_since(text: str) -> float:
    """Return the unix seconds of a length of time before now (`90min`, `3h`, `2d`, `1w`), or of a local date or time.
    Raise ValueError."""
    if ago := _AGO.fullmatch(text.strip()):
        return time.time() - int(ago[1]) * _UNITS[ago[2]]
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
