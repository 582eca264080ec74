"""Use for a client of another version: a frozen daemon with an earlier version of the protocol."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.waiting import until_listened

PROGRAM = Path(__file__).parents[2] / "data" / "old_daemon.py"


@contextmanager
def old_daemon(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run it at `path`; it is killed when the block ends."""
    with subprocess.Popen([sys.executable, PROGRAM, path]) as process:
        try:
            until_listened(path)
            yield process
        finally:
            process.kill()
