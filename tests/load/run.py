"""Load and malice against a live daemon, beside a healthy witness: `make load`."""

import argparse
import asyncio
import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.waiting import until
from tests.load.attacks import ATTACKS

MEMORY = Path("/dev/shm")  # so that other work on the disk delays no line
BACK_KIB = 4 * 1024  # of the daemon's memory, after an attack more than before it
FIRST_KIB = 12 * 1024  # after the first attack of its kind
BACK_S = 20.0  # in which it must be back
TIMES_P99 = 3.0  # of the witness's quiet round trip: reported
TICK = {"WATCHDOG_USEC": "2000000"}  # each 1 s, so that sessions and memory are looked at often
BUSY_DISK = (
    "WARNING dreamd: state: database does not answer\n",
    "WARNING dreamd: state: ok\n",
)  # of this machine
SETTINGS = ("--set", "gate.chance=0", "--set", "inbox.keep=20", "--set", "store.replay_dialogues=20")
WARM_S = 8.0  # of undisturbed dreams, until caches have grown to their size


@dataclass
class Seen:
    """What one attack did. Memory is in KiB."""

    name: str
    did: str
    took_s: float
    before: int
    most: int
    after: int
    witness: dict[str, Any]


def resident_kib(pid: int) -> int:
    """Return VmRSS."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


class Watched:
    """The witness, from outside."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.load.witness", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def report(self) -> dict[str, Any]:
        """Return what it saw since the last report."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the witness has ended"
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(20)
        assert self._process.stdout
        self._process.stdout.close()


@contextmanager
def _highest(pid: int) -> Iterator[list[int]]:
    """Note the highest memory of a block."""
    most, ended = [resident_kib(pid)], threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            most[0] = max(most[0], resident_kib(pid))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield most
    finally:
        ended.set()
        looker.join()


def attacked(
    names: Sequence[str],
    size: float,
    seed: int,
    folder: Path,
    warm_s: float = WARM_S,
    back_s: float = BACK_S,
) -> Iterator[Seen]:
    """Run attacks one after another. The first one is a quiet time. Wait `back_s` for the memory to come back."""
    daemon = DaemonProcess(folder / "s", *SETTINGS, env=TICK)
    with daemon:
        witness = Watched(daemon.socket)
        try:
            time.sleep(warm_s)  # the witness dreams until its memory is warm: a length of time, and no event
            witness.report()
            time.sleep(warm_s)  # the quiet time itself, with which the attacks are compared
            memory = resident_kib(daemon.process.pid)
            yield Seen("quiet", "dreams alone", warm_s, memory, memory, memory, witness.report())
            for name in names:
                yield _one(name, size, random.Random(f"{seed}/{name}"), daemon, witness, back_s)
            assert daemon.process.poll() is None, "the daemon has ended"
        finally:
            witness.close()
    said = daemon.said()
    for line in BUSY_DISK:
        said = said.replace(line, "")
    assert said == "", said


def _one(
    name: str, size: float, chance: random.Random, daemon: DaemonProcess, witness: Watched, back_s: float
) -> Seen:
    pid = daemon.process.pid
    before, began = resident_kib(pid), time.monotonic()
    witness.report()
    with _highest(pid) as most, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # connections are left as they are, on purpose
        did = asyncio.run(_attack(name, str(daemon.socket), size, chance))
        gc.collect()
    took, saw = time.monotonic() - began, witness.report()
    while (
        not saw["complete"] and time.monotonic() < began + took + BACK_S
    ):  # the attack may be shorter than a dream
        time.sleep(0.2)  # the witness is a process that is asked, and does not call
        later = witness.report()
        saw |= {"complete": later["complete"], "wrong": saw["wrong"] + later["wrong"]}
    end = time.monotonic() + back_s
    while (after := resident_kib(pid)) > before + BACK_KIB and time.monotonic() < end:
        time.sleep(0.1)  # of memory that a process gives back the kernel tells nothing
    until(lambda: len(daemon.call("status")["sessions"]) <= 2, "the attack's sessions have gone", BACK_S)
    return Seen(name, did, took, before, most[0], after, saw)


async def _attack(name: str, path: str, size: float, chance: random.Random) -> str:
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # the daemon and the witness keep theirs
    did = await ATTACKS[name](path, size, chance)
    await asyncio.sleep(0.05)  # the transports close
    return did


def problems(seen: Seen, back_kib: int = BACK_KIB) -> list[str]:
    """Return what must not be, without what depends on the machine's speed."""
    found = [f"witness: {wrong}" for wrong in seen.witness["wrong"]]
    if not seen.witness["complete"]:
        found.append("no dream of the witness came to its end")
    if seen.after > seen.before + back_kib:
        found.append(f"memory is {(seen.after - seen.before) / 1024:.1f} MiB above what it was")
    return found


def main(arguments: list[str]) -> int:
    """Attack, print a row for each attack, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=float, default=1.0, help="of each attack")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--real-time", action="store_true", help="let daemon and witness wait for no core (as root): sched(7)"
    )
    parser.add_argument("attack", nargs="*", choices=[*ATTACKS, []], help="all if none is named")
    asked = parser.parse_args(arguments)
    if asked.real_time:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    print(f"seed {asked.seed}")
    print(
        "attack            s     MiB: before, highest, after  witness: dreams  trips  p50 ms  p99 ms   x quiet"
    )
    wrong, quiet, known = 0, 0.0, set[str]()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        twice = [name for name in asked.attack or ATTACKS for _ in range(2)]
        for seen in attacked(twice, asked.size, asked.seed, Path(folder)):
            saw = seen.witness
            quiet = quiet or saw["p99_ms"]
            memory = " / ".join(f"{kib / 1024:6.1f}" for kib in (seen.before, seen.most, seen.after))
            print(
                f"{seen.name:16} {seen.took_s:5.1f}   {memory:28}     {saw['complete']:8} {saw['trips']:8}"
                f" {saw['p50_ms']:7.2f} {saw['p99_ms']:7.2f} {saw['p99_ms'] / max(quiet, 1e-9):6.1f}   {seen.did}",
                flush=True,
            )
            # What is kept once, such as 64 names of clients that have gone, is kept after the first time.
            for problem in problems(seen, BACK_KIB if seen.name in known else FIRST_KIB):
                wrong += 1
                print(f"  {problem}", flush=True)
            known.add(seen.name)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
