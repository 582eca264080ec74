"""Many leos at one daemon: 1,000 connected and 200 dreaming at once, against one leo at an equal total load.

The daemon notes when it called a hook and when its dialogue had the answer, the program of the leos when it had read
the call and when it had written the answer. So the time of the hook itself is subtracted call by call, however late
its timer was. The way to the hook, where the program that plays 1,000 leos may be late, is told from the way back,
where only the daemon may be.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.calls.program import busy_ns
from tests.bench.daemon import dreamd, running
from tests.bench.harness import Bench, Bound, Figures, fresh

LEOS, DREAMING = 1_000, 200
SECONDS, WARM_S = 4.0, 1.0  # what begins in the first second is not counted


class Crowd:
    """The two systems of a round. The hooks of 200 leos take so long that together they call as often as the one leo
    did, whose hooks take no time."""

    def __init__(self) -> None:
        self._generates_a_second = 0.0

    def one(self) -> Figures:
        found = once(1, 1, 0.0)
        self._generates_a_second = found["generates_a_second"]
        return found

    def many(self) -> Figures:
        # Half of the calls are `observe`, which take as long.
        return once(LEOS, DREAMING, 1000 * DREAMING / self._generates_a_second / 2)


def bench(quick: bool) -> Bench:
    """Return the comparison. The latencies are those of `generate`, without the time that the hook takes."""
    crowd = Crowd()
    what = "1,000 leos connected and 200 dreaming, hook p99"
    bounds = [Bound("1,000 leos", "p99_ms", most=2.0, over="one leo", what=what)]
    systems = {"one leo": crowd.one, "1,000 leos": crowd.many}
    return Bench("crowd", systems, bounds, rounds=3)  # of half a minute each


def once(leos: int, dialogues: int, delay_ms: float) -> Figures:
    """Measure one daemon with so many leos."""
    with tempfile.TemporaryDirectory() as folder:
        address, notes = Path(folder) / "dreamd.sock", Path(folder) / "notes"
        _, *arguments = dreamd(Path(folder), "--set", "gate.chance=0")
        noted = [sys.executable, "-m", "tests.bench.noted", str(notes), *arguments[2:]]
        with running(noted, address) as server:
            before = busy_ns(server.pid)
            program = ("tests.bench.hosts", str(address), str(leos), str(dialogues))
            found: dict[str, Any] = fresh(*program, str(delay_ms), str(SECONDS))
            busy_s = (busy_ns(server.pid) - before) / 1e9
        return trips(json.loads(notes.read_text()), found.pop("held")) | {"busy_s": busy_s}


def trips(asked: dict[str, list[list[float]]], held: dict[str, list[list[float]]]) -> Figures:
    """Return the figures of the calls that both ends noted, without those of the first second and of the end."""
    calls = [
        (began, read - began, ended - written)
        for name, noted in asked.items()
        for (began, ended), (read, written) in zip(noted, held[name], strict=False)
    ]
    first = min(began for began, _, _ in calls)
    counted = [call for call in calls if WARM_S <= call[0] - first <= SECONDS]
    ways = {
        "": sorted(there + back for _, there, back in counted),
        "there_": sorted(there for _, there, _ in counted),
        "back_": sorted(back for _, _, back in counted),
    }
    figures = {"generates_a_second": len(counted) / (SECONDS - WARM_S)}
    for way, times in ways.items():
        for percent in (50, 99):
            figures[f"{way}p{percent}_ms"] = 1000 * times[len(times) * percent // 100]
    return figures
