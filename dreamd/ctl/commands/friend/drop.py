"""`friend drop`: take fragments out of the friend."""

import click
from dreamclient.messages import Method

from dreamd.ctl.commands.friend.change import CHANGE_S, print_change
from dreamd.ctl.daemon.completers import complete_fragments
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import json_option


@click.command(short_help="Take fragments out of the friend.")
@click.argument(
    "numbers",
    metavar="ID...",
    nargs=-1,
    required=True,
    type=Count(1, (1 << 63) - 1),
    shell_complete=complete_fragments,
)
@json_option
@click.pass_obj
def drop(target: Target, numbers: tuple[int, ...]) -> None:
    """Take fragments out of the friend: those with these numbers, which `dreamctl friend` shows. A fragment of the
    origin stays: if one is named, nothing is dropped.

    What leo has learned from the lines stays in leo, and a later dream may say them again. To delete all that is kept
    of a dialogue, use `dreamctl forget ID --friend`.

    \b
    dreamctl friend drop 41
    dreamctl friend drop 41 44 52
    dreamctl friend restore previous        undo it
    """
    with target.daemon() as daemon:
        answer = daemon.call(Method.DROP, list(dict.fromkeys(numbers)), timeout_s=CHANGE_S)
    print_change(target, "Dropped", answer)
