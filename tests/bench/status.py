"""Measure `dreamctl status` against `python -c 'import click'`, in turn. Run by `make bench`.

The daemon is a real one, and has dreamt, so that `status` has everything to show.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from dreamclient import DreamClient

from tests.helpers.daemons.process import DaemonProcess

ROUNDS, WARM = 40, 3
MOST = 2.5  # times the floor
LINES = (
    "the sea is quiet tonight",
    "I hear the river under the house",
    "nothing holds the light",
    "snow fell",
)


def took_ms(command: Sequence[str], folder: Path) -> float:
    before = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder)
    return (time.perf_counter() - before) * 1000


def dreamt(daemon: DaemonProcess) -> None:
    """Have a leo dream once."""
    lines = iter(LINES)
    with DreamClient(lambda *_: next(lines), lambda _: None, socket_path=daemon.socket) as leo:
        leo.start(10.0)
        leo.dream_now()


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder, script = Path(name), Path(sys.executable).with_name("dreamctl")
        os.environ["DREAMD_STATE_DIR"] = str(folder / "state")
        floor, status = [sys.executable, "-c", "import click"], [str(script), "status"]
        with DaemonProcess(folder / "state") as daemon:
            dreamt(daemon)
            pairs = [(took_ms(floor, folder), took_ms(status, folder)) for _ in range(WARM + ROUNDS)][WARM:]
    least, taken = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"python -c 'import click': p50 {least:.1f} ms")
    print(f"dreamctl status: p50 {taken:.1f} ms = {taken / least:.2f} x that (at most {MOST:g})")
    return int(taken > MOST * least)


if __name__ == "__main__":
    sys.exit(main())
