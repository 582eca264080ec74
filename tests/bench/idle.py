"""Measure an idle daemon: processor time, wake-ups and write calls in a minute (P12). Run by `make bench`.
It takes three minutes, because a tick takes 15 s.

It has dreamt, a leo stays connected, and its log has been emptied: as on any evening.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

from dreamclient import DreamClient

from tests.helpers.daemons.process import DaemonProcess

IDLE_S = 60.0
MOST_MS = 5.0
EMPTIED_S = 60.0  # two ticks, and some, until its log has been emptied
SETTLED_S = 20.0  # one more tick, which finds nothing changed any more
WRITES = "write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat"
LINES = (
    "the sea is quiet tonight",
    "I hear the river under the house",
    "nothing holds the light",
    "snow fell",
)


def cpu_ms(pid: int) -> float:
    """Return the processor time of all its threads, by proc(5) `schedstat`, which counts nanoseconds."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def switches(pid: int) -> int:
    """Return how often its threads have gone to sleep."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    texts = ((task / "status").read_text() for task in tasks)
    return sum(int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", text)[1]) for text in texts)


def write_calls(pid: int, seconds: float) -> Counter[str]:
    """Write calls by name, as strace sees them."""
    with tempfile.NamedTemporaryFile("r") as out:
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-e", f"trace={WRITES}", "-p", str(pid), "-o", out.name],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)  # the measurement itself: what happens in so many seconds
        tracer.terminate()
        tracer.wait()
        return Counter(re.findall(r"^\d+ +(\w+)\(", out.read(), re.MULTILINE))


def quiet_daemon(stack: ExitStack) -> int:
    """Return the process id of a daemon that has dreamt, with a leo connected and its log emptied."""
    state = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "state"
    daemon = stack.enter_context(DaemonProcess(state))
    lines = iter(LINES * 9)
    leo = DreamClient(lambda *_: next(lines), lambda _: None, socket_path=daemon.socket, origin=LINES)
    stack.enter_context(leo)
    leo.start(10.0)
    leo.dream_now()
    wal, until = state / "dream.sqlite3-wal", time.monotonic() + EMPTIED_S
    while wal.stat().st_size:
        if time.monotonic() > until:
            raise SystemExit("the log was not emptied")
        time.sleep(1.0)  # nothing tells of it, and the daemon is not to be disturbed
    time.sleep(SETTLED_S)  # its tick is what is waited for
    return daemon.process.pid


def main() -> int:
    with ExitStack() as stack:
        pid = quiet_daemon(stack)
        cpu, slept = cpu_ms(pid), switches(pid)
        time.sleep(IDLE_S)  # the measurement itself: what is used in so many seconds
        used, woken = cpu_ms(pid) - cpu, switches(pid) - slept
        print(f"idle, {IDLE_S:g} s: {used:.2f} ms processor time (at most {MOST_MS:g}), {woken} wake-ups")
        if shutil.which("strace") is None:
            print("no strace here: write calls were not counted")
            return int(used > MOST_MS)
        calls = write_calls(pid, IDLE_S)
        print(f"idle, {IDLE_S:g} s: {calls.total()} write calls (none are due) {dict(calls)}")
        return int(used > MOST_MS or calls.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
