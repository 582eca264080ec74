"""`drift`: show how far the friend has moved from the origin."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.ascii import is_plain
from dreamd.ctl.terminal.bars import draw_chart
from dreamd.ctl.terminal.layout import fold_text, format_moment, format_number, terminal_width
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_answer, json_option, utc_option

ROWS = 8  # of the chart

Row = Mapping[str, Any]


@click.command(short_help="Show how far the friend has moved from the origin.")
@click.option("-n", "count", type=Count(1, 4000), default=200, show_default=True, help="Dialogues.")
@json_option
@utc_option
@click.pass_obj
def drift(target: Target, count: int) -> None:
    """Show how far the friend has moved from the origin after each dialogue. 0 is the origin itself, 1 nothing of it.

    \b
    dreamctl drift -n 1000
    """
    with target.dreams() as daemon:
        answer = daemon.newest(Method.DRIFT, count)
    emit_answer(answer, lambda: show_drift(answer, terminal_width(), time.time(), plain=is_plain()))


def show_drift(drift: Sequence[Row], columns: int, now: float, *, plain: bool = False) -> str:
    """Return the answer of `friend.drift` as a chart, with its ends and its farthest point in words below. A chart
    without a height is a sentence."""
    if not drift:
        return "No dialogue has spoken yet."
    newest, oldest = drift[0], drift[-1]
    if len(drift) == 1:
        alone = f"{format_number(newest['drift'])} after dialogue {newest['id']} ({format_moment(newest['at'], now)})"
        return fold_text(f"{alone}. A chart needs two.", columns)
    farthest = max(drift, key=lambda each: float(each["drift"]))
    span = (
        f"From dialogue {oldest['id']} ({format_moment(oldest['at'], now)}) to {newest['id']} "
        f"({format_moment(newest['at'], now)})"
    )
    if format_number(farthest["drift"]) == format_number(0.0):
        return fold_text(f"{span} the friend stayed at his origin: the drift is 0.00 after each.", columns)
    words = (
        f"{span}: {format_number(oldest['drift'])} to {format_number(newest['drift'])}, "
        f"farthest {format_number(farthest['drift'])} after {farthest['id']}."
    )
    values = [each["drift"] for each in reversed(drift)]
    return "\n".join([*draw_chart(values, columns, ROWS, plain), "", fold_text(words, columns)])
