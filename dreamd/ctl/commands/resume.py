"""`resume`: end the pause of all dreams."""

import time

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.own import daemon_or_own
from dreamd.ctl.terminal.layout import format_span
from dreamd.ctl.terminal.output import emit_json, emit_text, json_option


@click.command(short_help="End the pause of all dreams.")
@json_option
@click.pass_obj
def resume(target: Target) -> None:
    """End the pause: dreams begin again, and suspended ones go on.

    \b
    dreamctl resume
    """
    with daemon_or_own(target) as daemon:
        ended = daemon.call(Method.RESUME)
    if target.as_json:
        emit_json(ended)
    elif ended["at"] is None:
        click.echo("Dreams were not paused.")
    else:
        lasted = format_span(max(0.0, time.time() - ended["at"]))
        emit_text(f"Dreams begin again. They were paused for {lasted}.")
