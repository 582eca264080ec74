"""`recent`: list the last dialogues. `dream`: have one now."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.layout import fold, moment, number, table, width
from dreamd.ctl.terminal.output import command, emit, json_option, utc_option


@click.command
@click.option("-n", "count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
@json_option
@utc_option
@click.pass_obj
def recent(target: Target, count: int) -> None:
    """List the last dialogues, newest first.

    \b
    dreamctl recent -n 20
    dreamctl recent --json | jq '.[] | select(.outcome != "complete")'
    """
    with target.dreams() as daemon:
        answer = daemon.call(Method.DIALOGS_RECENT, count)
    if target.as_json:
        emit(answer)
    else:
        click.echo(show_recent(answer, width(), time.time()))


def show_recent(dialogues: Sequence[Mapping[str, Any]], columns: int, now: float) -> str:
    """Return the answer of `dialogs.recent` as a table."""
    if not dialogues:
        return fold(
            f"No dialogue yet. `{command('why')}` says what was decided after the last replies.", columns
        )
    rows = [
        [
            str(dialogue["id"]),
            moment(dialogue["started_at"], now),
            dialogue["outcome"] or "running",
            str(dialogue["lines"]),
            dialogue.get("client") or "-",
            number(dialogue.get("avg_trauma")),
            number(dialogue.get("avg_arousal")),
            number(dialogue.get("drift")),
            dialogue["trace_id"] or "-",
        ]
        for dialogue in dialogues
    ]
    head = ["id", "began", "outcome", "lines", "client", "trauma", "arousal", "drift", "trace id"]
    return table(head, rows, columns)
