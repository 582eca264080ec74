"""Charts for the page: curves and columns as SVG, which stretches, and their labels as HTML, which does not shrink.

No library and no network. Each chart has a title for screen readers, and a table with its numbers.
"""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10

from dreamd.ctl.terminal.layout import clean_text

WIDTH, HEIGHT = 720, 200  # units of the view box
COLOURS = 8  # series with a colour of their own
LEAST_SPAN = 0.001  # of an axis: a smaller difference is no curve
TICKS = 3  # steps of an axis, about


def escape_text(text: str) -> str:
    """Return a text escaped for the page."""
    return escape(clean_text(text))


def draw_lines(
    title: str,
    series: Mapping[str, Sequence[float | None]],
    labels: Sequence[str],
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> str:
    """Draw curves over common steps that `labels` name, each value in [0, 1] or None, on an axis from 0. `head` and
    `rows`: the table of the numbers."""
    values = [min(1.0, value) for of in series.values() for value in of if value is not None]
    ticks = scale(max(values, default=1.0))
    steps = max((len(of) for of in series.values()), default=0)
    curves = "".join(
        f'<polyline class="s{number}" points="{_curve_points(of, steps, ticks)}"/>'
        for number, of in enumerate(series.values())
    )
    grid = "".join(_level(_y_of(tick, ticks)) for tick in ticks)
    marks = [(_y_of(tick, ticks), f"{tick:g}") for tick in ticks]
    return _draw_figure(title, grid + curves, marks, labels, list(series), head, rows)


def draw_stacked(
    title: str, columns: Sequence[tuple[str, Mapping[str, int]]], names: Sequence[str], until: str
) -> str:
    """Draw columns of counts, stacked in the order of `names`, each labelled with its beginning. The last one ends at
    `until`."""
    most = max((sum(counts.values()) for _, counts in columns), default=0) or 1
    step = WIDTH / max(1, len(columns))
    bars = []
    for place, (_, counts) in enumerate(columns):
        top = float(HEIGHT)
        for number, name in enumerate(names):
            if count := counts.get(name, 0):
                tall = count / most * HEIGHT
                top -= tall
                bars.append(
                    f'<rect class="s{number % COLOURS}" x="{place * step + 1:.1f}" y="{top:.1f}" '
                    f'width="{max(1.0, step - 2):.1f}" height="{tall:.1f}"/>'
                )
    rows = [(label, *(str(counts.get(name, 0)) for name in names)) for label, counts in columns]
    marks = [(0.0, str(most)), (float(HEIGHT), "0")]
    ends = [columns[0][0], until] if columns else []
    return _draw_figure(title, _level(HEIGHT) + "".join(bars), marks, ends, names, ("from", *names), rows)


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], about: str) -> str:
    """Return a table with every cell escaped. If it is wider than the screen, it scrolls alone. `about`: its name."""
    top = "".join(f'<th scope="col">{escape_text(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape_text(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{escape_text(about)}">'
        f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def scale(high: float) -> list[float]:
    """Return the ticks of an axis from 0 to at least `high`, at even steps of 1, 2 or 5 times a power of ten."""
    rough = max(high, LEAST_SPAN) / TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * 0.999)
    last = max(1, ceil(high / step - 1e-9))
    return [round(step * place, 6) for place in range(last + 1)]


def _draw_figure(
    title: str,
    drawn: str,
    marks: Sequence[tuple[float, str]],
    labels: Sequence[str],
    names: Sequence[str],
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> str:
    """Put labels around a drawing. `marks`: heights in the view box, and their texts. `labels`: from left to right."""
    legend = "".join(
        f'<span><i class="s{number % COLOURS}"></i>{escape_text(name)}</span>'
        for number, name in enumerate(names)
    )
    beside = "".join(f'<span style="top:{y / HEIGHT:.1%}">{escape_text(mark)}</span>' for y, mark in marks)
    below = "".join(
        f"<span>{escape_text(label)}</span>" for label in dict.fromkeys([*labels[:1], *labels[-1:]])
    )
    return (
        f'<figure><figcaption>{escape_text(title)}</figcaption><div class="chart">'
        f'<div class="marks" aria-hidden="true">{beside}</div>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape_text(title)}">'
        f'{drawn}</svg><div class="ends">{below}</div></div><p class="legend">{legend}</p>'
        f"<details><summary>The numbers</summary>{html_table(head, rows, f'Numbers: {title}')}</details></figure>"
    )


def _level(y: float) -> str:
    return f'<line x1="0" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _curve_points(values: Sequence[float | None], steps: int, ticks: Sequence[float]) -> str:
    step = WIDTH / max(1, steps - 1)
    places = [(place * step, value) for place, value in enumerate(values) if value is not None]
    if steps == 1:  # a single point is drawn as a line, or it could not be seen
        places += [(WIDTH, value) for _, value in places]
    return " ".join(f"{x:.1f},{_y_of(value, ticks):.1f}" for x, value in places)


def _y_of(value: float, ticks: Sequence[float]) -> float:
    return HEIGHT * (1 - min(1.0, max(0.0, value / ticks[-1])))
