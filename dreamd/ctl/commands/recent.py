"""`recent`: list the last dialogues, one on each line."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from dreamclient.messages import OPENING_CHARS, Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.ascii import as_shown
from dreamd.ctl.terminal.dialogues import ending_in_words
from dreamd.ctl.terminal.layout import GAP, beginning_of, fold_text, format_moment, terminal_width, text_table
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import command_to_copy, emit_answer, json_option, utc_option

LEAST = 16  # columns for the first words; if there are fewer, other columns are left out
LEAST_SHOWN = 2  # columns of the table, beside the words


@click.command(short_help="List the last dialogues with their first words.")
@click.option("-n", "count", type=Count(1, 1000), default=10, show_default=True, help="How many.")
@json_option
@utc_option
@click.pass_obj
def recent(target: Target, count: int) -> None:
    """List the last dialogues, newest first: when, how they ended, and their first words.

    \b
    dreamctl recent -n 20
    dreamctl recent --json | jq '.[] | select(.outcome != "complete")'
    """
    with target.dreams() as daemon:
        answer = daemon.call(Method.DIALOGS_RECENT, count)
    emit_answer(answer, lambda: show_recent(answer, terminal_width(), time.time()))


def show_recent(dialogues: Sequence[Mapping[str, Any]], columns: int, now: float) -> str:
    """Return the answer of `dialogs.recent` as text. The clients are named if there are several."""
    if not dialogues:
        return fold_text(
            f"No dialogue yet. `{command_to_copy('why')}` says what was decided after the last replies.",
            columns,
        )
    head = ["id", "began", "outcome", "lines", "client"]
    rows = [
        [
            str(dialogue["id"]),
            format_moment(dialogue["started_at"], now),
            ending_in_words(dialogue),
            str(dialogue["lines"]),
            dialogue.get("client") or "-",
        ]
        for dialogue in dialogues
    ]
    shown = len(head) if len({row[-1] for row in rows}) > 1 else len(head) - 1
    while True:
        lines = text_table(head[:shown], [row[:shown] for row in rows], columns).splitlines()
        indent = max(map(len, lines)) + len(GAP)
        if columns - indent >= LEAST or shown == LEAST_SHOWN:
            break
        shown -= 1
    words = ["first words", *(_opening_words(dialogue, columns - indent) for dialogue in dialogues)]
    return "\n".join(f"{line:{indent}}{said}".rstrip() for line, said in zip(lines, words, strict=True))


def _opening_words(dialogue: Mapping[str, Any], columns: int) -> str:
    """Return as many of the first words as there is room for. The daemon sends at most OPENING_CHARS characters."""
    opening = dialogue.get("opening") or "-"
    more = "." * (len(opening) == OPENING_CHARS)
    return beginning_of(as_shown(opening) + more, min(columns, OPENING_CHARS))
