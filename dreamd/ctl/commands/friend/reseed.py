"""`friend reseed`: give the friend another origin."""

import sys
from pathlib import Path

import click
from dreamclient.messages import Method

from dreamd.ctl.commands.friend.change import CHANGE_S, print_change
from dreamd.ctl.commands.friend.exported import parse_exported, read_text_file
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine.output_files import RegularFile
from dreamd.ctl.terminal.output import json_option


@click.command(short_help="Give the friend another origin.")
@click.argument("file", type=RegularFile(exists=True))
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@click.pass_obj
def reseed(target: Target, file: Path, yes: bool) -> None:
    """Give the friend another origin: the sentences and short paragraphs of FILE, or the origin of a friend that
    was exported to it. What he has learnt since stays.

    `dreamctl friend restore previous` takes a reseed back. The origin that goes also stays as a checkpoint of its
    own, `origin~1` for example, at most 16 of them.

    \b
    dreamctl friend reseed README.md
    """
    text = read_text_file(file)
    exported = parse_exported(text)
    origin = [text] if exported is None else [each["text"] for each in exported if each.get("origin")]
    if not yes and not can_ask():
        raise click.UsageError("this replaces what leo was born with; say --yes if this is no terminal")
    if not yes:
        click.confirm("This replaces what leo was born with. Go on?", abort=True, err=True)
    with target.daemon() as daemon:
        print_change(target, "Reseeded", daemon.call(Method.RESEED, {"origin": origin}, timeout_s=CHANGE_S))


def can_ask() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin.isatty()
