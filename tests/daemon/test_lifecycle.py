"""The daemon as a process: one for each state folder, serving again after every end, with clear errors at the start."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import STIRRED, Gate, leo_at, onlooker_at
from tests.helpers.peer import hearing, saying
from tests.helpers.waiting import until


def rows(state, query):
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
        return database.execute(query).fetchall()


def shards(state):
    files = [
        *(state / "inbox" / "dreams").glob("*.json"),
        *(state / "inbox" / "dreams" / "done").glob("*.json"),
    ]
    return [[shard["text"] for shard in json.loads(file.read_text())["shards"]] for file in files]


def refused(*arguments, state, code):
    """Start a daemon that must not come up; the one line that it says."""
    daemon = DaemonProcess(state, *arguments).spawn()
    assert daemon.wait() == code
    [line] = daemon.said().splitlines()
    assert line.startswith("dreamd: ")
    return line


# --- one daemon a folder, one socket a daemon --------------------------------------------------------


def test_a_ctrl_c_while_it_starts_is_no_traceback(tmp_path):
    config = tmp_path / "c.toml"
    os.mkfifo(config)
    daemon = DaemonProcess(tmp_path / "s", "--config", str(config)).spawn()
    with config.open("w"):  # returns when it reads its settings
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.wait() == 130
    assert daemon.said() == ""


def test_p8_second_daemon_on_a_folder_exits_3(tmp_path):
    with DaemonProcess(tmp_path / "s") as first:
        pid = first.call("status")["pid"]
        second = subprocess.run(
            [sys.executable, "-m", "dreamd", "--state-dir", tmp_path / "s", "--socket", tmp_path / "other"],
            capture_output=True, text=True, env=first.env, timeout=20,
        )  # fmt: skip
        assert second.returncode == 3
        assert second.stderr == (
            f"dreamd: another dreamd (pid {pid}) serves the state folder {tmp_path / 's'}; "
            f"end it (`kill {pid}`), or name another with --state-dir\n"
        )
        assert not (tmp_path / "other").exists()
        assert first.call("status")["pid"] == pid


def test_p8_of_some_daemons_started_at_once_one_serves(tmp_path):
    daemons = [DaemonProcess(tmp_path / "s").spawn() for _ in range(4)]
    until(lambda: sum(d.process.poll() is None for d in daemons) == 1, "all but one have ended")
    [serving] = [d for d in daemons if d.process.poll() is None]
    assert sorted(d.process.returncode for d in daemons if d is not serving) == [3] * 3
    until(serving.socket.exists, "a socket")
    assert serving.call("status")["pid"] == serving.process.pid
    assert serving.stop() == 0


def test_second_daemon_on_a_socket_exits_3(tmp_path):
    with DaemonProcess(tmp_path / "a") as first:
        said = refused("--socket", str(first.socket), state=tmp_path / "b", code=3)
        assert (
            f"the socket {first.socket} is taken (a daemon listens); stop that daemon, or use --socket"
            in said
        )
        assert first.call("status")["state_dir"] == str(tmp_path / "a")


def test_p8_a_lock_file_with_the_pid_of_another_process_is_no_obstacle(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "dreamd.lock").write_text(f"{os.getpid()}\n")
    with DaemonProcess(tmp_path / "s") as daemon:
        assert (tmp_path / "s" / "dreamd.lock").read_text() == f"{daemon.process.pid}\n"


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
def test_stops_at_once_with_idle_clients(tmp_path, number):
    daemon = DaemonProcess(tmp_path / "s").start()
    clients = []
    for n in range(20):
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].connect(str(daemon.socket))
        clients[-1].send(b"\x94\x00\x01\xa6status\x90"[: n % 12])
    started = time.monotonic()
    daemon.process.send_signal(number)
    assert daemon.wait() == 0
    assert time.monotonic() - started < 2  # the bound of the promise, not a measure of speed
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


@pytest.mark.parametrize("hook", ["generate", "observe"])
async def test_p3_p5_next_start_completes_a_dialogue_after_a_kill(tmp_path, hook):
    """One file with every recorded line, and no line is observed a second time."""
    reached = asyncio.Event()

    async def blocks_at_the_third(*arguments):
        if arguments[-1]["turn"] == 3:
            reached.set()
            await asyncio.Event().wait()
        return saying() if hook == "generate" else None

    daemon = DaemonProcess(tmp_path / "s").start()
    peer = await leo_at(daemon.socket, **{hook: blocks_at_the_third})
    peer.send([0, 99, "dream.now", [STIRRED]])
    await reached.wait()
    daemon.kill()
    heard = [text for method, [text, *_] in peer.asked if method == "observe"]
    await peer.close()
    lines = 3 if hook == "observe" else 2
    assert len(heard) == lines

    for _ in range(2):  # and it stays so, however often it is started
        with daemon:
            async with await leo_at(daemon.socket) as again:
                [dialog] = await again.call("dialogs.recent")
                turns = (await again.call("dialogs.get", dialog["id"]))["turns"]
                assert (await again.call("status"))["dialogues"] == {"left": 1}
                assert again.asked == []
            assert (dialog["outcome"], dialog["lines"]) == ("left", lines)
            assert [turn["text"] for turn in turns] == heard
            until(lambda: shards(tmp_path / "s") == [heard], "its file is written")


async def test_p5_what_was_acknowledged_before_the_kill_is_not_resurrected(tmp_path):
    daemon = DaemonProcess(tmp_path / "s").start()
    async with await leo_at(daemon.socket) as peer:
        await peer.call("dream.now", STIRRED)
        [file] = await peer.call("inbox.list")
        await peer.call("inbox.ack", file["trace_id"])
        daemon.kill()
    with sqlite3.connect(tmp_path / "s" / "dream.sqlite3") as database:
        database.execute("UPDATE dream_dialogs SET shard_at = NULL")  # as killed before it was marked
    database.close()
    with daemon:
        left = "SELECT count(*) FROM dream_dialogs WHERE shard_at IS NULL"
        until(lambda: rows(tmp_path / "s", left) == [(0,)], "it is marked as written")
        assert daemon.call("status")["inbox"]["waiting"] == 0
    assert len(shards(tmp_path / "s")) == 1


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
    """As an ordinary user, whom file modes bind. Root uses a folder of the kernel instead."""
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


async def test_p13_recalled_texts_and_measures_are_stored_before_the_next_line(tmp_path):
    """The recalled texts and the measures of `observe` are on disk before a line is asked for with them."""
    reached = asyncio.Event()

    async def blocks_at_the_third(*arguments):
        if arguments[-1]["turn"] == 3:
            reached.set()
            await asyncio.Event().wait()
        return saying()

    daemon = DaemonProcess(tmp_path / "s").start()
    hooks = {
        "generate": blocks_at_the_third,
        "observe": lambda *_: {"arousal": 0.93, "entropy": 0.11},
        "recall": lambda *_: ["once there was a river"],
    }
    async with await leo_at(daemon.socket, **hooks) as peer:
        peer.send([0, 99, "dream.now", [STIRRED]])
        await reached.wait()
        daemon.kill()
    with daemon:
        async with await onlooker_at(daemon.socket) as peer:
            assert (await peer.call("dialogs.replay", 1))["difference"] is None
            turns = (await peer.call("dialogs.get", 1))["turns"]
    assert [(turn["arousal"], turn["entropy"], turn["observed"]) for turn in turns] == [
        (0.93, 0.11, "answered")
    ] * 2
