"""What a shell and the start of leo wait for: dreamctl, and `import dreamclient`, against bare Python."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench.daemon import dreamd, running
from tests.bench.harness import Bench, Bound, Figures
from tests.bench.leo import dream

LEAST_ROUNDS = 7


def bench(quick: bool) -> Bench:
    """Return the comparison, with a daemon that has dreamt."""
    script = str(Path(sys.executable).with_name("dreamctl"))
    systems = {
        "python": [sys.executable, "-c", "pass"],
        "import click": [sys.executable, "-c", "import click"],
        "import dreamclient": [sys.executable, "-c", "import dreamclient"],
        "dreamctl status": [script, "status"],
        "dreamctl show": [script, "show"],
        "dreamctl recent": [script, "recent"],
    }
    bounds = [
        Bound(
            "dreamctl status",
            "elapsed_ms",
            most=2.5,
            over="import click",
            what="`dreamctl status` from the shell",
        ),
        Bound("dreamctl show", "elapsed_ms", most=150, what="`dreamctl show` from the shell"),
        Bound("dreamctl recent", "elapsed_ms", most=150, what="`dreamctl recent` from the shell"),
    ]
    runs = {name: partial(once, command) for name, command in systems.items()}
    return Bench("shell", runs, bounds, rounds=LEAST_ROUNDS)


def once(command: list[str]) -> Figures:
    """Run one command, with a daemon on the other core."""
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        state.mkdir()
        env = {**os.environ, "DREAMD_STATE_DIR": str(state)}
        env.pop("XDG_RUNTIME_DIR", None)
        address = state / "dreamd.sock"
        with running(dreamd(state), address):
            dream(address, 1)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)  # its files are in memory
            before, used = time.perf_counter(), _children_s()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
            return {
                "elapsed_ms": 1000 * (time.perf_counter() - before),
                "busy_ms": 1000 * (_children_s() - used),
            }


def _children_s() -> float:
    """Return the processor time of the ended children of this process."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime
