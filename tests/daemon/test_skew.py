"""Two versions at the ends of one socket, with frozen peers of the old one, and an upgrade during a dream."""

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from dreamclient import DreamClient
from dreamclient.errors import NotConnected
from dreamclient.messages import CLIENT_VERSION, PROTOCOL_VERSION

from dreamd import __version__
from tests.helpers.daemons.old import old_daemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.dreaming import ORIGIN, STIRRED
from tests.helpers.peer import saying
from tests.helpers.waiting import until

DATA = Path(__file__).parents[1] / "data"


def old_client(daemon: DaemonProcess, *methods: str) -> list[dict]:
    command = [sys.executable, str(DATA / "old_client.py"), str(daemon.socket), *methods]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_an_old_client_is_told_both_versions_and_the_remedy(tmp_path):
    with DaemonProcess(tmp_path / "state") as daemon:
        hello, status, context = old_client(daemon, "status", "dream.context")
        assert hello["error"] == [
            6,
            f"leo 0.0.9 speaks protocol 0, dreamd {__version__} speaks 1; upgrade the older of the two and restart it",
        ]
        assert (status["result"]["version"], status["result"]["protocol"]) == (__version__, PROTOCOL_VERSION)
        assert status["result"]["refusals"] == {"hello: WRONG_PROTOCOL": 1}  # P10
        assert context["error"][0] == 5


def test_an_old_client_can_stop_the_daemon_it_cannot_talk_to(tmp_path):
    with DaemonProcess(tmp_path / "state") as daemon:
        assert old_client(daemon, "shutdown")[1] == {"error": None, "result": True}
        assert daemon.wait() == 0


def test_p1_a_client_reports_an_old_daemon_and_goes_on_with_the_new_one(tmp_path, capfd):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    path = state / "dreamd.sock"
    with old_daemon(path) as old:
        with DreamClient(saying, lambda _: None, socket_path=path) as leo:
            leo.start(20)
            assert not leo.connected
            assert leo.offer(STIRRED) is False
            for part in (
                "0.0.9",
                "speaks 0",
                CLIENT_VERSION,
                f"protocol {PROTOCOL_VERSION}",
                "restart the daemon",
            ):
                assert part in leo.trouble
            told = json.loads(dreamctl("--state-dir", state, "doctor", "--json").stdout)["findings"]
            [versions] = [one for one in told if one["section"] == "versions"]
            assert versions["level"] == "FAIL"
            assert f"dreamd 0.0.9 speaks protocol 0, dreamctl {__version__}" in versions["text"]
            assert " service restart`" in versions["advice"]
            # The remedy is not what the mismatch forbids.
            assert leo.call("shutdown") is True
            assert old.wait(20) == 0
            with DaemonProcess(state):
                until(lambda: leo.connected, "the same client talks to the new daemon")
                assert leo.dream_now(STIRRED)["outcome"] == "complete"
    assert capfd.readouterr() == ("", "")


def test_p1_p2_p3_p5_an_upgrade_during_a_dream_loses_no_line(tmp_path, capfd):
    reached, heard, offered = threading.Event(), [], []
    state = tmp_path / "state"

    def generate(seed: str, temperature: float, semantic_weight: float, meta: dict) -> str:
        if meta["turn"] == 3:
            reached.set()
        return saying()

    first = DaemonProcess(state).start()
    with DreamClient(generate, heard.append, socket_path=first.socket, **ORIGIN) as leo:
        assert leo.start(20)
        asker = DreamClient(socket_path=first.socket, name="dreamctl")
        assert asker.start(20)
        dream = threading.Thread(target=ask_for_a_dream, args=(asker,))
        dream.start()
        assert reached.wait(20)
        first.process.terminate()
        while first.process.poll() is None:
            offered.append(leo.offer(STIRRED))
        asker.close()
        dream.join(20)
        assert first.process.returncode == 0
        with DaemonProcess(state) as second:
            until(lambda: leo.connected, "leo is back")
            with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
                lines = database.execute("SELECT text FROM dream_turns ORDER BY dialog_id, turn").fetchall()
            said = [text for (text,) in lines]
            assert len(said) >= 2
            assert (
                heard == said[: len(heard)]
            )  # P2, P3: what was observed was recorded, and is not observed twice
            assert len(heard) >= len(said) - 1
            shards = [
                shard["text"]
                for file in sorted((state / "inbox" / "dreams").glob("*.json"))
                for shard in json.loads(file.read_text())["shards"]
            ]
            assert shards == said
            assert leo.dream_now(STIRRED)["outcome"] == "complete"
            assert second.call("status")["seeded"]
    assert offered
    assert capfd.readouterr() == ("", "")


def ask_for_a_dream(asker: DreamClient) -> None:
    with contextlib.suppress(NotConnected):  # or answered, where it ends in time
        asker.call("dream.now", STIRRED, timeout_s=20)
