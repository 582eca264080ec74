"""Which dialogue a person means: its number, the beginning of its trace id, or `last`."""

import click
from dreamclient.messages import Code, Method

from dreamd.ctl.connection import Daemon, Refused, command

LOOKED_THROUGH = 2000  # dialogues, newest first


def dialogue(daemon: Daemon, asked: str) -> int:
    """The dialogue's number. Raises Refused where there is none, click.UsageError where there are several."""
    if asked.isdecimal():
        return int(asked)
    if asked == "last":
        found = daemon.call(Method.DIALOGS_RECENT, 1)
    else:
        recent = daemon.call(Method.DIALOGS_RECENT, LOOKED_THROUGH)
        found = [each for each in recent if (each["trace_id"] or "").startswith(asked)]
    if not found:
        what = (
            "no dialogue yet"
            if asked == "last"
            else f"no trace id of the last dialogues begins with {asked!r}"
        )
        raise Refused(f"NOT_FOUND ({Code.NOT_FOUND}): {what}; `{command('recent')}` lists them")
    if len(found) > 1:
        some = ", ".join(each["trace_id"] for each in found[:3])
        raise click.UsageError(f"{asked!r} begins {len(found)} trace ids: {some}{', ..' * (len(found) > 3)}")
    number: int = found[0]["id"]
    return number
