"""The lines of a dialogue as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from dreamd.ctl.terminal.layout import fold_text, format_moment

COLOURS = {"leo": "cyan", "friend": "magenta"}  # by speaker


def show_line(line: Mapping[str, Any], columns: int) -> str:
    """Return one line of a dialogue as text, its speaker in front."""
    return fold_text(line["text"], columns, " " * 8, f"{line['speaker']:>6}: ")


def show_found(lines: Sequence[Mapping[str, Any]], none: str, columns: int, now: float) -> str:
    """Return the lines that were found by their words, or `none` if there are none."""
    return "\n".join(_show_found_line(line, columns, now) for line in lines) or fold_text(none, columns)


def _show_found_line(line: Mapping[str, Any], columns: int, now: float) -> str:
    """Return a line that was found by its words, in the colour of its speaker: with the run of them that it holds if
    that is known, its dialogue and its time."""
    where = f"dialogue {line['dialog']}, {format_moment(line['at'], now)}" if line["dialog"] else "imported"
    run = f'"{line["run"]}", ' if "run" in line else ""
    said = f"{line['text']} ({run}{where})"
    shown = fold_text(said, columns, " " * 8, f"{line['speaker']:>6}: ")
    return click.style(shown, fg=COLOURS.get(line["speaker"]))


def ending_in_words(dialogue: Mapping[str, Any]) -> str:
    """Return how a dialogue ended, that it was not fed if dialogue.feed was off, and that it was or will be taken
    back."""
    fed = "" if dialogue.get("fed", True) else ", not fed"
    return f"{dialogue['outcome'] or 'running'}{fed}{_UNDONE.get(dialogue.get('undone') or '', '')}"


_UNDONE = {"done": ", undone", "waiting": ", to be undone"}


def paused_in_words(until: float | None, now: float) -> str:
    """Return that dreams are paused, and until when if that is known."""
    return "paused" if until is None else f"paused until {format_moment(until, now)}"


def count_of_lines(count: int) -> str:
    """Return "1 line", "2 lines" and so on."""
    return count_of(count, "line")


def count_of(count: int, what: str, several: str = "") -> str:
    """Return a number with its noun, such as "1 dream" or "2 dreams"."""
    return f"{count} {what}" if count == 1 else f"{count} {several or what + 's'}"
