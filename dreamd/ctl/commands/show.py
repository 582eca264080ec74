"""`show`: print a whole dialogue. `replay`: check that it comes out the same again."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.dialogue_argument import ID, dialogue
from dreamd.ctl.terminal.ascii import is_plain
from dreamd.ctl.terminal.bars import pulse
from dreamd.ctl.terminal.dialogues import COLOURS, count_of_lines, show_line
from dreamd.ctl.terminal.layout import fold, labelled, moment, number, span, width
from dreamd.ctl.terminal.output import emit, json_option, utc_option


@click.command
@ID
@click.option("--full", is_flag=True, help="Also print the prompt and the parameters of each line.")
@json_option
@utc_option
@click.pass_obj
def show(target: Target, asked: str, full: bool) -> None:
    """Show a dialogue. ID is its number, the beginning of its trace id, or `last`, which is the default.

    \b
    dreamctl show
    dreamctl show 7 --full
    """
    with target.dreams() as daemon:
        answer = daemon.call(Method.DIALOGS_GET, dialogue(daemon, asked))
    if target.as_json:
        emit(answer)
    else:
        click.echo(show_dialogue(answer, width(), time.time(), full=full, plain=is_plain()))


def show_dialogue(
    found: Mapping[str, Any], columns: int, now: float, *, full: bool = False, plain: bool = False
) -> str:
    """Return the answer of `dialogs.get` as text."""
    parts = [labelled(_about(found, now), columns)]
    for turn in found["turns"]:
        text = show_line(turn, columns) if turn["text"] else f"{turn['speaker']:>6}: (not kept)"
        parts += ["", click.style(text, fg=COLOURS.get(turn["speaker"]))]
        if bars := pulse(turn, columns, " " * 8, plain):
            parts.append(click.style(bars, dim=True))
        if full:
            parts += [click.style(fold(line, columns, " " * 10, " " * 8), dim=True) for line in _how(turn)]
    return "\n".join(parts)


def _about(found: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    yield "dialogue", f"{found['id']}, {found['trace_id'] or 'imported'}"
    began, ended = found["started_at"], found["finished_at"]
    yield "began", moment(began, now) + (f", took {span(ended - began)}" if ended else "")
    yield "outcome", f"{found['outcome'] or 'running'}, {count_of_lines(found['lines'])}"
    if found.get("note"):
        yield "ended by", found["note"]
    yield "dreamer", found.get("client") or "-"
    measures = [f"{name} {number(found.get(key))}" for name, key in _MEASURES]
    yield "measures", ", ".join(measures)


_MEASURES = (("trauma", "avg_trauma"), ("arousal", "avg_arousal"), ("drift", "drift"))


def _how(turn: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parameters and the prompt of a line, if it has them. An imported line has none."""
    if turn.get("temperature") is not None:
        expert = f", expert {turn['expert']}" if turn.get("expert") else ""
        yield (
            f"temperature {turn['temperature']:.2f}, semantic weight {turn['semantic_weight']:.2f}{expert}, "
            f"observed: {turn['observed']}"
        )
    if turn.get("seed"):
        yield f"prompted by: {turn['seed']}"
