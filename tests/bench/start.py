"""From spawn to the first `status` answered, against a bare uvloop server; and by socket activation."""

import os
import signal
import socket
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench.calls.program import busy_ns
from tests.bench.daemon import ask, connected, counter, dreamd, running
from tests.bench.harness import Bench, Bound, Figures

FIRST_FD = 3  # sd_listen_fds(3)


def bench(quick: bool) -> Bench:
    """Return the comparison. Each server but one begins in an empty folder."""
    systems = {
        "counter": partial(spawned, "counter"),
        "dreamd": partial(spawned, "dreamd"),
        "dreamd, second start": again,
        "dreamd, socket activated": activated,
    }
    bounds = [Bound("dreamd", "elapsed_ms", most=2.0, over="counter", what="spawn to the first `status`")]
    return Bench("start", systems, bounds, rounds=9)


def spawned(name: str) -> Figures:
    """Start a server, and ask it as soon as it listens."""
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "dreamd.sock"
        return _answered(counter(address) if name == "counter" else dreamd(Path(folder)), address)


def again() -> Figures:
    """Start a daemon whose database is there."""
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "dreamd.sock"
        _answered(dreamd(Path(folder)), address)
        return _answered(dreamd(Path(folder)), address)


def _answered(command: list[str], address: Path) -> Figures:
    before = time.perf_counter()
    with running(command, address) as server, connected(address) as sock:
        ask(sock, "status")
        return {"elapsed_ms": 1000 * (time.perf_counter() - before), "busy_ms": busy_ns(server.pid) / 1e6}


def activated() -> Figures:
    """Start a daemon on a socket that has a request waiting, as systemd does."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listening:
        address = Path(folder) / "dreamd.sock"
        listening.bind(str(address))
        listening.listen()
        with connected(address) as sock:
            before = time.perf_counter()
            pid = os.fork()
            if pid == 0:
                _become(dreamd(Path(folder)), listening.fileno())
            try:
                ask(sock, "status")
                elapsed_ms = 1000 * (time.perf_counter() - before)
                return {"elapsed_ms": elapsed_ms, "busy_ms": busy_ns(pid) / 1e6}
            finally:
                os.kill(pid, signal.SIGTERM)
                os.waitpid(pid, 0)


def _become(command: list[str], listening: int) -> None:
    """Run a command in place of this forked process, and pass it the socket."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.dup2(os.dup(listening), FIRST_FD)
    os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
    os.execv(command[0], command)
