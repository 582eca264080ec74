"""A daemon for one state folder: the one that serves it, or one of dreamctl's own for as long as it is needed."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import click
from dreamclient.errors import SocketPathError
from dreamclient.messages import Method
from dreamclient.paths import SOCKET_NAME, check_socket_path

from dreamd.ctl.daemon.connection import Unreachable, connected
from dreamd.ctl.machine.places import listens
from dreamd.ctl.terminal.signals import undisturbed

START_S = 20.0  # it takes a tenth of a second; on a busy machine with a cold disk, several
STOP_S = 5.0  # it promises two
LOOK_S = 0.02  # between two looks whether it listens

# What a supervisor handed to us is not meant for a daemon of ours.
_SUPERVISOR = frozenset({"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC"})


@contextmanager
def daemon_for(
    state: Path, wanted: Path, settings: Sequence[str], *, insist: bool = False
) -> Iterator[tuple[Path, bool]]:
    """The socket of a daemon that serves `state`, and whether it was started here (with `settings`) and ends
    with the block.

    It listens at `wanted`, or, where that is too long or another state folder's, in a private folder; with
    `insist` that is an error. Raises Unreachable with the reason for which no daemon started.
    """
    serving = status_at(wanted) if listens(wanted) else None
    if serving is not None and serves(serving, state):
        yield wanted, False
        return
    if serving is not None and insist:
        raise click.UsageError(
            f"the daemon at {wanted} serves {serving.get('state_dir')}, not {state}; "
            "give its --state-dir, or another --socket"
        )
    with ExitStack() as stack:
        if serving is not None or not (insist or _fits(wanted)):
            wanted = stack.enter_context(_private_folder()) / SOCKET_NAME
        stack.enter_context(_own(state, wanted, settings))
        if not serves(status_at(wanted), state):
            raise Unreachable(f"{wanted} was taken by another daemon meanwhile; try again")
        yield wanted, True


@contextmanager
def _own(state: Path, wanted: Path, settings: Sequence[str]) -> Iterator[None]:
    """A daemon of ours, listening; it is gone when the block is left, however that happens."""
    command = [sys.executable, "-m", "dreamd", "--state-dir", str(state), "--socket", str(wanted)]
    command += [word for setting in settings for word in ("--set", setting)]
    process = None
    with tempfile.TemporaryFile() as errors:
        try:
            with undisturbed():
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env=own_environment(),
                    start_new_session=True,  # Ctrl-C is for us: we stop it in order
                )
            _await(process, wanted, errors)
            yield
        finally:
            if process is not None:
                _stop(process, wanted)


def _await(process: "subprocess.Popen[bytes]", wanted: Path, errors: IO[bytes]) -> None:
    """Until it listens. Raises Unreachable where it ends first, or takes too long."""
    deadline = time.monotonic() + START_S
    while not listens(wanted):
        if process.poll() is not None:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip()
            raise Unreachable(f"the daemon did not start (exit code {process.returncode}).\n{said}")
        if time.monotonic() > deadline:
            raise Unreachable(f"the daemon did not listen at {wanted} within {START_S:g} s")
        time.sleep(LOOK_S)


def _stop(process: "subprocess.Popen[bytes]", wanted: Path) -> None:
    """End it in order; by force where it does not obey, or where we are interrupted again."""
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
        with connected(wanted) as daemon:
            daemon.call(Method.SHUTDOWN, timeout_s=STOP_S)
    except click.ClickException:
        process.terminate()


def own_environment() -> dict[str, str]:
    """The environment for a daemon of ours."""
    return {name: value for name, value in os.environ.items() if name not in _SUPERVISOR}


def status_at(path: Path) -> Mapping[str, Any]:
    """What the daemon there says of itself. Raises Unreachable."""
    with connected(path) as daemon:
        status: Mapping[str, Any] = daemon.call(Method.STATUS)
        return status


def serves(status: Mapping[str, Any], state: Path) -> bool:
    """Whether a daemon of that status serves this state folder."""
    return os.path.realpath(str(status.get("state_dir"))) == os.path.realpath(state)


def _fits(path: Path) -> bool:
    try:
        check_socket_path(path)
    except SocketPathError:
        return False
    return True


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder of mode 0700 with a short path, for a socket."""
    short = _fits(Path(tempfile.gettempdir()) / "dreamd-xxxxxxxx" / SOCKET_NAME)
    with tempfile.TemporaryDirectory(prefix="dreamd-", dir=None if short else "/tmp") as folder:  # noqa: S108 - it is made private
        yield Path(folder)
