"""Charts as plain SVG: no library, no network, one colour a series from the page's own style sheet.

Each has a title that a screen reader says, and a table of the same numbers behind it.
"""

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 220, 44, 24, 12  # units of the view box
_INNER = HEIGHT - TOP - BOTTOM


def lines(
    title: str, series: dict[str, Sequence[float | None]], head: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    """Curves over the same steps, each value in [0, 1] or absent; `rows` under `head` are the table behind."""
    steps = max((len(values) for values in series.values()), default=0)
    curves = "".join(
        f'<polyline class="s{number}" points="{_points(values, steps)}"/>'
        for number, values in enumerate(series.values())
    )
    grid = "".join(
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{_y(level):.1f}" y2="{_y(level):.1f}"/>'
        f'<text x="{LEFT - 6}" y="{_y(level) + 4:.1f}" text-anchor="end">{level:g}</text>'
        for level in (0, 0.5, 1)
    )
    return _figure(title, f'<g class="grid">{grid}</g>{curves}', list(series), head, rows)


def stacked(title: str, columns: Sequence[tuple[str, dict[str, int]]], names: Sequence[str]) -> str:
    """Columns of counts, one on another in the order of `names`; the table behind has the same numbers."""
    most = max((sum(counts.values()) for _, counts in columns), default=0) or 1
    step = (WIDTH - LEFT) / max(1, len(columns))
    bars = []
    for place, (label, counts) in enumerate(columns):
        top = float(HEIGHT - BOTTOM)
        for number, name in enumerate(names):
            if count := counts.get(name, 0):
                tall = count / most * _INNER
                top -= tall
                bars.append(
                    f'<rect class="s{number % 8}" x="{LEFT + place * step + 1:.1f}" y="{top:.1f}" '
                    f'width="{max(1.0, step - 2):.1f}" height="{tall:.1f}">'
                    f"<title>{escape(label)}: {count} {escape(name)}</title></rect>"
                )
    axis = (
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end">{most}</text>'
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
    )
    if columns:
        axis += f'<text x="{LEFT}" y="{HEIGHT - 6}">{escape(columns[0][0])}</text>'
        axis += f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{escape(columns[-1][0])}</text>'
    rows = [(label, *(str(counts.get(name, 0)) for name in names)) for label, counts in columns]
    return _figure(title, f'<g class="grid">{axis}</g>{"".join(bars)}', names, ("", *names), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; every cell is escaped."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _figure(
    title: str, drawn: str, names: Sequence[str], head: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    legend = "".join(
        f'<span class="s{number % 8}">{escape(name)}</span>' for number, name in enumerate(names)
    )
    return (
        f"<figure><figcaption>{escape(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{drawn}</svg>'
        f'<p class="legend">{legend}</p>'
        f"<details><summary>The numbers</summary>{table(head, rows)}</details></figure>"
    )


def _points(values: Sequence[float | None], steps: int) -> str:
    step = (WIDTH - LEFT) / max(1, steps - 1)
    return " ".join(
        f"{LEFT + place * step:.1f},{_y(value):.1f}"
        for place, value in enumerate(values)
        if value is not None
    )


def _y(value: float) -> float:
    return TOP + (1 - min(1.0, max(0.0, value))) * _INNER
