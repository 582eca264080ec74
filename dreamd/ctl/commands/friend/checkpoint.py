"""`friend checkpoint`: keep the friend under a name, list what is kept, delete it."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.completers import complete_checkpoints
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.layout import fold_text, format_moment, terminal_width, text_table
from dreamd.ctl.terminal.output import command_to_copy, emit_json, emit_text, json_option, utc_option


@click.command
@click.argument("name", required=False, shell_complete=complete_checkpoints)
@click.option("--again", is_flag=True, help="Replace an earlier checkpoint of that name.")
@click.option("--delete", is_flag=True, help="Delete the checkpoint NAME. There is no way back.")
@json_option
@utc_option
@click.pass_obj
def checkpoint(target: Target, name: str | None, again: bool, delete: bool) -> None:
    """Keep the friend as he is, under NAME. Without a name, list the checkpoints.

    At most 32 may be kept under names of your own.

    \b
    dreamctl friend checkpoint tuesday
    dreamctl friend checkpoint
    dreamctl friend checkpoint --delete tuesday
    """
    if delete and (name is None or again):
        raise click.UsageError("--delete takes the NAME of a checkpoint, and no --again")
    with target.dreams() if name is None else target.daemon() as daemon:
        if name is None:
            answer = daemon.call(Method.CHECKPOINTS, 1000)
        elif delete:
            answer = daemon.call(Method.DELETE_CHECKPOINT, name)
        else:
            answer = daemon.call(Method.CHECKPOINT, name, again)
    if target.as_json:
        emit_json(answer)
    elif name is None:
        click.echo(show_checkpoints(answer, terminal_width(), time.time()))
    elif delete:
        click.echo(f"Deleted the checkpoint {name}.")
    else:
        kept = f"Kept as {name}: {answer['fragments']} fragments, {answer['origin']} of them origin."
        emit_text(kept)


def show_checkpoints(checkpoints: Sequence[Mapping[str, Any]], columns: int, now: float) -> str:
    """Return the answer of `friend.checkpoints` as text."""
    if not checkpoints:
        return fold_text(
            f"Nothing is kept yet; `{command_to_copy('friend checkpoint NAME')}` keeps him as he is.", columns
        )
    rows = [
        [each["name"], format_moment(each["at"], now), str(each["learned"]), str(each["origin"])]
        for each in checkpoints
    ]
    return text_table(["name", "kept", "learned", "origin"], rows, columns)
