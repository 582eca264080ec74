"""`search`: with a daemon and without one, for people and as JSON."""

import json
from pathlib import Path

from dreamclient.clients.thread import DreamClient

from tests.ctl.conftest import Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl

LINES = ("the rain is near", "a roof keeps it", "who keeps the roof", "you do")


def test_finds_lines_with_and_without_a_daemon(tmp_path: Path) -> None:
    speaker, place = Speaker(LINES), ["--state-dir", tmp_path / "state"]
    with DaemonProcess(tmp_path / "state", "--set", "dialogue.candidates=1") as daemon:
        with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.dream_now()
        asked = dreamctl(*place, "search", "keeps", "roof", "--json")
        assert [each["text"] for each in json.loads(asked.stdout)] == [LINES[2], LINES[1]]
        shown = dreamctl(*place, "search", "keeps the roof")
        assert shown.stdout.startswith("   leo: who keeps the roof (dialogue 1, ")
        assert len(shown.stdout.splitlines()) == 1
        assert dreamctl(*place, "search", "lighthouse").stdout == "No line has all of it: lighthouse\n"
        wrong = dreamctl(*place, "search", "?!")
        assert (wrong.exit_code, "no word in what is searched for" in wrong.stderr) == (4, True)
    without = dreamctl(*place, "search", "keeps", "roof", "--json")
    assert without.stdout == asked.stdout
    assert "No daemon answers" in without.stderr
