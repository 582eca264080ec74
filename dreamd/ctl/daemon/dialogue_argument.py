"""The argument that names a dialogue: its number, the beginning of its trace id, or `last`."""

import click
from dreamclient.messages import Code, Method

from dreamd.ctl.daemon.completers import complete_dialogues
from dreamd.ctl.daemon.source import Source, refused_error
from dreamd.ctl.daemon.trace_ids import DIGITS, number_in_trace, only_trace

LOOKED_THROUGH = 2000  # dialogues, newest first


def resolve_dialogue(daemon: Source, asked: str) -> int:
    """Return the dialogue's number. Raise Refused if there is none, click.UsageError if there are several."""
    if not asked:  # a variable that was not set must not mean a dialogue
        raise click.UsageError("expected a number, a trace id or `last`, not an empty text")
    if asked.isdecimal():
        if len(asked) > DIGITS or not int(asked):
            raise click.UsageError("no dialogue has such a number; `dreamctl recent` lists them")
        return int(asked)
    if asked == "last":
        found = daemon.call(Method.DIALOGS_RECENT, 1)
    elif (number := number_in_trace(asked)) is not None:
        named = daemon.call(Method.DIALOGS_GET, number)
        found = [named] if named["trace_id"] == asked else []
    else:
        recent = daemon.newest(Method.DIALOGS_RECENT, LOOKED_THROUGH)
        meant = only_trace(asked, (each["trace_id"] or "" for each in recent))
        found = [each for each in recent if each["trace_id"] == meant]
    if not found:
        what = f"no trace id of the last dialogues begins with {asked!r}; `dreamctl recent` lists them"
        raise refused_error(Code.NOT_FOUND, "no dialogue yet" if asked == "last" else what)
    return int(found[0]["id"])


ID = click.argument("asked", metavar="[ID]", default="last", shell_complete=complete_dialogues)
