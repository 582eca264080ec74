"""`inbox ls`: list the waiting traces."""

import time

import click

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.inbox import open_inbox
from dreamd.ctl.terminal.layout import format_moment, format_size, terminal_width, text_table
from dreamd.ctl.terminal.output import emit_answer, json_option


@click.command()
@json_option
@click.pass_obj
def ls(target: Target) -> None:
    """List the waiting traces, the oldest first.

    \b
    dreamctl inbox ls
    dreamctl inbox ls --json | jq -r '.[].trace_id'
    """
    with open_inbox(target) as box:
        found = box.list()
    now = time.time()
    rows = [(f["trace_id"], format_moment(f["written_at"], now), format_size(f["bytes"])) for f in found]
    table = text_table(("trace id", "written", "size"), rows, terminal_width())
    emit_answer(found, lambda: table if rows else f"Nothing waits in {box.folder}")
