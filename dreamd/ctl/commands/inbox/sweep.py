"""`inbox sweep`: remove what killed writers left."""

import click

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.inbox import open_inbox
from dreamd.ctl.terminal.output import emit_answer, json_option


@click.command()
@json_option
@click.pass_obj
def sweep(target: Target) -> None:
    """Remove temporary files that killed writers left. Safe at any time: those of a living writer stay.

    \b
    dreamctl inbox sweep
    """
    with open_inbox(target) as box:
        removed = box.sweep()
    emit_answer(removed, lambda: f"{len(removed)} temporaries removed")
