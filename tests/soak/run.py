"""A year of a leo in compressed time: `make soak`. The daemon, its database and its files are real, not its clock."""

import argparse
import asyncio
import logging
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dreamd.wire.parts import Parts
from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import ORIGIN, STIRRED, leo, settled, texts
from tests.helpers.peer import PlainPeer

DAY_S = 86_400.0
SAMPLES = 10  # a year in tenths
TICK_S = 0.05  # of the machine's time
KEEP_DAYS = 30  # of dialogues: without it the database grows by each line, as it should
SETTINGS: dict[str, Any] = {
    "gate__chance": 1,
    "gate__mode": "fixed",
    "store__keep_days": KEEP_DAYS,
    "inbox__keep": 200,
}
MEMORY = Path("/dev/shm")
# What a figure may be at the end, over what it was after the first tenth.
RATIO = {
    "database_kib": 1.25,
    "inbox_files": 1.25,
    "inbox_kib": 1.25,
    "memory_mib": 1.15,
    "status_ms": 2.5,
    "start_ms": 2.0,
}
MORE = {"descriptors": 2, "tasks": 2, "threads": 1, "log_lines": 0}
LEAST = {
    "inbox_files": 40,
    "inbox_kib": 200,
    "database_kib": 500,
    "status_ms": 3.0,
}  # below it a ratio says nothing


class Lines(logging.Handler):
    """Counts what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.count += 1


@dataclass
class Sample:
    """What a daemon takes after a part of the year."""

    day: int
    dreams: int
    database_kib: int
    inbox_files: int
    inbox_kib: int
    memory_mib: float
    descriptors: int
    tasks: int
    threads: int
    log_lines: int
    status_ms: float
    start_ms: float


def growths(samples: list[Sample]) -> list[str]:
    """Return the figures that grew after the first tenth."""
    first, last = samples[0], samples[-1]
    found = []
    for name, ratio in RATIO.items():
        before, after = getattr(first, name), getattr(last, name)
        if after > ratio * max(before, LEAST.get(name, 0)):
            found.append(f"{name} grew from {before} to {after}")
    for name, more in MORE.items():
        before, after = getattr(first, name), getattr(last, name)
        if after > before + more:
            found.append(f"{name} grew from {before} to {after}")
    return found


async def live(
    folder: Path,
    days: int,
    dreams_a_day: int,
    consumer: bool,
    tell: Callable[[Sample], None],
    **settings: Any,
) -> list[Sample]:
    """Let a leo talk for so many days, and return the samples. Check P4 at the end."""
    clock, lines, samples = TestClock(), Lines(), list[Sample]()
    logging.getLogger("dreamd").addHandler(lines)
    try:
        async with serving(folder, clock=clock.clock, tick_s=TICK_S, **SETTINGS | settings) as parts:
            async with await leo(parts) as host, await PlainPeer.connect(parts.socket) as other:
                await host.call("dream.seed", ORIGIN)
                origin = texts(await host.call("friend.fragments"), origin=True)
                await other.hello("a consumer")
                marks = {round(days * (n + 1) / SAMPLES) for n in range(SAMPLES)}
                for day in range(1, days + 1):
                    await _one_day(parts, host, clock, dreams_a_day)
                    if consumer:
                        await _acknowledge(other)
                    if day in marks:
                        await _tidied(parts)
                        samples.append(await _measured(parts, host, folder, day, lines))
                        tell(samples[-1])
                now = texts(await host.call("friend.fragments"), origin=True)
                assert now == origin, "P4: the origin changed"
                assert parts.failures.counts == {}, parts.failures.counts
    finally:
        logging.getLogger("dreamd").removeHandler(lines)
    return samples


async def _one_day(parts: Parts, host: PlainPeer, clock: TestClock, dreams: int) -> None:
    for _ in range(dreams):
        while not (decision := await host.call("dream.context", STIRRED))["dream"]:
            assert decision["reason"] == "busy", decision  # old dialogues are being forgotten
            await asyncio.sleep(0.005)
        await settled(parts)
        host.asked.clear()  # or this program would grow
        clock.pass_s(DAY_S / dreams / 2)  # he dreams while he is awake
    clock.pass_s(DAY_S / 2)


async def _acknowledge(consumer: PlainPeer) -> None:
    for waiting in await consumer.call("inbox.list", 1000):
        await consumer.call("inbox.ack", waiting["trace_id"])


async def _tidied(parts: Parts) -> None:
    """Let the ticks forget what is old, which goes in parts."""
    for _ in range(3):
        await asyncio.sleep(2 * TICK_S)
        await parts.engine.pending.attempt()


async def _measured(parts: Parts, host: PlainPeer, folder: Path, day: int, lines: Lines) -> Sample:
    took = []
    for _ in range(9):
        began = time.perf_counter()
        await host.call("status")
        took.append((time.perf_counter() - began) * 1000)
    inbox = [file for file in parts.inbox.folder.rglob("*.json") if file.is_file()]
    status = Path("/proc/self/status").read_text()
    return Sample(
        day=day,
        dreams=(await host.call("stats"))["dialogs"],
        database_kib=sum(file.stat().st_size for file in folder.glob("dream.sqlite3*")) >> 10,
        inbox_files=len(inbox),
        inbox_kib=sum(file.stat().st_size for file in inbox) >> 10,
        memory_mib=round(int(status.partition("VmRSS:")[2].split()[0]) / 1024, 1),
        descriptors=len(os.listdir("/proc/self/fd")),
        tasks=len(asyncio.all_tasks()),
        threads=threading.active_count(),
        log_lines=lines.count,
        status_ms=round(statistics.median(took), 2),
        start_ms=round(await asyncio.to_thread(_start_ms, folder), 1),
    )


def _start_ms(folder: Path) -> float:
    """Return how long a real daemon takes to answer, on a copy of the state."""
    took = []
    with tempfile.TemporaryDirectory(dir=folder.parent) as copies:
        for number in range(3):
            copy = Path(copies) / f"s{number}"
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.sock", "*.lock"))
            began = time.perf_counter()
            with DaemonProcess(copy):
                took.append((time.perf_counter() - began) * 1000)
    return min(took)


def main(arguments: list[str]) -> int:
    """Live the years, print a row for each tenth, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--dreams", type=int, default=10, help="a day")
    parser.add_argument("--seed", type=int, default=1, help="of the daemon's chance")
    asked = parser.parse_args(arguments)
    names = [field.name for field in fields(Sample)]
    found = []
    print(f"seed {asked.seed}")
    for who, consumer in (("with a consumer", True), ("without any consumer", False)):
        began = time.monotonic()
        print(f"a leo {who}\n" + " ".join(f"{name:>12}" for name in names), flush=True)
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
            state = Path(folder) / "s"
            state.mkdir()

            def tell(sample: Sample) -> None:
                print(" ".join(f"{getattr(sample, name):>12}" for name in names), flush=True)

            samples = asyncio.run(live(state, asked.days, asked.dreams, consumer, tell, seed=asked.seed))
        found += [f"{who}: {growth}" for growth in growths(samples)]
        print(
            f"{samples[-1].dreams} dreams of {asked.days} days in {time.monotonic() - began:.0f} s; the origin is whole"
        )
    print("\n".join(found) or "flat after the first tenth")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
