"""Measure the wire, as ratios to floors of the same run.

Floor: two processes, one a core, blocking Unix sockets, the same bytes, no codec. Run by `make bench`.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgpack

ROUNDS, WARM = 20_000, 1_000
DREAMS = 1_500
META = {
    "kind": "dream", "dialog": 1, "trace_id": "dream-1795308768-1-5cd3a899", "turn": 1, "speaker": "leo",
    "role": "leo_dream", "expert": "", "max_tokens": 50,
}  # fmt: skip
SEED = "I am a small organism. I speak from the field. The field is all I have. " * 3
LINE = "the sea is quiet tonight and small, and nothing holds the light like water does"
CONTEXT = {
    "prompt": "What do you remember of the water?", "reply": LINE, "math_state": None,
    "pulse": {"novelty": 0.2, "arousal": 0.3, "entropy": 0.4}, "trauma_level": 0.1, "themes": [1, 2],
    "expert": "structural", "quality": 0.7,
}  # fmt: skip


def on_core(number: int) -> None:
    os.sched_setaffinity(0, {number % os.cpu_count()})


def median_us(one: Callable[[], None], rounds: int = ROUNDS) -> float:
    for _ in range(WARM):
        one()
    taken = []
    for _ in range(rounds):
        before = time.perf_counter_ns()
        one()
        taken.append(time.perf_counter_ns() - before)
    return statistics.median(taken) / 1000


def echo(codec: bool) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return a function that makes a round trip of a generate call between two processes, and one that ends it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    call = [0, 1, "generate", [SEED, 0.8, 0.4, META]]
    sent, answer = msgpack.packb(call), msgpack.packb([1, 1, None, LINE])
    child = os.fork()
    if not child:
        on_core(1)
        ours.close()
        pack, unpack = msgpack.Packer().pack, msgpack.unpackb
        while data := theirs.recv(65536):
            if codec:
                asked = unpack(data)
                theirs.sendall(pack([1, asked[1], None, LINE]))
            else:
                theirs.sendall(answer)
        os._exit(0)
    theirs.close()
    pack, unpack = msgpack.Packer().pack, msgpack.unpackb

    def raw() -> None:
        ours.sendall(sent)
        ours.recv(65536)

    def coded() -> None:
        ours.sendall(pack(call))
        unpack(ours.recv(65536))

    def end() -> None:
        ours.close()
        os.waitpid(child, 0)

    return (coded if codec else raw), end


def floor_us(codec: bool) -> float:
    one, end = echo(codec)
    try:
        return median_us(one)
    finally:
        end()


class Running:
    """A daemon on the second core."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "dreamd.sock"
        command = [sys.executable, "-m", "dreamd", "--state-dir", str(folder)]
        self.process = subprocess.Popen(command, preexec_fn=lambda: on_core(1))
        while not self.socket.exists():
            time.sleep(0.01)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def hooks_us(running: Running) -> dict[str, float]:
    """Return the daemon's latency of hooks that do nothing, which includes its own work and the client's."""
    from dreamclient import DreamClient

    lines = iter(f"{LINE} {number} {number * 7}" for number in range(10**9))
    with DreamClient(lambda *_: next(lines), lambda *_: None, socket_path=running.socket) as client:
        client.start(10)
        for _ in range(DREAMS):
            client.dream_now()
        found = client.call("status")["hooks"]
    return {name: figures["p50_ms"] * 1000 for name, figures in found.items()}


def offer_us(running: Running | None) -> tuple[float, float]:
    """Time one offer a millisecond, and one raw send of equal bytes."""
    from dreamclient import DreamClient

    data = msgpack.packb([2, "dream.context", [CONTEXT]])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
    path = running.socket if running else "/nonexistent/dreamd.sock"
    sends, offers = [], []
    with DreamClient(lambda *_: "", lambda *_: None, socket_path=path) as client:
        client.start(1)
        for _ in range(3000):
            before = time.perf_counter_ns()
            client.offer(CONTEXT)
            middle = time.perf_counter_ns()
            ours.send(data, flags)
            sends.append(time.perf_counter_ns() - middle)
            offers.append(middle - before)
            theirs.recv(65536)
            time.sleep(0.001)
    ours.close()
    theirs.close()
    return statistics.median(offers) / 1000, statistics.median(sends) / 1000


@contextmanager
def greeted(running: Running) -> Iterator[socket.socket]:
    """Return a connection that has said hello."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(running.socket))
        hello = {"protocol": 1, "name": "bench", "version": "0", "pid": 1, "provides": []}
        sock.sendall(msgpack.packb([0, 1, "hello", [hello]]))
        sock.recv(65536)
        yield sock


@contextmanager
def traced(running: Running, reads: bool) -> Iterator[None]:
    """Run a tracer that reads as fast as it can, or not at all."""
    with greeted(running) as sock:
        sock.sendall(msgpack.packb([0, 2, "trace.subscribe", []]))
        sock.recv(65536)
        child = os.fork() if reads else 0
        if reads and not child:
            while sock.recv(1 << 20):
                pass
            os._exit(0)
        yield
        sock.shutdown(socket.SHUT_RDWR)
        if child:
            os.waitpid(child, 0)


def contexts_a_second(running: Running, count: int = 200_000) -> float:
    """Return the contexts decided a second, sent as fast as the daemon takes them."""
    data = msgpack.packb([2, "dream.context", [CONTEXT]]) * 100
    with greeted(running) as pushing:
        before = time.perf_counter()
        for _ in range(count // 100):
            pushing.sendall(data)
        pushing.sendall(msgpack.packb([0, 2, "why", [1]]))  # answered in order: all before it are decided
        pushing.recv(65536)
        return count / (time.perf_counter() - before)


def main() -> None:
    on_core(0)
    raw, coded = floor_us(codec=False), floor_us(codec=True)
    print(f"floor {raw:.1f} µs; with msgpack {coded:.1f} µs ({coded / raw:.2f} × floor)")
    with tempfile.TemporaryDirectory() as folder:
        running = Running(Path(folder))
        try:
            for name, us in hooks_us(running).items():
                print(
                    f"{name} round trip p50 {us:.1f} µs = {us / raw:.2f} × floor, {us / coded:.2f} × with msgpack"
                )
            offer, send = offer_us(running)
            print(f"offer, daemon up: p50 {offer:.2f} µs = {offer / send:.2f} × a raw send ({send:.2f} µs)")
            alone = contexts_a_second(running)
            print(f"contexts decided: {alone:,.0f} a second")
            for reads in (True, False):
                with traced(running, reads):
                    share = contexts_a_second(running) / alone
                print(f"  with a tracer that {'reads' if reads else 'does not read'}: {share:.2f} of that")
        finally:
            running.end()
    offer, send = offer_us(None)
    print(f"offer, daemon absent: p50 {offer:.2f} µs = {offer / send:.2f} × a raw send ({send:.2f} µs)")


if __name__ == "__main__":
    main()
