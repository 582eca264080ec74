"""The service without a user manager of systemd: a plain process in the background."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shlex import quote

from click import ClickException
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import connect_daemon
from dreamd.ctl.daemon.source import Unreachable
from dreamd.ctl.daemon.start import own_environment, serves_state, status_at
from dreamd.ctl.machine.places import awaits_knock, has_listener, listener_pid, look_at_state
from dreamd.process.state_folder import make_private_folder

LOG_BYTES = 1 << 20  # a longer log is renamed at the next start, and replaces the log renamed before
START_S = 90.0  # a disk may be slow; systemd waits as long
STOP_S = 10.0


def log_file(state: Path) -> Path:
    """Return the log file of a daemon that was started without systemd."""
    return state / "dreamd.log"


def check_log(log: Path) -> None:
    """Raise ClickException if the log is no regular file: opening a FIFO would block."""
    if os.path.exists(log) and not os.path.isfile(log):
        raise ClickException(f"{log} is no regular file; move it away")


def serving_pid(state: Path, socket: Path) -> int:
    """Return the pid of the daemon that answers at `socket`. Raise ClickException if it serves another state folder."""
    status = status_at(socket)
    pid, theirs = int(status["pid"]), status.get("state_dir")
    if theirs and not serves_state(status, state):
        raise ClickException(
            f"the daemon at {socket} (pid {pid}) serves {theirs}, not {state}: give its --state-dir, or another "
            f"--socket, or end it: `dreamctl --socket {quote(str(socket))} service stop`"
        )
    return pid


def spawn_daemon(state: Path, socket: Path) -> int | None:
    """Start a daemon that outlives this process, wait until it answers, and return its pid. Return None if another
    daemon answers at `socket`."""
    make_private_folder(state)
    log = log_file(state)
    check_log(log)
    if os.path.exists(log) and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    words = [sys.executable, "-m", "dreamd", "--state-dir", str(state), "--socket", str(socket)]
    log.touch(mode=0o600)
    with log.open("ab") as out:
        before = out.tell()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=own_environment(),
            start_new_session=True,
            cwd="/",
        )
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        if has_listener(socket):
            with suppress(Unreachable):  # it may still fail to start
                if status_at(socket)["pid"] == process.pid:
                    return process.pid
                process.terminate()  # else it would serve once the other ends
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_S)
                return None
        time.sleep(0.02)
    said = log.read_bytes()[before:].decode("utf-8", "replace").strip()
    if process.poll() is None:
        raise ClickException(
            f"it does not answer yet, and goes on starting (pid {process.pid}): {said or log}"
        )
    raise ClickException(f"it did not start: {said or f'it ended with {process.returncode}'}")


def stop_daemon(state: Path, socket: Path, units: Sequence[str]) -> None:
    """Ask the daemon at `socket` to stop, and wait until it has released its state folder, which may differ from
    `state`. Raise ClickException if it goes on running, or if systemd would start it again by `units`."""
    facts = look_at_state(state)
    if facts.stopped:
        raise ClickException(
            f"the daemon (pid {facts.holder}) is stopped (SIGSTOP): let it go on, `kill -CONT {facts.holder}`"
        )
    if facts.holder and not has_listener(socket):
        raise ClickException(
            f"the daemon of {state} (pid {facts.holder}) does not listen at {socket}, so it cannot be asked to stop. "
            f"End it: {facts.way_to_end}"
        )
    with connect_daemon(socket) as daemon:
        status = daemon.call(Method.STATUS)
        folder = Path(status.get("state_dir", state))
        pid = int(status["pid"])
        holds = look_at_state(folder).holder == pid  # False if its folder was replaced
        daemon.call(Method.SHUTDOWN)

    def runs() -> bool:
        return (look_at_state(folder).holder if holds else listener_pid(socket)) == pid

    until = time.monotonic() + STOP_S
    while runs():
        if time.monotonic() > until:
            raise ClickException(f"it was asked to stop, and still runs (pid {pid})")
        time.sleep(0.02)
    if awaits_knock(socket):
        raise ClickException(
            f"the daemon (pid {pid}) ended, and systemd, listening at {socket}, restarts it at the next connection: "
            f"`systemctl --user stop {' '.join(units)}` stops both"
        )
