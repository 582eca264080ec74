"""`friend restore`: make the friend what he was."""

import click
from dreamclient.messages import Method

from dreamd.ctl.commands.friend.change import CHANGE_S, print_change
from dreamd.ctl.daemon.completers import complete_checkpoints, complete_dialogues
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.dialogue_argument import resolve_dialogue
from dreamd.ctl.terminal.output import json_option


@click.command(short_help="Make the friend what he was at a checkpoint, or before a dialogue.")
@click.argument("name", required=False, shell_complete=complete_checkpoints)
@click.option(
    "--before",
    metavar="ID",
    shell_complete=complete_dialogues,
    help="Make him what he was before this dialogue: its number, the beginning of its trace id, or `last`.",
)
@json_option
@click.pass_obj
def restore(target: Target, name: str | None, before: str | None) -> None:
    """Make the friend what he was at the checkpoint NAME, or before a dialogue, his origin included. What that needs is
    kept with the newest dialogues (`store.replay_dialogues`, 256 by default).

    What was there before is kept as `previous`, what was there before that as `previous~2`, and so on to
    `previous~5`. If nothing changes, `previous` stays. If a fragment comes back that was dropped or forgotten, that is
    said.

    A dream that runs is waited for. After 10 s it is suspended, and goes on when the friend is restored.

    \b
    dreamctl friend restore tuesday
    dreamctl friend restore --before 7
    dreamctl friend restore previous        undo the last change by a command
    """
    if (name is None) == (before is None):
        raise click.UsageError("name a checkpoint, or a dialogue with --before")
    with target.daemon() as daemon:
        asked = [name] if before is None else [None, resolve_dialogue(daemon, before)]
        print_change(target, "Restored", daemon.call(Method.RESTORE, *asked, timeout_s=CHANGE_S))
