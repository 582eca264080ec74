"""A daemon for one state folder: the one that serves it, or else one that dreamctl starts and stops itself."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import click
from dreamclient.errors import SocketPathError
from dreamclient.messages import Method
from dreamclient.paths import SOCKET_NAME, check_socket_path

from dreamd.ctl.daemon.connection import connect_daemon
from dreamd.ctl.daemon.source import Unreachable
from dreamd.ctl.machine.places import has_listener
from dreamd.ctl.terminal.signals import signals_as_exit, signals_deferred

START_S = 20.0  # usually a tenth of a second, several on a busy machine with a cold disk
STOP_S = 5.0  # the daemon itself promises two
STARTED = "dreamd.started"  # in the state folder: the pid of the daemon that dreamctl started here last
LOOK_S = 0.02  # between two looks whether it listens

# Variables by which a supervisor addresses dreamctl: they must not reach a daemon that it starts.
_SUPERVISOR = frozenset({"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC"})


@contextmanager
def daemon_for(
    state: Path, wanted: Path, settings: Sequence[str], *, insist: bool = False
) -> Iterator[tuple[Path, bool]]:
    """Yield the socket of a daemon that serves `state`, and whether it was started here, with `settings`. A daemon that
    was started so ends with the last block that uses it, here or in another process.

    It listens at `wanted`. If that path is too long, or serves another state folder, it listens in a private folder
    instead, or with `insist` raise UsageError. Raise Unreachable with the reason if no daemon could start.
    """
    serving = status_at(wanted) if has_listener(wanted) else None
    if serving is not None and serves_state(serving, state):
        yield wanted, False
        _stop_if_last(wanted, state)
        return
    if serving is not None and insist:
        raise click.UsageError(
            f"the daemon at {wanted} serves {serving.get('state_dir')}, not {state}; "
            "give its --state-dir, or another --socket"
        )
    with ExitStack() as stack:
        if serving is not None or not (insist or _fits_socket(wanted)):
            wanted = stack.enter_context(_private_folder()) / SOCKET_NAME
        stack.enter_context(_own_daemon(state, wanted, settings))
        started = status_at(wanted)
        if not serves_state(started, state):
            raise Unreachable(f"{wanted} was taken by another daemon meanwhile; try again")
        note = state / STARTED
        note.touch(mode=0o600)  # as all files there
        note.write_text(str(started["pid"]), encoding="ascii")
        yield wanted, True


@contextmanager
def private_daemon(state: Path) -> Iterator[Path]:
    """Start a daemon on `state` for a block, and yield its socket, in a folder of its own that no leo looks into. Raise
    Unreachable."""
    with _private_folder() as folder, _own_daemon(state, folder / SOCKET_NAME, ()):
        yield folder / SOCKET_NAME


@contextmanager
def _own_daemon(state: Path, wanted: Path, settings: Sequence[str]) -> Iterator[None]:
    """Start a daemon, wait until it listens, and stop it at the end of the block, even after an error or a signal."""
    command = [sys.executable, "-m", "dreamd", "--state-dir", str(state), "--socket", str(wanted)]
    command += [word for setting in settings for word in ("--set", setting)]
    process = None
    with signals_as_exit(), tempfile.TemporaryFile() as errors:
        try:
            with signals_deferred():
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=own_environment(),
                    start_new_session=True,  # keeps Ctrl-C from the daemon, which dreamctl stops itself
                )
            _await_listening(process, wanted, errors)
            yield
        finally:
            if process is not None and not (process.poll() is None and _is_used(wanted)):
                _stop_process(process, wanted)


def _is_used(socket: Path) -> bool:
    """Return whether a program that could dream is connected to the daemon."""
    with suppress(click.ClickException):
        return has_listener(socket) and any(
            Method.GENERATE in session["provides"] for session in status_at(socket)["sessions"]
        )
    return False


def _stop_if_last(socket: Path, state: Path) -> None:
    """Stop a daemon that dreamctl started in another process, and left running, if no program uses it any more."""
    with suppress(OSError, ValueError, click.ClickException):
        started = int((state / STARTED).read_text(encoding="ascii"))
        if status_at(socket)["pid"] == started and not _is_used(socket):
            with connect_daemon(socket) as daemon:
                daemon.call(Method.SHUTDOWN, timeout_s=STOP_S)
            deadline = time.monotonic() + STOP_S
            while has_listener(socket) and time.monotonic() < deadline:  # it has answered, and stops now
                time.sleep(LOOK_S)


def _await_listening(process: "subprocess.Popen[bytes]", wanted: Path, errors: IO[bytes]) -> None:
    """Wait until the daemon listens. Raise Unreachable if it ends first or takes too long."""
    deadline = time.monotonic() + START_S
    while not has_listener(wanted):
        if process.poll() is not None:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip()
            raise Unreachable(f"the daemon did not start (exit code {process.returncode}).\n{said}")
        if time.monotonic() > deadline:
            raise Unreachable(f"the daemon did not listen at {wanted} within {START_S:g} s")
        time.sleep(LOOK_S)


def _stop_process(process: "subprocess.Popen[bytes]", wanted: Path) -> None:
    """Ask the daemon to stop. Kill it if it does not, or if this wait is interrupted."""
    try:
        if process.poll() is None:
            _ask_to_stop(process, wanted)
            process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _ask_to_stop(process: "subprocess.Popen[bytes]", wanted: Path) -> None:
    try:
        with connect_daemon(wanted) as daemon:
            daemon.call(Method.SHUTDOWN, timeout_s=STOP_S)
    except click.ClickException:
        process.terminate()


def own_environment() -> dict[str, str]:
    """Return the environment for a daemon that dreamctl starts."""
    return {name: value for name, value in os.environ.items() if name not in _SUPERVISOR}


def status_at(path: Path) -> Mapping[str, Any]:
    """Return the `status` of the daemon at `path`. Raise Unreachable."""
    with connect_daemon(path) as daemon:
        status: Mapping[str, Any] = daemon.call(Method.STATUS)
        return status


def serves_state(status: Mapping[str, Any], state: Path) -> bool:
    """Return whether a daemon with this `status` serves the state folder."""
    return os.path.realpath(str(status.get("state_dir"))) == os.path.realpath(state)


def _fits_socket(path: Path) -> bool:
    try:
        check_socket_path(path)
    except SocketPathError:
        return False
    return True


@contextmanager
def _private_folder() -> Iterator[Path]:
    """Make a folder of mode 0700 with a short path for a socket, and remove it after the block."""
    short = _fits_socket(Path(tempfile.gettempdir()) / "dreamd-xxxxxxxx" / SOCKET_NAME)
    with tempfile.TemporaryDirectory(prefix="dreamd-", dir=None if short else "/tmp") as folder:  # noqa: S108 - it is made private
        yield Path(folder)
