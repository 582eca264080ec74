"""`show`: show what was said in a dialogue, or in several."""

import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from dreamclient.messages import Method

from dreamd.ctl.daemon.dialogue_argument import ID, resolve_dialogue
from dreamd.ctl.daemon.past import ALL, dialogues_since
from dreamd.ctl.terminal.ascii import is_plain
from dreamd.ctl.terminal.bars import draw_measures
from dreamd.ctl.terminal.dialogues import COLOURS, count_of_lines, ending_in_words, show_line
from dreamd.ctl.terminal.layout import (
    GAP,
    fold_text,
    format_moment,
    format_number,
    format_span,
    label_rows,
    terminal_width,
)
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import command_to_copy, emit_json, emit_text, json_option, utc_option
from dreamd.ctl.terminal.since import since_option

if TYPE_CHECKING:
    from dreamd.ctl.daemon.connection import Target

MOST = 1000  # dialogues in one go


@click.command
@ID
@click.option("-n", "count", type=Count(1, MOST), help="The last so many, the newest last.")
@since_option
@click.option("--full", is_flag=True, help="With measures, and how each line came to be.")
@json_option
@utc_option
@click.pass_context
def show(context: click.Context, asked: str, count: int | None, since: float | None, full: bool) -> None:
    """Show what was said in a dialogue. ID is its number, the beginning of its trace id, or `last`, which is the
    default.

    \b
    dreamctl show
    dreamctl show 7 --full
    dreamctl show -n 5
    dreamctl show --since 1d
    """
    target: Target = context.obj
    if several := count is not None or since is not None:
        if context.get_parameter_source("asked") is not ParameterSource.DEFAULT:
            raise click.UsageError("name one dialogue, or say how many with -n and --since")
        with target.dreams() as daemon:
            found = list(dialogues_since(daemon, since or 0.0, count or ALL))
    else:
        with target.dreams() as daemon:
            found = [daemon.call(Method.DIALOGS_GET, resolve_dialogue(daemon, asked))]
    if target.as_json:
        emit_json(found if several else found[0])
    elif found:
        shown = [
            show_dialogue(one, terminal_width(), time.time(), full=full, plain=is_plain()) for one in found
        ]
        click.echo("\n\n".join(shown))
    else:
        emit_text(f"No dialogue since then; `{command_to_copy('recent')}` lists the last ones.")


def show_dialogue(
    found: Mapping[str, Any], columns: int, now: float, *, full: bool = False, plain: bool = False
) -> str:
    """Return the answer of `dialogs.get` as text. `full`: with all that is known of the dialogue and of its lines."""
    parts = [label_rows(_about_rows(found, now), columns) if full else _head_line(found, columns, now), ""]
    for turn in found["turns"]:
        text = show_line(turn, columns) if turn["text"] else f"{turn['speaker']:>6}: (not kept)"
        parts.append(click.style(text, fg=COLOURS.get(turn["speaker"])))
        if full:
            bars = draw_measures(turn, columns, " " * 8, plain)
            how = [fold_text(line, columns, " " * 10, " " * 8) for line in _how_lines(turn)]
            parts += [click.style(line, dim=True) for line in filter(None, [bars, *how])]
            parts.append("")
    return "\n".join(parts).rstrip()


def _head_line(found: Mapping[str, Any], columns: int, now: float) -> str:
    """Return a line about a dialogue: its number, its time, how it ended and why."""
    why = f" ({found['note']})" if found.get("note") else ""
    who = f", {found['client']}" if found.get("client") not in (None, "leo") else ""
    began, ending = format_moment(found["started_at"], now), ending_in_words(found)
    text = f"dialogue {found['id']}, {began}, {ending}{why}, {count_of_lines(found['lines'])}{who}"
    return fold_text(text, columns, GAP, "")


def _about_rows(found: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    yield "dialogue", f"{found['id']}, {found['trace_id'] or 'imported'}"
    began, ended = found["started_at"], found["finished_at"]
    yield "began", format_moment(began, now) + (f", took {format_span(ended - began)}" if ended else "")
    yield "outcome", f"{ending_in_words(found)}, {count_of_lines(found['lines'])}"
    if found.get("note"):
        yield "ended by", found["note"]
    yield "dreamer", found.get("client") or "-"
    measures = [f"{name} {format_number(found.get(key))}" for name, key in _MEASURES]
    yield "measures", ", ".join(measures)


_LINE_UNDONE = {"done": ", undone", "unknown": ", may still be in leo"}
_MEASURES = (("trauma", "avg_trauma"), ("arousal", "avg_arousal"), ("drift", "drift"))


def _how_lines(turn: Mapping[str, Any]) -> Iterator[str]:
    """Yield the parameters and the prompt of a line, if it has them. An imported line has none."""
    if turn.get("temperature") is not None:
        expert = f", expert {turn['expert']}" if turn.get("expert") else ""
        yield (
            f"temperature {turn['temperature']:.2f}, semantic weight {turn['semantic_weight']:.2f}{expert}, "
            f"observed: {turn['observed']}{_LINE_UNDONE.get(turn.get('undone') or '', '')}"
        )
    if turn.get("seed"):
        yield f"prompted by: {turn['seed']}"
