"""The table of bounds in docs/performance.md, from the results of one run or several: a column for each."""

from collections.abc import Iterator
from typing import Any

UNITS = {"us": "µs", "ms": "ms", "s": "s", "mb": "MB"}

# The systems that others are compared with, as people call them.
OVER = {
    "bare_uvloop": "bare uvloop", "pyzmq_pair": "pyzmq", "pynvim_session": "pynvim", "raw send": "one raw send",
    "pack_unpack": "packing and unpacking", "counter": "a bare uvloop server", "counter empty": "a bare counter",
    "import click": "`import click`", "10^3 lines": "that at 10³", "one leo": "one leo's at that load",
}  # fmt: skip

Run = dict[str, Any]  # what `harness.write_json` writes


def bounds_table(runs: list[Run]) -> Iterator[str]:
    """Yield the lines of the table: a row for each bound, with the median, its range, and whether it was kept."""
    found = [{_name(bound): _cell(result, bound) for result, bound in _bounds(run)} for run in runs]
    limits = {_name(bound): _limit(bound) for run in runs for _, bound in _bounds(run)}
    if limits:
        yield "\n" + _row(["what", "bound", *(f"Python {run['machine']['python']}" for run in runs)])
        yield "|---" * (2 + len(runs)) + "|"
    for name, limit in limits.items():
        yield _row([name, limit, *(cells.get(name, "-") for cells in found)])


def _bounds(run: Run) -> Iterator[tuple[Run, Run]]:
    for result in run["benches"]:
        for bound in result["bounds"]:
            yield result, bound


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _name(bound: Run) -> str:
    return str(bound["what"] or f"{bound['system']}, {bound['figure']}")


def _limit(bound: Run) -> str:
    limit = f"≤ {bound['most']:,g}" if bound["most"] is not None else f"≥ {bound['least']:,g}"
    return (
        f"{limit} × {OVER.get(bound['over'], bound['over'])}"
        if bound["over"]
        else f"{limit} {_unit(bound)}".strip()
    )


def _cell(result: Run, bound: Run) -> str:
    measured = bound["measured"]
    if measured is None:
        return "not measured"
    median, low, high = (short(measured[name]) for name in ("median", "low", "high"))
    text = median if result["rounds"] == 1 else f"{median} ({low}-{high})"
    if bound["over"]:
        figure = result["systems"][bound["system"]][bound["figure"]]["median"]
        text += f": {short(figure)} {_unit(bound)}".rstrip()
    return f"{text}, {'kept' if bound['kept'] else 'missed'}"


def _unit(bound: Run) -> str:
    return UNITS.get(bound["figure"].rpartition("_")[2], "")


def short(value: float) -> str:
    """Return a figure with three digits, as people read it."""
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.2f}" if 0.1 <= abs(value) < 10 else f"{value:.3g}" if value >= 10 else f"{value:.2g}"
