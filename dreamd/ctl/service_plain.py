"""The service where no user manager of systemd answers: a plain process in the background."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from click import ClickException

from dreamd.ctl.checkup.place import listens, look_at_state
from dreamd.ctl.connection import Unreachable, connected
from dreamd.wire.listener import make_private_folder

LOG_BYTES = 1 << 20  # a log that is longer is put aside at the next start, and the one before it goes
START_S = 90.0  # a disk may be slow; systemd waits as long
STOP_S = 10.0


def log_file(state: Path) -> Path:
    """The log of a daemon that was started without systemd."""
    return state / "dreamd.log"


def spawn(state: Path, socket: Path) -> tuple[int, Path]:
    """Start a daemon that outlives this process, and wait until it answers: its pid, and its log."""
    make_private_folder(state)
    log = log_file(state)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    words = [sys.executable, "-m", "dreamd", "--state-dir", str(state), "--socket", str(socket)]
    log.touch(mode=0o600)
    with log.open("ab") as out:
        before = out.tell()
        process = subprocess.Popen(
            [*words, "--set", "log.level=info"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            cwd="/",
        )
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        if listens(socket):
            with suppress(Unreachable), connected(socket) as daemon:  # it may yet find that it cannot serve
                return int(daemon.call("status")["pid"]), log
        time.sleep(0.02)
    said = log.read_bytes()[before:].decode("utf-8", "replace").strip()
    if process.poll() is None:
        raise ClickException(
            f"it does not answer yet, and goes on starting (pid {process.pid}): {said or log}"
        )
    raise ClickException(f"it did not start: {said or f'it ended with {process.returncode}'}")


def stop(state: Path, socket: Path) -> None:
    """Ask the daemon to stop, and wait until it has let go of the state folder: it listens no more before."""
    facts = look_at_state(state)
    if facts.stopped:
        raise ClickException(
            f"the daemon (pid {facts.holder}) is stopped (SIGSTOP): let it go on, `kill -CONT {facts.holder}`"
        )
    if facts.holder and not listens(socket):
        raise ClickException(
            f"the daemon of {state} (pid {facts.holder}) does not listen at {socket}: end it, `kill {facts.holder}`"
        )
    with connected(socket) as daemon:
        daemon.call("shutdown")
    until = time.monotonic() + STOP_S
    while (listens(socket) or look_at_state(state).holder) and time.monotonic() < until:
        time.sleep(0.02)
