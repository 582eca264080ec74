"""A daemon for a state folder: the one that serves it, or one that dreamctl starts and stops."""

import os
import signal
import socket as socketlib
import stat
import sys
from pathlib import Path
from shlex import quote

import click
import pytest
from dreamclient.clients.thread import TIMING

from dreamd.ctl.daemon import start as own
from dreamd.ctl.daemon.connection import connect_daemon
from dreamd.ctl.daemon.source import Unreachable
from dreamd.ctl.daemon.start import daemon_for
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import UNSET


@pytest.fixture(autouse=True)
def _no_settings_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in UNSET:
        monkeypatch.delenv(name)


def status(socket: Path) -> dict:
    with connect_daemon(socket) as daemon:
        return daemon.call("status")


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_starts_a_daemon_with_its_settings_and_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = socketlib.socket(socketlib.AF_UNIX, socketlib.SOCK_DGRAM | socketlib.SOCK_NONBLOCK)
    supervisor.bind(str(tmp_path / "supervisor"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "supervisor"))
    state, wanted = tmp_path / "state", tmp_path / "s"
    with daemon_for(state, wanted, ["gate.chance=1"]) as (socket, ours):
        assert (socket, ours) == (wanted, True)
        answer = status(socket)
        assert answer["state_dir"] == str(state)
        assert os.getsid(answer["pid"]) == answer["pid"]  # Ctrl-C does not reach it
    assert gone(answer["pid"])
    assert not wanted.exists()
    assert {stat.S_IMODE(file.stat().st_mode) for file in state.iterdir() if file.is_file()} == {0o600}
    with supervisor, pytest.raises(BlockingIOError):  # it was told nothing: it supervises us
        supervisor.recv(100)


def test_uses_a_daemon_that_serves_the_folder_under_another_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "state")
    with DaemonProcess(tmp_path / "state") as running:
        with daemon_for(tmp_path / "link", running.socket, []) as (socket, ours):
            assert (socket, ours) == (running.socket, False)
        assert status(running.socket)["pid"] == running.process.pid


def test_never_talks_to_a_daemon_of_another_folder(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path / "theirs") as other:
        with daemon_for(tmp_path / "mine", other.socket, []) as (socket, ours):
            assert ours
            assert socket != other.socket
            assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
            assert status(socket)["state_dir"] == str(tmp_path / "mine")
        assert not socket.parent.exists()
        with (
            pytest.raises(click.UsageError, match=r"serves .*/theirs, not .*/mine"),
            daemon_for(tmp_path / "mine", other.socket, [], insist=True),
        ):
            pass


def test_a_path_too_long_gets_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with daemon_for(deep / "state", deep / "state" / "dreamd.sock", []) as (socket, ours):
        assert ours
        assert len(os.fsencode(socket)) <= 107
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert status(socket)["state_dir"] == str(deep / "state")


def test_a_daemon_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(Unreachable, match=r"exit code 2\)\.\n.*gate\.chance"),
        daemon_for(tmp_path / "state", tmp_path / "s", ["gate.chance=many"]),
    ):
        pass
    with (
        DaemonProcess(tmp_path / "state"),  # it serves the folder, but not where we look
        pytest.raises(Unreachable, match="another dreamd"),
        daemon_for(tmp_path / "state", tmp_path / "s", []),
    ):
        pass


def test_ends_a_daemon_that_does_not_listen_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "START_S", 0.0)
    with (
        pytest.raises(Unreachable, match="did not listen"),
        daemon_for(tmp_path / "state", tmp_path / "s", []),
    ):
        pass
    monkeypatch.undo()
    with DaemonProcess(tmp_path / "state"):  # so no daemon holds the folder
        pass


def test_does_not_use_a_socket_that_another_daemon_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon that listens at last is asked for its state folder."""
    swap = tmp_path / "python"
    start = f"exec {quote(sys.executable)} -m dreamd --state-dir {quote(str(tmp_path / 'theirs'))}"
    swap.write_text(f'#!/bin/sh\n{start} --socket "$6"\n')
    swap.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(swap))
    with (
        pytest.raises(Unreachable, match="taken by another"),
        daemon_for(tmp_path / "mine", tmp_path / "s", []),
    ):
        pass


def test_a_failed_spawn_needs_no_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    with pytest.raises(FileNotFoundError), daemon_for(tmp_path / "state", tmp_path / "s", []):
        pass


def test_the_last_block_that_uses_a_daemon_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dreamctl that has left started it. It is slow to stop."""
    with DaemonProcess(tmp_path / "state") as running:
        (running.state_dir / own.STARTED).write_text(str(running.process.pid))
        looks = iter([True] * 4)  # at the beginning, for its sessions, and two while it stops
        monkeypatch.setattr(own, "has_listener", lambda _: next(looks, False))
        with daemon_for(running.state_dir, running.socket, []) as (_, ours):
            assert not ours
        assert list(looks) == []


def test_a_dead_daemon_needs_no_stop(tmp_path: Path) -> None:
    with daemon_for(tmp_path / "state", tmp_path / "s", []) as (socket, _):
        pid = status(socket)["pid"]
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert gone(pid)


def test_kills_a_daemon_that_does_not_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "STOP_S", 0.2)
    with daemon_for(tmp_path / "state", tmp_path / "s", []) as (socket, _):
        pid = status(socket)["pid"]
        os.kill(pid, signal.SIGSTOP)
        monkeypatch.setitem(vars(TIMING), "hello_s", 0.2)
    assert gone(pid)


def test_stops_the_daemon_after_an_error_in_the_block(tmp_path: Path) -> None:
    pids = []

    def interrupted() -> None:
        with daemon_for(tmp_path / "state", tmp_path / "s", []) as (socket, _):
            pids.append(status(socket)["pid"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert gone(pids[0])
