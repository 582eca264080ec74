"""`inbox`: read and write the dream inbox in its folder. Its sub-commands have a file each."""

import click

from dreamd.ctl.commands.inbox.ack import ack
from dreamd.ctl.commands.inbox.ls import ls
from dreamd.ctl.commands.inbox.persist import persist
from dreamd.ctl.commands.inbox.relay.command import relay
from dreamd.ctl.commands.inbox.relay.pull import pull
from dreamd.ctl.commands.inbox.schema import schema
from dreamd.ctl.commands.inbox.show import show
from dreamd.ctl.commands.inbox.sweep import sweep
from dreamd.ctl.commands.inbox.verify import verify
from dreamd.ctl.terminal.output import json_option
from dreamd.ctl.terminal.summaries import Summarized


@click.group(cls=Summarized, short_help="Read and write the dream inbox.")
@json_option
def inbox() -> None:
    """Read and write the dream inbox, the files that other memory systems read (docs/guides/inbox.md).

    \b
    dreamctl inbox ls
    dreamctl inbox show dream-1700000000-7-0a1b2c3d
    dreamctl inbox ack dream-1700000000-7-0a1b2c3d
    """


for command in (ls, show, ack, persist, verify, sweep, schema, relay, pull):
    inbox.add_command(command)
