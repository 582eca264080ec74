"""Trace ids as users type them: the beginning of one, and the number of a dialogue in it."""

import re
from collections.abc import Iterable

import click

DIGITS = 18  # of the largest number that the database can hold
# A trace id of dreamd, with the dialogue's number in it.
_OWN = re.compile(rf"dream-\d+-(\d{{1,{DIGITS}}})-[0-9a-f]{{8}}", re.ASCII)


def only_trace(asked: str, trace_ids: Iterable[str]) -> str | None:
    """Return the trace id that begins with `asked`, or None. Raise click.UsageError if there are several."""
    found = [trace_id for trace_id in trace_ids if trace_id.startswith(asked)]
    if len(found) > 1:
        some = ", ".join(found[:3]) + ", .." * (len(found) > 3)
        raise click.UsageError(
            f"{asked!r} begins {len(found)} trace ids: {some}; type more of the one you mean"
        )
    return found[0] if found else None


def number_in_trace(trace_id: str) -> int | None:
    """Return the number of the dialogue that a trace id names, or None if the trace is no dialogue of dreamd."""
    found = _OWN.fullmatch(trace_id)
    return int(found[1]) if found else None
