"""Use to show that leo's process is untouched: the host program as a child, its output and its end."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

DEADLINE_S = 30.0
REPLIES = 24


class HostProcess:
    """`tests.helpers.host_program`, up to the point where it waits on stdin; `finish` lets it go on."""

    def __init__(
        self, folder: Path, socket_path: Any, replies: int = REPLIES, step: str = "", **env: str
    ) -> None:
        reading, writing = os.pipe()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DREAM", "XDG_"))}
        argv = [
            sys.executable,
            "-m",
            "tests.helpers.host_program",
            str(folder),
            str(socket_path),
            str(replies),
            step,
        ]
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=kept | {"REPORT_TO": str(writing)} | env, pass_fds=(writing,), start_new_session=True,
        )  # fmt: skip
        os.close(writing)
        self._reports = os.fdopen(reading)
        self.connected: bool = self.report()["connected"]

    def report(self) -> dict[str, Any]:
        """Return its next report."""
        line = self._reports.readline()
        if not line:
            raise AssertionError(f"no report: {self.process.communicate(timeout=DEADLINE_S)}")
        report: dict[str, Any] = json.loads(line)
        return report

    def go_on(self) -> None:
        """Let it talk."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> "Ended":
        """Wait for its end."""
        out, err = self.process.communicate(timeout=DEADLINE_S)
        said = self._reports.readlines()
        return Ended(self.process.returncode, out, err, json.loads(said[-1]) if said else {})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._reports.close()
        if self.process.returncode is None:  # its children have its output open, too
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=DEADLINE_S)


class Ended:
    """The end of a host: its exit code, all that it printed, and its last report."""

    def __init__(self, code: int, out: str, err: str, report: dict[str, Any]) -> None:
        self.code, self.out, self.err, self.report = code, out, err, report
