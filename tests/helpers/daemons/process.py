"""Use for what a user sees of the daemon: a process of its own, called over its socket."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import msgpack

from tests.helpers.waiting import until

DEADLINE_S = 20.0


class DaemonProcess:
    """`python -m dreamd` on a state folder. At the end of the block it is stopped, and its end checked."""

    program: tuple[str, ...] = ("-m", "dreamd")

    def __init__(self, state_dir: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self.state_dir = state_dir
        self.socket = state_dir / "dreamd.sock"
        self.arguments = arguments
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("DREAM", "XDG_"))} | (env or {})
        self.stderr = state_dir.parent / f"{state_dir.name}.stderr"

    def spawn(self) -> Self:
        """Start it, without waiting."""
        command = [sys.executable, *self.program, "--state-dir", str(self.state_dir), *self.arguments]
        with self.stderr.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env
            )
        return self

    def start(self) -> Self:
        """Start it, and wait until it answers and has opened its database."""
        self.spawn()
        try:
            until(self._serves_or_ended, "the daemon serves")
            assert self.process.poll() is None, f"no daemon: {self.said()}"
        except AssertionError:
            self.kill()
            raise
        return self

    def _serves_or_ended(self) -> bool:
        try:
            state: str = self.call("status")["state"]
        except OSError:
            return self.process.poll() is not None
        return state not in ("degraded: starting", "degraded: database does not answer")

    def call(self, method: str, *params: Any) -> Any:
        """Send one request on a connection of its own, and return the answer."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(DEADLINE_S)
            connection.connect(str(self.socket))
            connection.sendall(msgpack.packb([0, 1, method, list(params)]))
            unpacker = msgpack.Unpacker()
            while True:
                data = connection.recv(1 << 16)
                if not data:
                    raise ConnectionError("closed without an answer")
                unpacker.feed(data)
                for _, _, error, result in unpacker:
                    assert error is None, error
                    return result

    def said(self) -> str:
        """Return all that the daemon has printed, except the line of a start."""
        lines = self.stderr.read_text().splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith("INFO dreamd: serving at "))

    def wait(self) -> int:
        """Wait for its end, and return the exit code. Kill it if it does not end, so that no test leaves one."""
        try:
            return self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def stop(self) -> int:
        """Send SIGTERM, and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Send SIGKILL."""
        self.process.kill()
        self.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.stop()
