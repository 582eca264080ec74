"""`friend`: show the fragments that the imaginary friend is made of. Its sub-commands have a file each."""

import time
from typing import TYPE_CHECKING

import click
from dreamclient.messages import PAGE, Method

from dreamd.ctl.commands.friend.checkpoint import checkpoint
from dreamd.ctl.commands.friend.diff import diff
from dreamd.ctl.commands.friend.drop import drop
from dreamd.ctl.commands.friend.export import export
from dreamd.ctl.commands.friend.fragments import show_fragments
from dreamd.ctl.commands.friend.import_ import import_
from dreamd.ctl.commands.friend.reseed import reseed
from dreamd.ctl.commands.friend.restore import restore
from dreamd.ctl.terminal.ascii import is_plain
from dreamd.ctl.terminal.layout import terminal_width
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_json, json_option
from dreamd.ctl.terminal.summaries import Summarized

if TYPE_CHECKING:
    from dreamd.ctl.daemon.connection import Target

MOST = 20  # fragments that are shown if the user names no number


@click.group(
    cls=Summarized,
    invoke_without_command=True,
    short_help="Show and change what the imaginary friend is made of.",
)
@click.option("-n", "count", type=Count(0), help="How many, 0 for all.  [default: 20, and all with --json]")
@json_option
@click.pass_context
def friend(context: click.Context, count: int | None) -> None:
    """Show what the imaginary friend is made of, the heaviest fragments first.

    \b
    dreamctl friend                       his fragments, their weights and sources
    dreamctl friend diff                  what the last dialogue changed in him
    dreamctl friend drop 41               take a fragment out of him
    dreamctl friend checkpoint tuesday    keep him as he is
    dreamctl friend restore tuesday       make him what he was then
    dreamctl friend restore --before 7    make him what he was before dialogue 7
    dreamctl friend restore previous      undo the last change by a command

    The origin is what leo was born with. Dreams never remove it. restore, import and reseed may put another in its
    place, and the one that goes stays as a checkpoint: `origin~1`, `origin~2` and so on.
    """
    if context.invoked_subcommand is not None:
        return
    target: Target = context.obj
    with target.dreams() as daemon:
        fragments = daemon.call(Method.FRAGMENTS)
        kept = [] if target.as_json else daemon.call(Method.CHECKPOINTS, PAGE)
    if target.as_json:
        emit_json(fragments[: count or None])
    else:
        most = MOST if count is None else count
        changed_at = next((each["at"] for each in kept if each["name"] == "previous"), None)
        columns, now = terminal_width(), time.time()
        click.echo(
            show_fragments(fragments, columns, now, most=most, plain=is_plain(), changed_at=changed_at)
        )


for command in (checkpoint, restore, diff, drop, export, import_, reseed):
    friend.add_command(command)
