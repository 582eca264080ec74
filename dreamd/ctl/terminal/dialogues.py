"""The lines of a dialogue as text."""

from collections.abc import Mapping
from typing import Any

from dreamd.ctl.terminal.layout import fold

COLOURS = {"leo": "cyan", "friend": "magenta"}  # by speaker


def show_line(line: Mapping[str, Any], columns: int) -> str:
    """Return one line of a dialogue as text, its speaker in front."""
    return fold(line["text"], columns, " " * 8, f"{line['speaker']:>6}: ")


def count_of_lines(count: int) -> str:
    """Return "1 line", "2 lines" and so on."""
    return f"{count} line" if count == 1 else f"{count} lines"
