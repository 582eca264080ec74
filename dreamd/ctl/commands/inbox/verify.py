"""`inbox verify`: check every file."""

import sys

import click

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.inbox import open_inbox
from dreamd.ctl.terminal.layout import label_rows, terminal_width
from dreamd.ctl.terminal.output import emit_json, json_option


@click.command(short_help="Check every file against its schema.")
@json_option
@click.pass_obj
def verify(target: Target) -> None:
    """Check every file against its schema, and print the problems of each. Exit code 1 if there are any.

    \b
    dreamctl inbox verify
    """
    with open_inbox(target) as box:
        found = box.verify()
    wrong = [entry for entry in found if entry["problems"]]
    if target.as_json:
        emit_json(found)
    else:
        for entry in wrong:
            click.echo(label_rows([(entry["file"], "; ".join(entry["problems"]))], terminal_width()))
        click.echo(f"{len(found)} files, {len(wrong)} with problems")
    sys.exit(1 if wrong else 0)
