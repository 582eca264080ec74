"""How many leos one daemon carries, each with a context every 10 s and a dialogue every 3 min, until its hooks take
twice as long as those of a few. Found by search.

A daemon has 1,024 sessions. More leos than LEOS are as many connections that live faster: the load is theirs.
"""

import tempfile
from functools import partial
from pathlib import Path

from tests.bench.daemon import dreamd, running
from tests.bench.harness import Bench, Figures, fresh, say

FEW, LEOS, MOST = 125, 1_000, 64_000
SECONDS, FEW_SECONDS = 6.0, 30.0  # of a few leos there are few calls, and a 99th percentile needs a hundred
STEPS = 2  # of the search between the last number that was carried and the first that was not


def bench(quick: bool) -> Bench:
    """Return the one measurement, in one round, since it is a search."""
    return Bench("how many leos", {"dreamd": search}, rounds=1)


def search() -> Figures:
    """Return the number of leos, and the figures at it and at a few."""
    few = live(FEW, FEW_SECONDS)
    limit_ms = 2 * few["p99_ms"]
    carried, found = FEW, few
    too_many = 2 * FEW
    while too_many <= MOST and (more := live(too_many))["p99_ms"] <= limit_ms:
        carried, found, too_many = too_many, more, 2 * too_many
    for _ in range(STEPS):
        between = round((carried * too_many) ** 0.5)
        if (more := live(between))["p99_ms"] <= limit_ms:
            carried, found = between, more
        else:
            too_many = between
    return {
        "few_p50_ms": few["p50_ms"], "few_p99_ms": few["p99_ms"], "leos": carried, "p50_ms": found["p50_ms"],
        "p99_ms": found["p99_ms"], "core_share": found["core_share"],
    }  # fmt: skip


def live(leos: int, seconds: float = SECONDS) -> Figures:
    """Let so many leos live with one daemon for a while, and return the latencies of their hooks, and the share of its
    core that the daemon used."""
    say(f"how many leos: {leos:,}")
    connections = min(leos, LEOS)
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "dreamd.sock"
        with running(dreamd(Path(folder), "--set", "gate.chance=0"), address) as server:
            run = partial(fresh, "tests.bench.hosts", str(address), str(connections), "0", "0")
            return run(str(seconds), str(leos / connections), str(server.pid))
