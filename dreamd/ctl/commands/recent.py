"""`recent`: the last dialogues. `dream`: have one now."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import DIALOGUE_S, Target, command, emit, json_option, utc_option
from dreamd.ctl.terminal.layout import fold, moment, number, table, width

COLOURS = {"leo": "cyan", "friend": "magenta"}  # by speaker


@click.command
@click.option("-n", "count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")
@json_option
@utc_option
@click.pass_obj
def recent(target: Target, count: int) -> None:
    """The last dialogues, newest first.

    \b
    dreamctl recent -n 20
    dreamctl recent --json | jq '.[] | select(.outcome != "complete")'
    """
    with target.daemon() as daemon:
        answer = daemon.call(Method.DIALOGS_RECENT, count)
    if target.as_json:
        emit(answer)
    else:
        click.echo(show_recent(answer, width(), time.time()))


@click.command
@click.option("--session", type=click.IntRange(1), help="Whose dream, where more than one leo is connected.")
@json_option
@click.pass_obj
def dream(target: Target, session: int | None) -> None:
    """Have leo dream now, past cooldown, gates and chance; show what is said. Exit code 1 if nothing was.

    \b
    dreamctl dream
    dreamctl dream --session 3
    """
    columns, colour = width(), click.get_current_context().color  # which the thread below has no way to

    def hear(event: dict[str, Any]) -> None:
        """On the client's thread, in the order of the dialogue."""
        if event["type"] == "line" and not target.as_json:
            text = click.style(show_line(event, columns), fg=COLOURS.get(event["speaker"]))
            click.echo(text, color=colour)

    with target.daemon(hear) as daemon:
        daemon.call(Method.SUBSCRIBE)
        ended = daemon.call(Method.NOW, None, session, timeout_s=DIALOGUE_S)
        dialogue = daemon.call(Method.DIALOGS_GET, ended["dialog"])
    if target.as_json:
        emit({**ended, "turns": dialogue["turns"]})
    else:
        click.echo(f"Dialogue {ended['dialog']}: {ended['outcome']}, {count_of_lines(ended['lines'])}.")
    if not ended["lines"]:
        raise SystemExit(1)


def show_recent(dialogues: Sequence[Mapping[str, Any]], columns: int, now: float) -> str:
    """The answer of `dialogs.recent` as text."""
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


def show_line(line: Mapping[str, Any], columns: int) -> str:
    """One line of a dialogue as text."""
    return fold(line["text"], columns, " " * 8, f"{line['speaker']:>6}: ")


def count_of_lines(count: int) -> str:
    """In words."""
    return f"{count} line" if count == 1 else f"{count} lines"
