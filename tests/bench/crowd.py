"""Many leos at one daemon: 1,000 connected and 200 dreaming at once, against one leo at an equal total load."""

import tempfile
from functools import partial
from pathlib import Path

from tests.bench.calls.program import busy_ns
from tests.bench.daemon import dreamd, running
from tests.bench.harness import Bench, Bound, Figures, fresh

LEOS, DREAMING = 1_000, 200
SECONDS = 3.0
# Each hook of 200 leos takes so long that together they call as often as one leo whose hooks take no time.
DELAY_MS = 300.0


def bench(quick: bool) -> Bench:
    """Return the comparison. The latencies are those of `generate`, without the time that the hook takes."""
    systems = {
        "one leo": partial(once, 1, 1, 0.0),
        "1,000 leos": partial(once, LEOS, DREAMING, DELAY_MS),
    }
    what = "1,000 leos connected and 200 dreaming, hook p99"
    bounds = [Bound("1,000 leos", "p99_ms", most=2.0, over="one leo", what=what)]
    return Bench("crowd", systems, bounds, rounds=3)  # of half a minute each


def once(leos: int, dialogues: int, delay_ms: float) -> Figures:
    """Measure one daemon with so many leos."""
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "dreamd.sock"
        quick_hooks = ("--set", "gate.chance=0")
        with running(dreamd(Path(folder), *quick_hooks), address) as server:
            before = busy_ns(server.pid)
            found = fresh(
                "tests.bench.hosts", str(address), str(leos), str(dialogues), str(delay_ms), str(SECONDS)
            )
            return {**found, "busy_s": (busy_ns(server.pid) - before) / 1e9}
