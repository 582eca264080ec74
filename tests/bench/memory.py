"""Memory after the start and after many dialogues, each after a reply, and what an idle minute costs afterwards."""

import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench.calls.program import busy_ns
from tests.bench.daemon import dreamd, running
from tests.bench.harness import Bench, Bound, Figures
from tests.bench.leo import dream

DIALOGUES = 10_000
FIRST = 1_000  # a figure in between
# The first tick writes what is new, the third empties the log, the fourth looks at the files once more. Then nothing is
# due.
SETTLE_S, IDLE_S = 65.0, 60.0


def bench(quick: bool) -> Bench:
    """Return the one measurement, in one round, since it takes minutes."""
    bounds = [
        Bound("dreamd", "started_mb", most=30, what="memory after the start"),
        Bound("dreamd", "dreamt_more_mb", most=18, what="memory after 10,000 dialogues, more"),
        Bound("dreamd", "idle_ms", most=5, what="idle, 60 s"),
    ]
    return Bench("memory and idle", {"dreamd": partial(once, DIALOGUES)}, bounds, rounds=1)


def resident_mb(pid: int) -> float:
    """Return the memory of a process that is in RAM, without what it shares (proc(5), `smaps_rollup`: Pss)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def once(dialogues: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "dreamd.sock"
        with running(dreamd(Path(folder), "--set", "gate.chance=0"), address) as server:
            time.sleep(1.0)  # its work after the start is done
            started = resident_mb(server.pid)
            before = time.perf_counter()
            dream(address, FIRST, replies=True)
            first = resident_mb(server.pid)
            dream(address, dialogues - FIRST, replies=True)
            dialogue_ms = 1000 * (time.perf_counter() - before) / dialogues
            dreamt = resident_mb(server.pid)
            time.sleep(SETTLE_S)  # four ticks, of which nothing outside the daemon tells
            used = busy_ns(server.pid)
            time.sleep(IDLE_S)  # the measurement itself: what is used in so many seconds
            idle_ms = (busy_ns(server.pid) - used) / 1e6
    return {
        "started_mb": started, "dreamt_more_mb": dreamt - started, "after_1000_more_mb": first - started,
        "dialogue_ms": dialogue_ms, "idle_ms": idle_ms,
    }  # fmt: skip
