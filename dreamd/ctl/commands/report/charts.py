"""Charts as plain SVG: no library, no network, one colour a series from the page's own style sheet.

Each has a title for screen readers, and a table with its numbers.
"""

from collections.abc import Mapping, Sequence
from html import escape

from dreamd.ctl.terminal.layout import clean

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 720, 220, 44, 24, 12  # units of the view box
_INNER = HEIGHT - TOP - BOTTOM


def safe(text: str) -> str:
    """Return a text escaped for the page."""
    return escape(clean(text))


def lines(
    title: str,
    series: Mapping[str, Sequence[float | None]],
    labels: Sequence[str],
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> str:
    """Draw curves over common steps that `labels` name, each value in [0, 1] or None. `head` and `rows`: the table
    of the numbers."""
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
    return _figure(title, f'<g class="grid">{grid}{_ends(labels)}</g>{curves}', list(series), head, rows)


def stacked(
    title: str, columns: Sequence[tuple[str, Mapping[str, int]]], names: Sequence[str], until: str
) -> str:
    """Draw columns of counts, stacked in the order of `names`, each labelled with its beginning. The last one ends at
    `until`."""
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
                    f"<title>{safe(label)}: {count} {safe(name)}</title></rect>"
                )
    axis = (
        f'<text x="{LEFT - 6}" y="{TOP + 8}" text-anchor="end">{most}</text>'
        f'<line x1="{LEFT}" x2="{WIDTH}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>'
    )
    axis += _ends([columns[0][0], until] if columns else [])
    rows = [(label, *(str(counts.get(name, 0)) for name in names)) for label, counts in columns]
    return _figure(title, f'<g class="grid">{axis}</g>{"".join(bars)}', names, ("from", *names), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with every cell escaped."""
    top = "".join(f'<th scope="col">{safe(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _figure(
    title: str, drawn: str, names: Sequence[str], head: Sequence[str], rows: Sequence[Sequence[str]]
) -> str:
    legend = "".join(f'<span class="s{number % 8}">{safe(name)}</span>' for number, name in enumerate(names))
    return (
        f"<figure><figcaption>{safe(title)}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{safe(title)}">{drawn}</svg>'
        f'<p class="legend">{legend}</p>'
        f"<details><summary>The numbers</summary>{table(head, rows)}</details></figure>"
    )


def _ends(labels: Sequence[str]) -> str:
    """Draw the first and the last label below the axis."""
    if not labels:
        return ""
    ends = f'<text x="{LEFT}" y="{HEIGHT - 6}">{safe(labels[0])}</text>'
    if len(labels) > 1:
        ends += f'<text x="{WIDTH}" y="{HEIGHT - 6}" text-anchor="end">{safe(labels[-1])}</text>'
    return ends


def _points(values: Sequence[float | None], steps: int) -> str:
    step = (WIDTH - LEFT) / max(1, steps - 1)
    places = [(LEFT + place * step, value) for place, value in enumerate(values) if value is not None]
    if steps == 1:  # a single point is drawn as a line, or it could not be seen
        places += [(WIDTH, value) for _, value in places]
    return " ".join(f"{x:.1f},{_y(value):.1f}" for x, value in places)


def _y(value: float) -> float:
    return TOP + (1 - min(1.0, max(0.0, value))) * _INNER
