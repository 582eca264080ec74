"""`replay`: a stored dialogue is run again."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from dreamclient.clients.thread import DreamClient

from tests.ctl.conftest import Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


def test_p13_replays_a_dialogue_until_a_byte_of_it_is_changed(tmp_path: Path) -> None:
    """P13."""
    speaker = Speaker(("the rain is near", "a roof keeps it", "who keeps the roof", "you do"))
    with DaemonProcess(tmp_path / "state") as daemon:
        with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
            assert client.start(10.0)
            lines = client.dream_now()["lines"]
        same = dreamctl("--socket", daemon.socket, "replay", "1")
        assert (same.exit_code, same.stdout) == (0, f"Dialogue 1, {lines} lines: the same.\n")
    with closing(sqlite3.connect(daemon.state_dir / "dream.sqlite3")) as database, database:
        database.execute("UPDATE dream_turns SET text = text || '.' WHERE turn = 2")
    with daemon:
        other = dreamctl("--socket", daemon.socket, "replay")
        assert (other.exit_code, other.stdout) == (1, f"Dialogue 1, {lines} lines: line 2: another text.\n")
        answer = dreamctl("--socket", daemon.socket, "replay", "last", "--json")
        assert answer.exit_code == 1
        assert json.loads(answer.stdout) == {
            "id": 1, "lines": lines, "same": False, "difference": "line 2: another text",
        }  # fmt: skip
