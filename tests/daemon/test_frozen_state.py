"""An installation of an earlier version starts under this one, with its state folder and its settings."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from dreamclient import DreamClient

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.frozen import CONFIG, CUT_SHORT, LAST, OPEN, ORIGIN, OUTCOMES, unpack
from tests.helpers.waiting import until


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return unpack(tmp_path)


def test_the_daemon_starts_on_an_earlier_state_and_settings(state: Path):
    with DaemonProcess(state, "--config", str(CONFIG)) as daemon:
        until(lambda: daemon.call("status")["dialogues"].get("left") == 1, "the open one is closed")
        status = daemon.call("status")
        assert status["state"] == "ok"
        assert status["dialogues"] == OUTCOMES | {"left": 1}
        with DreamClient(socket_path=daemon.socket, name="onlooker") as onlooker:
            assert onlooker.start(20)
            dialogues = onlooker.call("dialogs.recent", 32)
            assert len(dialogues) == sum(OUTCOMES.values()) + 1
            assert {f["text"] for f in onlooker.call("friend.fragments") if f["origin"]} == ORIGIN
            assert {one["name"] for one in onlooker.call("friend.checkpoints", 32)} >= {
                "third-night",
                "previous",
            }
            assert onlooker.call("dialogs.replay", LAST)["same"]
            trace = {one["id"]: one["trace_id"] for one in dialogues}
        assert daemon.stop() == 0
    inbox = state / "inbox" / "dreams"
    for dialogue in (CUT_SHORT, OPEN):
        assert len(json.loads((inbox / f"{trace[dialogue]}.json").read_text())["shards"]) == 2
    assert not (inbox / f"{trace[1]}.json").exists()  # acknowledged: never written again
    assert "Traceback" not in daemon.said()
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("setting", "kept"), [("store.replay_dialogues=2", {14, 15}), ("store.diagnostics=false", set())]
)
def test_tick_empties_replay_data_of_an_earlier_version(state: Path, setting: str, kept: set[int]):
    def held() -> set[int]:
        with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
            of_dialogues = (
                "SELECT id FROM dream_dialogs WHERE coalesce(context, friend_state, recalled) IS NOT NULL"
            )
            of_lines = "SELECT dialog_id FROM dream_turns WHERE seed <> '' OR said <> ''"
            return {number for (number,) in database.execute(f"{of_dialogues} UNION {of_lines}")}

    def texts() -> tuple[bool, bool]:
        with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
            lines = database.execute("SELECT 1 FROM dream_turns WHERE text <> ''").fetchone()
            past = database.execute("SELECT 1 FROM dream_fragments_past").fetchone()
            return bool(lines), bool(past)

    assert {1, 13, 14, 15} <= held()
    ticks = {"WATCHDOG_USEC": "100000"}
    with DaemonProcess(state, "--config", str(CONFIG), "--set", setting, env=ticks):
        until(lambda: held() == kept and texts() == (bool(kept), bool(kept)), "emptied")
