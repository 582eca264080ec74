"""What `dreamctl status` takes to answer, beside `python -c 'import click'`, one after the other. Run by `make bench`.

The daemon is a real one, and has dreamt: status has everything to show.
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

ROUNDS, WARM = 40, 3
MOST = 2.5  # times the floor
READY_S = 20.0
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


def dreamt(folder: Path, daemon: "subprocess.Popen[bytes]") -> None:
    """Have a leo dream once."""
    lines = iter(LINES)
    with DreamClient(lambda *_: next(lines), lambda _: None, socket_path=folder / "state/dreamd.sock") as leo:
        until = time.monotonic() + READY_S
        while not leo.start(1.0):
            if daemon.poll() is not None or time.monotonic() > until:
                raise SystemExit("the daemon did not start")
            time.sleep(0.05)
        leo.dream_now()


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder, script = Path(name), Path(sys.executable).with_name("dreamctl")
        os.environ["DREAMD_STATE_DIR"] = str(folder / "state")
        floor, status = [sys.executable, "-c", "import click"], [str(script), "status"]
        daemon = subprocess.Popen([sys.executable, "-m", "dreamd"])
        try:
            dreamt(folder, daemon)
            pairs = [(took_ms(floor, folder), took_ms(status, folder)) for _ in range(WARM + ROUNDS)][WARM:]
        finally:
            daemon.terminate()
            daemon.wait(20)
    least, taken = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"python -c 'import click': p50 {least:.1f} ms")
    print(f"dreamctl status: p50 {taken:.1f} ms = {taken / least:.2f} x that (at most {MOST:g})")
    return int(taken > MOST * least)


if __name__ == "__main__":
    sys.exit(main())
