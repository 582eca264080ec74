"""The daemon as a process: one for each state folder, serving again after every end, with clear errors at the start."""

import asyncio
import os
import signal
import socket
import sqlite3

import pytest

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import STIRRED, Gate, leo_at
from tests.helpers.peer import hearing
from tests.helpers.state_folder import rows, shards


def refused(*arguments, state, code):
    """Start a daemon that must not come up; the one line that it says."""
    daemon = DaemonProcess(state, *arguments).spawn()
    assert daemon.wait() == code
    [line] = daemon.said().splitlines()
    assert line.startswith("dreamd: ")
    return line


# --- one daemon a folder, one socket a daemon --------------------------------------------------------


def test_ctrl_c_during_the_start_prints_no_traceback(tmp_path):
    config = tmp_path / "c.toml"
    os.mkfifo(config)
    daemon = DaemonProcess(tmp_path / "s", "--config", str(config)).spawn()
    with config.open("w"):  # returns when it reads its settings
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.wait() == 130
    assert daemon.said() == ""


def test_second_daemon_on_a_socket_exits_3(tmp_path):
    with DaemonProcess(tmp_path / "a") as first:
        said = refused("--socket", str(first.socket), state=tmp_path / "b", code=3)
        assert (
            f"the socket {first.socket} is taken (a daemon listens); stop that daemon, or use --socket"
            in said
        )
        assert first.call("status")["state_dir"] == str(tmp_path / "a")


# --- it always comes back ----------------------------------------------------------------------------


def test_serves_again_after_every_kill(tmp_path):
    daemon = DaemonProcess(tmp_path / "s")
    for _ in range(100 if os.environ.get("HUNT") else 5):
        daemon.start()
        assert daemon.call("status")["state"] == "ok"
        daemon.kill()
        assert daemon.socket.exists()  # stale
    with daemon:
        assert daemon.call("status")["pid"] == daemon.process.pid
    assert daemon.process.returncode == 0
    assert not daemon.socket.exists()
    assert daemon.said() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_with_idle_clients(tmp_path, number):
    """None of them ends its connection, so a daemon that waited for that would never end."""
    daemon = DaemonProcess(tmp_path / "s").start()
    clients = []
    for n in range(20):
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].connect(str(daemon.socket))
        clients[-1].send(b"\x94\x00\x01\xa6status\x90"[: n % 12])
    daemon.process.send_signal(number)
    assert daemon.wait() == 0
    for client in clients:
        client.close()


def test_the_shutdown_request_is_answered_and_obeyed(tmp_path):
    daemon = DaemonProcess(tmp_path / "s").start()
    assert daemon.call("shutdown") is True
    assert daemon.wait() == 0
    assert not daemon.socket.exists()


async def test_stop_during_a_dialogue_keeps_and_delivers_its_lines(tmp_path):
    gate = Gate(hearing)
    daemon = DaemonProcess(tmp_path / "s").start()
    peer = await leo_at(daemon.socket, observe=gate)
    peer.send([0, 99, "dream.now", [STIRRED]])
    await gate.reached.wait()
    assert await asyncio.to_thread(daemon.stop) == 0
    await peer.close()
    assert rows(tmp_path / "s", "SELECT outcome, episodes_count FROM dream_dialogs") == [("left", 1)]
    [[text]] = shards(tmp_path / "s")
    assert rows(tmp_path / "s", "SELECT text, observed FROM dream_turns") == [(text, "failed")]


# --- when it cannot start ----------------------------------------------------------------------------


def test_an_unknown_setting_is_exit_2_and_names_the_nearest(tmp_path):
    said = refused("--set", "gate.chanse=1", state=tmp_path / "s", code=2)
    assert said == "dreamd: --set gate.chanse: there is no such setting; did you mean gate.chance?"
    assert not (tmp_path / "s").exists()


def test_a_file_in_the_place_of_the_state_folder_is_exit_4(tmp_path):
    (tmp_path / "s").write_text("precious")
    assert "cannot be used: it is no folder; move it away" in refused(state=tmp_path / "s", code=4)
    assert (tmp_path / "s").read_text() == "precious"


def test_a_state_folder_that_cannot_be_written_is_exit_4(tmp_path):
    """File modes bind an ordinary user only. As root the test uses a folder of the kernel."""
    state = tmp_path / "s"
    if os.geteuid() == 0:
        state = "/proc/dreamd"
    else:
        state.mkdir(mode=0o500)
    daemon = DaemonProcess(tmp_path / "x", "--state-dir", str(state)).spawn()
    assert daemon.wait() == 4
    [line] = daemon.said().splitlines()
    assert line.startswith(f"dreamd: the state folder {state} cannot be used: ")


def test_a_socket_path_of_108_bytes_is_exit_5(tmp_path):
    path = tmp_path / ("x" * (107 - len(os.fsencode(tmp_path))))
    assert "the socket path has 108 bytes" in refused("--socket", str(path), state=tmp_path / "s", code=5)


def test_a_regular_file_in_the_sockets_place_is_exit_5_and_kept(tmp_path):
    (tmp_path / "sock").write_text("precious")
    said = refused("--socket", str(tmp_path / "sock"), state=tmp_path / "s", code=5)
    assert f"{tmp_path / 'sock'} is there and is no socket; move it away, or name another" in said
    assert (tmp_path / "sock").read_text() == "precious"


def test_a_newer_database_is_exit_6_and_untouched(tmp_path):
    (tmp_path / "s").mkdir()
    with sqlite3.connect(tmp_path / "s" / "dream.sqlite3") as database:
        database.execute("CREATE TABLE dream_meta (key, value)")
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = (tmp_path / "s" / "dream.sqlite3").read_bytes()
    said = refused(state=tmp_path / "s", code=6)
    assert f"the database {tmp_path / 's' / 'dream.sqlite3'}: it is of version 99" in said
    assert "upgrade dreamd" in said
    assert (tmp_path / "s" / "dream.sqlite3").read_bytes() == before
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"dream.sqlite3", "dreamd.lock"}
