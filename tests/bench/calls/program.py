"""The two programs of a system: one answers `generate`, the other calls it and measures. It needs no package, because
peers run in an environment of the bench's own."""

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

META = {
    "kind": "dream", "dialog": 1, "trace_id": "dream-1795308768-1-5cd3a899", "turn": 1, "speaker": "leo",
    "role": "leo_dream", "expert": "", "max_tokens": 50, "candidate": 1,
}  # fmt: skip
SEED = "I am a small organism. I speak from the field. The field is all I have. " * 3
PARAMS = [SEED, 0.8, 0.4, META]
LINE = "the sea is quiet tonight and small, and nothing holds the light like water does"


def busy_ns(pid: int) -> int:
    """Return the processor time of all threads of a process, user and system: proc(5), `schedstat`."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


class Measure:
    """The measurement of one caller: `warm` calls, then `calls` that count."""

    def __init__(self, peer: int, warm: int, calls: int) -> None:
        self.peer, self.warm, self.calls = peer, warm, calls
        self._taken: list[int] = []
        self._used = [0, 0]

    def run(self, one: Callable[[], object]) -> None:
        """Make calls that block."""
        for _ in range(self.warm):
            one()
        self._begin()
        for _ in range(self.calls):
            before = time.perf_counter_ns()
            one()
            self._taken.append(time.perf_counter_ns() - before)
        self._end()

    async def run_on_loop(self, one: Callable[[], Awaitable[object]]) -> None:
        """Make calls that are awaited."""
        for _ in range(self.warm):
            await one()
        self._begin()
        for _ in range(self.calls):
            before = time.perf_counter_ns()
            await one()
            self._taken.append(time.perf_counter_ns() - before)
        self._end()

    def _begin(self) -> None:
        self._used = [busy_ns(os.getpid()), busy_ns(self.peer)]

    def _end(self) -> None:
        own, peer = busy_ns(os.getpid()) - self._used[0], busy_ns(self.peer) - self._used[1]
        taken = sorted(self._taken)
        found = {
            "busy_us": (own + peer) / self.calls / 1000,
            "caller_us": own / self.calls / 1000,
            "p50_us": taken[len(taken) // 2] / 1000,
            "p99_us": taken[len(taken) * 99 // 100] / 1000,
        }
        print(json.dumps(found), flush=True)


def ready() -> None:
    """Tell the harness that the answering program can be called."""
    print("ready", flush=True)


def main(serve: Callable[[str], object], call: Callable[[str, Measure], object]) -> None:
    """Run `serve SOCKET CORE` or `call SOCKET CORE PEER WARM CALLS`."""
    role, address, core, *numbers = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    if role == "serve":
        serve(address)
    else:
        call(address, Measure(*map(int, numbers)))
