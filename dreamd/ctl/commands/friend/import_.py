"""`friend import`: replace the friend by one that was exported."""

from pathlib import Path

import click
from dreamclient.messages import Method

from dreamd.ctl.commands.friend.change import CHANGE_S, print_change
from dreamd.ctl.commands.friend.exported import parse_exported, read_text_file
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine.output_files import RegularFile
from dreamd.ctl.terminal.output import json_option


@click.command("import", short_help="Replace the friend by one that was exported.")
@click.argument("file", type=RegularFile(exists=True))
@json_option
@click.pass_obj
def import_(target: Target, file: Path) -> None:
    """Make the friend what FILE says, which `dreamctl friend export` wrote, his origin included.

    A file without an origin leaves his own in place. `dreamctl friend restore previous` takes an import back.

    \b
    dreamctl friend import friend.json
    """
    exported = parse_exported(read_text_file(file))
    if exported is None:
        raise click.UsageError(f"{file} was not written by `dreamctl friend export`")
    with target.daemon() as daemon:
        answer = daemon.call(Method.IMPORT, exported, timeout_s=CHANGE_S)
    print_change(target, "Imported", answer)
