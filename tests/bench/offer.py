"""`offer` on leo's reply path, one a millisecond, against one raw send of equal bytes to a process that reads them."""

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgpack
from dreamclient import DreamClient

from tests.bench.daemon import connected, counter, dreamd, running
from tests.bench.harness import Bench, Bound, Figures, fresh, tell
from tests.bench.messages import EMPTY

OFFERS, QUICK_OFFERS, WARM = 600, 200, 100
PAUSE_S = 0.001
TEXT = "the sea is quiet tonight and small, and nothing holds the light like water does"
CONTEXT = EMPTY | {"prompt": "What do you remember of the water?", "reply": TEXT}


def bench(quick: bool) -> Bench:
    """Return the comparison: elapsed time of one call on the reply path."""
    offers = str(QUICK_OFFERS if quick else OFFERS)
    names = ("raw send", "running", "stopped", "absent")
    bounds = [
        Bound("running", "p50_us", most=1.5, over="raw send", what="`offer`, one a millisecond"),
        Bound("stopped", "p50_us", most=1.0, over="raw send", what="`offer`, the daemon stopped"),
        Bound("absent", "p50_us", most=1.0, over="raw send", what="`offer`, no daemon"),
    ]
    return Bench("offer", {name: partial(once, name, offers) for name in names}, bounds)


def once(name: str, offers: str) -> Figures:
    """Measure one system, with a server of its own."""
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "dreamd.sock"
        if name == "absent":
            return fresh(__name__, name, str(address), "0", offers)
        command = counter(address) if name == "raw send" else dreamd(Path(folder))
        with running(command, address) as server:
            return fresh(__name__, name, str(address), str(server.pid), offers)


def raw_send(address: Path) -> Callable[[], object]:
    sock = connected(address)
    data = msgpack.packb([2, "dream.context", [CONTEXT]])
    flags = sock.setblocking(False) or 0
    return lambda: sock.send(data, flags)


def main(name: str, address: str, pid: int, offers: int) -> None:
    if name == "raw send":
        one = raw_send(Path(address))
    else:
        client = DreamClient(lambda *_: "", lambda *_: None, socket_path=address)
        client.start(5)
        one = partial(client.offer, CONTEXT)
    if name == "stopped":
        os.kill(pid, signal.SIGSTOP)
        while one():  # until its socket is full
            pass
    taken = []
    for number in range(WARM + offers):
        time.sleep(PAUSE_S)  # the rate at which it is measured
        before = time.perf_counter_ns()
        try:
            one()
        except BlockingIOError:  # a raw send, and its reader has had no core for so long
            continue
        if number >= WARM:
            taken.append(time.perf_counter_ns() - before)
    if name == "stopped":
        os.kill(pid, signal.SIGCONT)
    taken.sort()
    tell({"p50_us": taken[len(taken) // 2] / 1000, "p99_us": taken[len(taken) * 99 // 100] / 1000})
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
