"""`friend restore`: make the friend what he was."""

import click
from dreamclient.messages import Method

from dreamd.ctl.commands.friend.change import CHANGE_S, print_change
from dreamd.ctl.daemon.completers import complete_checkpoints
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.output import json_option


@click.command(short_help="Make the friend what he was at a checkpoint.")
@click.argument("name", shell_complete=complete_checkpoints)
@json_option
@click.pass_obj
def restore(target: Target, name: str) -> None:
    """Make the friend what he was at the checkpoint NAME, his origin included.

    What was there before is kept as `previous`, what was there before that as `previous~2`, and so on to
    `previous~5`. If NAME holds what is there already, nothing changes, and `previous` stays.

    \b
    dreamctl friend restore tuesday
    dreamctl friend restore previous        undo the last restore, import or reseed
    """
    with target.daemon() as daemon:
        print_change(target, "Restored", daemon.call(Method.RESTORE, name, timeout_s=CHANGE_S))
