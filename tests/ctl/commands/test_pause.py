"""`pause`: lengths, what each command then says, with a daemon and without."""

import json
import re
import time
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient
from dreamclient.messages import DreamContext

from tests.ctl.conftest import LINES, Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.waiting import until


@pytest.mark.parametrize("length", ["0m", "2 hours", "-1h", "h", "1.5h", "400d", "", "14:04", "９h"])
def test_a_wrong_length_gets_a_sentence(tmp_path: Path, length: str) -> None:
    told = dreamctl("--state-dir", tmp_path, "pause", "--", length)
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"expected a length of time up to a year (30m, 2h, 1d, 1w), not {length!r}" in told.stderr


def test_every_command_says_that_dreams_are_paused(tmp_path: Path) -> None:
    speaker = Speaker(LINES)
    with (
        DaemonProcess(tmp_path / "state", "--set", "gate.chance=1") as daemon,
        DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client,
    ):
        assert client.start(10.0)

        def said(*words: object, code: int = 0) -> str:
            done = dreamctl("--socket", daemon.socket, *words)
            assert (done.exit_code, done.stderr) == (code, "")
            return done.stdout

        resume = f"`dreamctl --socket {daemon.socket} resume`"
        assert said("pause") == f"Paused: no dream begins until {resume}.\n"
        assert f"next       paused ({resume})" in said("status")
        at = time.strftime("%H:", time.localtime(time.time() + 30 * 60))
        at = rf"until ([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} )?{at}"  # with the date if that is tomorrow
        assert re.search(f"Paused {at}", said("pause", "30m"))
        assert re.search(f"next       paused {at}", said("status"))
        assert json.loads(said("status", "--json"))["next"]["reason"] == "paused"
        client.offer(DreamContext("hello", "here", trauma_level=1.0))
        until(lambda: daemon.call("status")["decisions"], "the decision")
        assert re.search(f"did not dream; paused: {at}", said("why"))
        assert "1 paused" in said("stats")
        metrics = said("stats", "--openmetrics")
        assert 'dreamd_decisions_total{reason="paused"} 1' in metrics
        assert "dreamd_paused 1\n" in metrics
        assert re.search(f"shut: paused {at}", dreamctl("--socket", daemon.socket, "doctor").stdout)
        assert "complete" in said("dream")
        paused = json.loads(said("pause", "1h", "--json"))
        assert paused["until"] - paused["at"] == pytest.approx(3600, abs=5)


def test_waits_for_the_dream_that_is_running(tmp_path: Path) -> None:
    speaker = Speaker(LINES)
    opened = tmp_path / "opened"

    def generate(*asked: object) -> str:
        until(opened.exists, "the line may be said")
        return speaker.generate("", 0.0, 0.0)

    with (
        DaemonProcess(tmp_path / "state", "--set", "gate.chance=1") as daemon,
        DreamClient(generate, speaker.observe, socket_path=daemon.socket) as client,
    ):
        assert client.start(10.0)
        client.offer(DreamContext("hello", "here", trauma_level=1.0))
        until(lambda: daemon.call("status")["sessions"][0]["dreaming"] == 1, "the dream")
        process = spawn_dreamctl("--socket", daemon.socket, "pause", cwd=tmp_path)
        until(lambda: daemon.call("status")["paused"], "the pause")
        assert process.poll() is None
        opened.touch()
        out, err = process.communicate(timeout=20)
        assert err == "Paused: dialogue 1 is spoken to its end; Ctrl-C ends the waiting, not the pause\n"
        assert (process.returncode, out.startswith("Paused: no dream begins until ")) == (0, True)
        assert daemon.call("status")["dialogues"] == {"complete": 1}


def test_without_a_daemon_the_pause_is_kept_for_the_next_one(state: Path) -> None:
    told = dreamctl("--state-dir", state, "pause", "2h")
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.startswith("Paused until ")
    with DaemonProcess(state) as daemon:
        assert daemon.call("status")["paused"]["until"] is not None


def test_without_a_daemon_and_a_database_says_so(tmp_path: Path) -> None:
    told = dreamctl("--state-dir", tmp_path, "pause")
    assert (told.exit_code, told.stdout) == (1, "")
    assert f"there is no database in {tmp_path}" in told.stderr
