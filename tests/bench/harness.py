"""Measuring systems side by side: rounds in turn A B C A B C, ratios within a round, median and range over rounds.

A bench names its systems. Each is a function that measures once, in fresh processes, and returns figures by name. The
first system is the base: the ratio of a figure to the base's is taken within each round, because a busy machine slows
both.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.bounds import short

ROOT = Path(__file__).parents[2]
DEADLINE_S = 300.0  # of one program
Figures = dict[str, float]
Once = Callable[[], Figures]


class Bound(NamedTuple):
    """A bound: a figure of a system, or its ratio to the figure of another system (`over`), is at most `most`. With
    `least`, it is at least that. `what`: its row in the table of bounds."""

    system: str
    figure: str
    most: float | None = None
    over: str | None = None
    least: float | None = None
    what: str = ""


@dataclass
class Bench:
    """A comparison of systems. `absent`: systems that could not be measured, with the reason."""

    name: str
    systems: Mapping[str, Once]
    bounds: list[Bound] = field(default_factory=list)
    rounds: int = 7
    absent: dict[str, str] = field(default_factory=dict)


class Spread(NamedTuple):
    """The median and the range of a figure over the rounds."""

    median: float
    low: float
    high: float


def spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def run(bench: Bench) -> dict[str, Any]:
    """Measure all rounds of a bench, and return its result, which can be written as JSON."""
    began, rounds = time.monotonic(), list[dict[str, Figures]]()
    for number in range(bench.rounds):
        say(f"{bench.name}: round {number + 1} of {bench.rounds}")
        rounds.append({name: once() for name, once in bench.systems.items()})
    say("")
    base = next(iter(bench.systems))
    systems = {name: _summary(rounds, name, base) for name in bench.systems}
    bounds = [_held(bound, rounds) for bound in bench.bounds if bound.system in bench.systems]
    return {
        "name": bench.name, "rounds": bench.rounds, "base": base, "systems": systems, "bounds": bounds,
        "absent": bench.absent, "seconds": round(time.monotonic() - began),
    }  # fmt: skip


def _summary(rounds: list[dict[str, Figures]], name: str, base: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for figure in rounds[0][name]:
        found[figure] = spread([one[name][figure] for one in rounds])._asdict()
        if name != base and figure in rounds[0][base]:
            ratios = [one[name][figure] / one[base][figure] for one in rounds if one[base][figure]]
            found[figure]["ratio"] = spread(ratios)._asdict()
    return found


def _held(bound: Bound, rounds: list[dict[str, Figures]]) -> dict[str, Any]:
    """Return a bound with what was measured, and whether the median keeps it."""
    values = [
        one[bound.system][bound.figure] / (one[bound.over][bound.figure] if bound.over else 1.0)
        for one in rounds
        if bound.over is None or bound.over in one
    ]
    if not values:
        return {**bound._asdict(), "measured": None, "kept": None}
    measured = spread(values)
    kept = measured.median <= bound.most if bound.most is not None else measured.median >= (bound.least or 0)
    return {**bound._asdict(), "measured": measured._asdict(), "kept": kept}


def fresh(module: str, *arguments: str, python: str = sys.executable) -> Figures:
    """Run a module of the bench as a program on a core of its own, and return what it tells."""
    said = subprocess.run(
        [python, "-m", module, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT, check=True,
        timeout=DEADLINE_S, preexec_fn=partial(os.sched_setaffinity, 0, {min(os.sched_getaffinity(0))}),
    ).stdout  # fmt: skip
    found: Figures = json.loads(said.splitlines()[-1])
    return found


def tell(figures: Figures) -> None:
    """Print the figures of a program that `fresh` runs."""
    print(json.dumps(figures), flush=True)


def machine() -> dict[str, Any]:
    """Return what a figure depends on."""
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def say(text: str) -> None:
    """Show the progress on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def table(result: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a result: a row a system, a column a figure, `median (low-high)` and the ratio to the base."""
    yield f"\n## {result['name']} ({result['rounds']} rounds, {result['seconds']} s; × {result['base']})"
    columns = list(dict.fromkeys(figure for one in result["systems"].values() for figure in one))
    rows = [["", *columns]]
    for name, figures in result["systems"].items():
        rows.append([name, *(_cell(figures.get(column)) for column in columns)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for name, reason in result["absent"].items():
        yield f"{name}: absent ({reason})"
    for bound in result["bounds"]:
        yield _verdict(bound)


def _cell(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    text = f"{short(found['median'])} ({short(found['low'])}-{short(found['high'])})"
    return f"{text} {found['ratio']['median']:.2f}×" if "ratio" in found else text


def _verdict(bound: dict[str, Any]) -> str:
    limit = f"≤ {bound['most']:,g}" if bound["most"] is not None else f"≥ {bound['least']:,g}"
    what = f"{bound['system']}, {bound['figure']}" + (f" × {bound['over']}" if bound["over"] else "")
    if bound["measured"] is None:
        return f"not measured: {what} {limit}"
    return f"{'kept' if bound['kept'] else 'MISSED'}: {what} {short(bound['measured']['median'])} {limit}"


def compare(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each figure of both runs: the change of its ratio to the base, or of the figure itself."""
    before = {result["name"]: result for result in old}
    for result in new:
        if result["name"] not in before:
            continue
        yield f"\n## {result['name']}: now / before"
        for name, figures in result["systems"].items():
            for figure, found in figures.items():
                known = before[result["name"]]["systems"].get(name, {}).get(figure)
                if known is not None:
                    is_ratio = "ratio" in known and "ratio" in found
                    was, now = ((one["ratio"] if is_ratio else one)["median"] for one in (known, found))
                    unit = f"× {result['base']}" if is_ratio else ""
                    yield f"{name}, {figure}: {short(now)} / {short(was)} {unit} = {now / was if was else 0:.2f}"


def write_json(path: str, run: dict[str, Any]) -> None:
    """Write the results of a run to a file."""
    with open(path, "w") as file:
        json.dump(run, file, indent=1)


def read_json(path: str) -> dict[str, Any]:
    """Return the results of an earlier run."""
    with open(path) as file:
        run: dict[str, Any] = json.load(file)
    return run
