"""The argument that names a dialogue: its number, the beginning of its trace id, or `last`."""

import re
from collections.abc import Iterable

import click
from dreamclient.messages import Code, Method

from dreamd.ctl.daemon.completers import complete_dialogues
from dreamd.ctl.daemon.source import Source, refused_error
from dreamd.ctl.terminal.output import command_to_copy

LOOKED_THROUGH = 2000  # dialogues, newest first
DIGITS = 18  # of the largest number that the database can hold
# A trace id, with the dialogue's number in it.
_WHOLE = re.compile(rf"dream-\d+-(\d{{1,{DIGITS}}})-[0-9a-f]{{8}}", re.ASCII)


def resolve_dialogue(daemon: Source, asked: str) -> int:
    """Return the dialogue's number. Raise Refused if there is none, click.UsageError if there are several."""
    if asked.isdecimal():
        if len(asked) > DIGITS or not int(asked):
            raise click.UsageError(f"no dialogue has such a number; `{command_to_copy('recent')}` lists them")
        return int(asked)
    if asked == "last":
        found = daemon.call(Method.DIALOGS_RECENT, 1)
    elif whole := _WHOLE.fullmatch(asked):
        named = daemon.call(Method.DIALOGS_GET, int(whole[1]))
        found = [named] if named["trace_id"] == asked else []
    else:
        recent = daemon.newest(Method.DIALOGS_RECENT, LOOKED_THROUGH)
        meant = only_trace(asked, (each["trace_id"] or "" for each in recent))
        found = [each for each in recent if each["trace_id"] == meant]
    if not found:
        what = f"no trace id of the last dialogues begins with {asked!r}; `{command_to_copy('recent')}` lists them"
        raise refused_error(Code.NOT_FOUND, "no dialogue yet" if asked == "last" else what)
    number: int = found[0]["id"]
    return number


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
    found = _WHOLE.fullmatch(trace_id)
    return int(found[1]) if found else None


ID = click.argument("asked", metavar="[ID]", default="last", shell_complete=complete_dialogues)
