"""`whence`: with a daemon and without one, for people and as JSON."""

import json
from pathlib import Path

from dreamclient.clients.thread import DreamClient

from tests.ctl.conftest import LINES, Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


def test_finds_the_dream_that_said_it_with_and_without_a_daemon(tmp_path: Path) -> None:
    speaker, place = Speaker(LINES), ["--state-dir", tmp_path / "state"]
    with DaemonProcess(tmp_path / "state", "--set", "dialogue.candidates=1") as daemon:
        with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.dream_now()
        asked = dreamctl(*place, "whence", "and who keeps", "The Roof; the rain is", "--json")
        found = [(each["run"], each["text"]) for each in json.loads(asked.stdout)]
        assert found == [("who keeps the roof", LINES[2]), ("the rain is", LINES[0])]
        shown = dreamctl(*place, "whence", "who keeps the roof tonight")
        assert shown.stdout.startswith('   leo: who keeps the roof ("who keeps the roof", dialogue 1, ')
        assert len(shown.stdout.splitlines()) == 1
        nothing = dreamctl(*place, "whence", "a lighthouse")
        assert nothing.stdout == "No dream line holds two of these words in a row: a lighthouse\n"
        assert (
            dreamctl(*place, "whence", "lighthouse").stdout == "No dream line holds this word: lighthouse\n"
        )
        wrong = dreamctl(*place, "whence", "?!")
        assert (wrong.exit_code, "no word in what is asked for" in wrong.stderr) == (4, True)
    without = dreamctl(*place, "whence", "and who keeps", "The Roof; the rain is", "--json")
    assert without.stdout == asked.stdout
    assert "No daemon answers" in without.stderr
