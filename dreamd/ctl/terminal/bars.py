"""Measures drawn in characters: bars, and a chart of columns. Values are in [0, 1]."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from dreamclient.messages import SHOWN_MEASURES

from dreamd.ctl.terminal.layout import WIDEST, format_number

_BAR = " ▏▎▍▌▋▊▉█"  # eighths of a cell, from its left
_COLUMN = " ▁▂▃▄▅▆▇█"  # eighths of a cell, from its foot
_TOPS = (0.05, 0.1, 0.2, 0.5, 1.0)  # of a chart's axis
CELLS = 6  # of a measure's bar


def draw_bar(value: float, cells: int, plain: bool = False) -> str:
    """Return a bar of `cells` characters for a value."""
    eighths = round(min(1.0, max(0.0, value)) * cells * 8)
    if plain:
        return ("#" * round(eighths / 8)).ljust(cells, ".")
    return ("█" * (eighths // 8) + _BAR[eighths % 8].strip()).ljust(cells, "·")


def draw_measures(line: Mapping[str, Any], columns: int, indent: str, plain: bool = False) -> str:
    """Return the measures of a line of a dialogue with their bars, as many beside each other as there is room for."""
    shown = [
        f"{name} {draw_bar(line[name], CELLS, plain)} {format_number(line[name])}"
        for name in SHOWN_MEASURES
        if line.get(name) is not None
    ]
    if not shown:
        return ""
    room = max(1, (columns - len(indent) + 2) // (max(map(len, shown)) + 2))
    return "\n".join(indent + "  ".join(shown[at : at + room]) for at in range(0, len(shown), room))


def draw_chart(values: Sequence[float], columns: int, rows: int, plain: bool = False) -> list[str]:
    """Draw values over time, the oldest left, on an axis from 0. If there are too many, each column is a mean."""
    top = next(top for top in _TOPS if top >= min(1.0, max(values, default=0.0)))
    wide = max(1, min(columns, WIDEST) - 6)
    tall = [round(min(1.0, max(0.0, value)) / top * rows * 8) for value in _spread_values(values, wide)]
    glyphs, axis = (" .......#", "|") if plain else (_COLUMN, "│")
    return [
        f"{_axis_label(row, rows, top)} {axis}"
        + "".join(glyphs[min(8, max(0, eighths - 8 * (rows - 1 - row)))] for eighths in tall).rstrip()
        for row in range(rows)
    ]


def _axis_label(row: int, rows: int, top: float) -> str:
    return f"{top:.2f}" if row == 0 else "0.00" if row == rows - 1 else "    "


def _spread_values(values: Sequence[float], wide: int) -> list[float]:
    if len(values) <= wide:
        each = min(3, wide // max(1, len(values)))
        return [value for value in values for _ in range(each)]
    edges = [place * len(values) // wide for place in range(wide + 1)]
    return [sum(values[start:end]) / (end - start) for start, end in pairwise(edges)]
