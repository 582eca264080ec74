"""Contexts decided a second, sent as fast as they are taken, against a bare uvloop server that counts them.

A second is one of processor time of the daemon, since it would be busy all the time on a core of its own. `empty`: no
texts, from a client without hooks. `usual`: leo's texts, from a client with hooks: each measure is ranked.
"""

import random
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench.calls.program import busy_ns
from tests.bench.daemon import ask, connected, counter, dreamd, greet, running
from tests.bench.harness import Bench, Bound, Figures
from tests.bench.messages import EMPTY, packed, usual

COUNT, QUICK_COUNT, CHUNK, WARM = 20_000, 10_000, 100, 2_000
ORIGIN = [f"I am a small organism of field number {number}, and I speak of the sea." for number in range(200)]


def bench(quick: bool) -> Bench:
    """Return the comparison."""
    count = QUICK_COUNT if quick else COUNT
    systems = {
        f"{name} {kind}": partial(once, name, kind, count)
        for kind in ("empty", "usual")
        for name in ("counter", "dreamd")
    }
    bounds = [
        Bound(
            "dreamd empty",
            "a_second",
            least=0.8,
            over="counter empty",
            what="contexts decided in a second of processor time, empty texts",
        ),
        Bound(
            "dreamd usual",
            "a_second",
            least=40_000,
            what="contexts decided in a second of processor time, usual texts",
        ),
    ]
    return Bench("contexts", systems, bounds)


def once(name: str, kind: str, count: int) -> Figures:
    """Return the contexts that one system decides in a second of its processor time."""
    draw = random.Random(1)
    contexts = [EMPTY if kind == "empty" else usual(draw) for _ in range(CHUNK * 20)]
    chunks = [packed(contexts[start : start + CHUNK]) for start in range(0, len(contexts), CHUNK)]
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "dreamd.sock"
        never = ("--set", "gate.chance=0")
        command = counter(address) if name == "counter" else dreamd(Path(folder), *never)
        with running(command, address) as server, connected(address) as sock:
            greet(sock, *(("generate", "observe") if kind == "usual" else ()))
            if kind == "usual":
                ask(sock, "dream.seed", {"origin": ORIGIN})
            for number in range(WARM // CHUNK):
                sock.sendall(chunks[number % len(chunks)])
            ask(sock, "status")
            before, began = busy_ns(server.pid), time.perf_counter()
            for number in range(count // CHUNK):
                sock.sendall(chunks[number % len(chunks)])
            ask(sock, "why" if name == "dreamd" else "count", 1)
            busy_us = (busy_ns(server.pid) - before) / 1000
            elapsed_s = time.perf_counter() - began
    return {
        "a_second": count / busy_us * 1e6,
        "busy_us": busy_us / count,
        "a_second_elapsed": count / elapsed_s,
    }
