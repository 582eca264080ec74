"""A hook call beside its peers: processor time of both processes a call, and the elapsed time."""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from tests.bench.harness import Bench, Bound, Figures

ROOT = Path(__file__).parents[2]
PEERS = Path(f"{sys.prefix}-bench") / "bin" / "python"  # `.venv-bench`, beside `.venv`
OWN = ("raw", "raw_msgpack", "bare_uvloop", "multiprocessing_connection", "dreamd_hook")
# Their distribution, which only the environment of the bench has.
OTHERS = {"pyzmq_pair": "zmq", "pynvim_session": "pynvim", "rpyc_service": "rpyc", "grpcio_generic": "grpc"}
WARM, CALLS, QUICK_CALLS = 500, 6_000, 3_000
DEADLINE_S = 120.0


def bench(quick: bool) -> Bench:
    """Return the comparison. A quick one leaves out the peers."""
    calls = QUICK_CALLS if quick else CALLS
    absent = {} if quick else {name: why for name in OTHERS if (why := _why_absent(name))}
    names = ["bare_uvloop", *(name for name in OWN if name != "bare_uvloop")]
    names += [] if quick else [name for name in OTHERS if name not in absent]
    systems = {name: partial(once, name, calls) for name in names}
    bounds = [
        Bound(
            "dreamd_hook",
            "busy_us",
            most=1.3,
            over="bare_uvloop",
            what="hook call, busy of both ends, everything included",
        ),
        Bound("dreamd_hook", "busy_us", most=1.0, over="pyzmq_pair", what="hook call beside pyzmq"),
        Bound("dreamd_hook", "busy_us", most=1.0, over="pynvim_session", what="hook call beside pynvim"),
    ]
    return Bench("hook call", systems, bounds, absent=absent)


def _why_absent(name: str) -> str:
    if not PEERS.exists():
        return "they have no environment; `make bench` makes it"
    found = subprocess.run([str(PEERS), "-c", f"import {OTHERS[name]}"], capture_output=True, check=False)
    return "" if found.returncode == 0 else f"{OTHERS[name]} is not installed beside the other peers"


def once(name: str, calls: int) -> Figures:
    """Measure one system in two fresh processes, one a core."""
    python = str(PEERS) if name in OTHERS else sys.executable
    command = [python, "-m", f"tests.bench.calls.{name}"]
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        address = f"{folder}/s"
        serving = subprocess.Popen(
            [*command, "serve", address, str(cores[-1])], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        try:
            assert serving.stdout is not None
            assert serving.stdout.readline() == "ready\n", f"{name} does not serve"
            numbers = [str(number) for number in (cores[0], serving.pid, WARM, calls)]
            said = subprocess.run(
                [*command, "call", address, *numbers], stdout=subprocess.PIPE, text=True, cwd=ROOT,
                timeout=DEADLINE_S, check=True,
            ).stdout  # fmt: skip
        finally:
            serving.kill()
            serving.wait()
            serving.stdout.close()
    found: Figures = json.loads(said)
    return found
