"""`resume`: the end of a pause, with a daemon and without."""

import json
from pathlib import Path

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


def test_ends_a_pause_and_says_how_long_it_was(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path / "state") as daemon:
        assert dreamctl("--socket", daemon.socket, "resume").stdout == "Dreams were not paused.\n"
        dreamctl("--socket", daemon.socket, "pause", "2h")
        told = dreamctl("--socket", daemon.socket, "resume")
        assert (told.exit_code, told.stderr) == (0, "")
        assert told.stdout.startswith("Dreams begin again. They were paused for ")
        paused = json.loads(dreamctl("--socket", daemon.socket, "pause", "--json").stdout)
        assert json.loads(dreamctl("--socket", daemon.socket, "resume", "--json").stdout) == {
            "at": paused["at"]
        }
        assert daemon.call("status")["paused"] is None


def test_without_a_daemon_it_ends_the_pause_that_is_kept(state: Path) -> None:
    assert dreamctl("--state-dir", state, "pause").exit_code == 0
    assert "They were paused for " in dreamctl("--state-dir", state, "resume").stdout
    assert dreamctl("--state-dir", state, "resume").stdout == "Dreams were not paused.\n"
