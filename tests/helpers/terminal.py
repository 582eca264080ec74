"""Use for what a terminal shows: a program on a terminal of its own, and keys to press."""

import codecs
import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.helpers.dreamctl import UNSET

DEADLINE_S = 30.0


class Terminal:
    """Runs `command`; its width is that of the terminal, unless COLUMNS says otherwise."""

    def __init__(self, command: Sequence[object], cwd: Path, *, columns: int = 80, **env: str) -> None:
        self.seen, self.decoded = "", codecs.getincrementaldecoder("utf-8")()
        self.fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        kept = {
            name: value for name, value in os.environ.items() if name not in {*UNSET, "COLUMNS", "NO_COLOR"}
        }
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, "TERM": "xterm", **env},
            start_new_session=True,
        )
        os.close(theirs)

    def until(self, text: str, times: int = 1) -> None:
        """Read until `text` has been shown so often (or the other end has closed)."""
        deadline = time.monotonic() + DEADLINE_S
        while self.seen.count(text) < times:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    data = os.read(self.fd, 1 << 16)
                except OSError:  # EIO: the other end has closed
                    return
                self.seen += self.decoded.decode(data)

    def until_it_waits(self) -> None:
        """Wait until the program waits for a key. A signal before that would take effect only with the next key."""
        deadline = time.monotonic() + DEADLINE_S
        while Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2][0] != "S":
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def end(self) -> int:
        """Read all that it shows until its end, and return the exit code."""
        self.until("\0")
        return self.process.wait(DEADLINE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DEADLINE_S)
        os.close(self.fd)
