"""`status`: as text, as JSON, and without a daemon."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from dreamd.ctl.commands.status import show_status
from dreamd.ctl.daemon.activity import activity_of, activity_rows
from dreamd.ctl.daemon.source import Source
from tests.helpers.daemons.little import LittleDaemon, fails
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


class Answering(Source):
    """Gives the same answer to each call of a method."""

    def __init__(self, answers: dict[str, object]) -> None:
        self.answers = answers

    def call(self, method: str, *params: object, timeout_s: float = 0.0) -> object:
        return self.answers[method]


NOW = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))

STATUS = {
    "version": "0.1.0",
    "protocol": 1,
    "pid": 77,
    "uptime_s": 190.0,
    "socket": "/run/user/1000/dreamd/dreamd.sock",
    "state_dir": "/home/anna/.local/state/dreamd",
    "state": "degraded: disk full",
    "enabled": True,
    "paused": None,
    "chance": 0.3,
    "feed": True,
    "seeded": True,
    "sessions": [
        {
            "session": 3,
            "name": "leo",
            "version": "0.1.0",
            "pid": 50,
            "provides": ["generate", "observe"],
            "connected_s": 61.0,
            "dreaming": 8,
            "mute_s": 30.0,
            "cooldown_s": 0.0,
        }
    ],
    "decisions": {"calm": 4, "dream": 1},
    "dialogues": {"complete": 1},
    "undreams": 0,
    "hooks": {"generate": {"calls": 4, "p50_ms": 3.14, "p99_ms": 12.0}},
    "database": {
        "path": "/x",
        "database_bytes": 40960,
        "wal_bytes": 0,
        "trouble": "disk full",
        "notes": ["the database was damaged"],
    },
    "inbox": {
        "folder": "/x/inbox",
        "enabled": True,
        "waiting": 2,
        "done": 0,
        "set_aside": 1,
        "trouble": None,
    },
    "failures": {"generate: TypeError": 2},
    "refusals": {"dream.now: NO_HOOKS": 3},
    "last_errors": [{"type": "TypeError", "where": "leo.py:7 in reply", "at": NOW - 60}],
    "last": {"dialog": 12, "at": NOW - 3 * 3600, "outcome": "complete", "lines": 4, "fed": True},
    "next": {"reason": "cooldown", "not_before": NOW + 240},
    "dreams": {"spoke": 6, "of": 7},
}

AT_80 = """\
last       3 h ago, dialogue 12, complete
next       not before 12:04:00 (cooldown)
dreams     6 of the last 7 spoke
daemon     degraded: disk full, up 3 min 10 s, pid 77, 0.1.0
socket     /run/user/1000/dreamd/dreamd.sock
state      /home/anna/.local/state/dreamd
session    3: leo 0.1.0, pid 50, connected 1 min 1 s, provides generate,
           observe, dreaming dialogue 8, mute: asked again in 30 s
origin     seeded
decisions  4 calm, 1 dream
dialogues  1 complete
generate   4 calls, p50 3.1 ms, p99 12.0 ms
database   disk full: 41 kB, WAL 0 B
note       the database was damaged
inbox      2 waiting, 1 set aside in /x/inbox
failed     2 × generate: TypeError
refused    3 × dream.now: NO_HOOKS
error      11:59:00 TypeError in leo.py:7 in reply"""


def test_status_as_text_at_80_columns() -> None:
    assert show_status(STATUS, 80, NOW) == AT_80


def test_status_as_text_at_40_columns_keeps_every_word() -> None:
    text = show_status(STATUS, 40, NOW)
    wide = [line.split() for line in text.splitlines() if len(line) > 40]
    assert wide == [
        ["socket", STATUS["socket"]],
        ["state", STATUS["state_dir"]],
    ]  # paths stay whole, to be copied
    assert "".join(text.split()) == "".join(AT_80.split())


def test_status_of_a_fresh_daemon_and_of_other_versions() -> None:
    fresh = STATUS | {
        "state": "ok",
        "seeded": False,
        "sessions": [STATUS["sessions"][0] | {"provides": [], "dreaming": None, "mute_s": 0.0}],
        "inbox": {"enabled": False},
        "hooks": {"generate": 7},
        "unheard": 1,
    }
    del fresh["dialogues"]
    text = show_status(fresh, 100, NOW)
    assert "connected 1 min 1 s, provides no hooks\n" in text
    unknown = STATUS["sessions"][0] | {"name": "", "version": "", "pid": 0, "provides": [], "dreaming": None}
    assert "session  3: no hello yet, or one refused, connected" in show_status(
        {"sessions": [unknown]}, 100, NOW
    )
    assert "session    none that could dream" in text
    assert "origin     not seeded yet" in text
    assert "inbox      disabled" in text
    assert "hooks      not as this dreamctl knows it" in text
    assert "dialogues" not in text
    full = {"enabled": True, "folder": "/i", "trouble": None, "waiting": 1000, "dropped": 7}
    assert "inbox  1000 waiting, 7 dropped in /i" in show_status({"inbox": full}, 80, NOW)
    assert "inbox  nothing in /i" in show_status(
        {"inbox": {"enabled": True, "folder": "/i", "trouble": None}}, 80, NOW
    )


def test_shows_no_session_of_the_dreamctl_that_asks() -> None:
    own = STATUS["sessions"][0] | {"name": "dreamctl", "provides": [], "dreaming": None, "mute_s": 0.0}
    alone = show_status({"sessions": [own]}, 80, NOW)
    assert alone == "session  none that could dream"
    assert "session  2 more of dreamctl\n" in show_status({"sessions": [own] * 3}, 80, NOW)


LEO = {"provides": ["generate", "observe"], "dreaming": None, "mute_s": 0.0, "cooldown_s": 0.0}
ONLOOKER = LEO | {"provides": []}


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"sessions": [LEO, LEO | {"cooldown_s": 60.0}]}, "after any reply for which a gate opens"),
        ({"sessions": [LEO | {"cooldown_s": 240.0, "mute_s": 9.0}]}, "not before 12:04:00 (cooldown)"),
        ({"sessions": [LEO | {"mute_s": 60.0}]}, "not before 12:01:00 (the last dialogue said nothing)"),
        ({"sessions": [LEO | {"dreaming": 7}, ONLOOKER]}, "after the dialogue that is running"),
        ({"sessions": [ONLOOKER]}, "when a leo is connected"),
        ({"sessions": []}, "when a leo is connected"),
        ({"sessions": [LEO], "state": "degraded: disk full"}, "not while the daemon is degraded"),
        (
            {"sessions": [LEO], "state": "degraded: disk full", "paused": {"at": NOW, "until": None}},
            "not while the daemon is degraded",
        ),
        ({"sessions": [LEO], "enabled": False}, "not while the setting gate.enabled is false"),
    ],
)
def test_status_says_when_the_next_dream_may_begin(status: dict[str, object], words: str) -> None:
    source = Answering({"dialogs.recent": []})
    rows = dict(activity_rows(activity_of(source, {"state": "ok", "enabled": True, **status}, NOW), NOW))
    assert rows == {"last": "no dialogue yet", "next": words}


def ended(*lines: int) -> list[dict[str, object]]:
    """Return dialogues with so many lines, newest first."""
    about = {"started_at": NOW - 61, "finished_at": NOW - 60, "outcome": "complete"}
    return [about | {"id": 90 - place, "lines": n} for place, n in enumerate(lines)]


@pytest.mark.parametrize(
    ("recent", "last", "dreams", "exit_code"),
    [
        (ended(4, 0, 3), "1 min ago, dialogue 90, complete", "2 of the last 3 spoke", 0),
        (ended(0, 0, 0, 0, 0, 0, 0), "1 min ago, dialogue 90, complete", "0 of the last 7 spoke", 1),
        (
            [ended(0)[0] | {"finished_at": None, "outcome": None}, *ended(3)],
            "now, dialogue 90, running",
            "1 of the last 1 spoke",
            0,
        ),
        ([], "no dialogue yet", None, 0),
    ],
)
def test_status_says_whether_the_last_dialogues_spoke(
    socket: Path, recent: list[dict[str, object]], last: str, dreams: str | None, exit_code: int
) -> None:
    """P10."""
    source = Answering({"dialogs.recent": recent})
    rows = dict(activity_rows(activity_of(source, {"state": "ok"}, NOW), NOW))
    assert (rows["last"], rows.get("dreams")) == (last, dreams)
    answers = {"status": lambda *_: STATUS | {"state": "ok"}, "dialogs.recent": lambda *_: recent}
    with LittleDaemon(socket, answers):
        told = dreamctl("--socket", socket, "status")
        assert told.exit_code == exit_code
        assert dreamctl("--socket", socket, "status", "--json").exit_code == exit_code


def test_status_does_without_a_database_that_does_not_answer(socket: Path) -> None:
    answers = {"status": lambda *_: STATUS | {"state": "ok"}, "dialogs.recent": fails(9, "it is damaged")}
    with LittleDaemon(socket, answers):
        told = dreamctl("--socket", socket, "status")
    assert told.exit_code == 0
    assert "last       not known: the database does not answer\n" in told.stdout


def test_status_of_a_running_daemon(daemon: DaemonProcess) -> None:
    for result in (
        dreamctl("--state-dir", daemon.state_dir, "--json", "status"),
        dreamctl("--socket", daemon.socket, "status", "--json"),
    ):
        assert (result.exit_code, result.stderr) == (0, "")
        answer = json.loads(result.stdout)
        assert answer["state_dir"] == str(daemon.state_dir)
        assert answer.keys() == STATUS.keys()
    shown = dreamctl("status", DREAMD_STATE_DIR=str(daemon.state_dir))
    assert f"pid {daemon.process.pid}" in shown.stdout


def test_without_a_daemon_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    for command in (["status"], ["why"], ["recent"], ["dream"], ["call", "stats"]):
        result = dreamctl("--state-dir", tmp_path, *command)
        assert (result.exit_code, result.stdout) == (3, "")
        assert f"{tmp_path}/dreamd.sock" in result.stderr
        assert f"Start one with `dreamctl --state-dir {tmp_path} service start`.\n" in result.stderr
        elsewhere = dreamctl(*command, DREAMD_STATE_DIR=str(tmp_path)).stderr
        assert "Start one with `dreamctl service start`, or say which: dreamctl --socket PATH" in elsewhere


def test_a_path_no_socket_can_have_is_wrong_usage(tmp_path: Path) -> None:
    result = dreamctl("--socket", f"/{'x' * 107}", "status")
    assert result.exit_code == 2
    assert "107" in result.stderr


def test_a_degraded_daemon_is_exit_code_1(socket: Path) -> None:
    with LittleDaemon(socket, {"status": lambda *_: STATUS}):
        result = dreamctl("--socket", socket, "status")
    assert result.exit_code == 1
    assert "degraded: disk full" in result.stdout


def test_status_of_a_daemon_that_speaks_another_protocol(socket: Path) -> None:
    """The frozen methods still work: its status is shown, but other calls are refused."""
    refusal = fails(6, "it speaks protocol 2")
    with LittleDaemon(socket, {"hello": refusal, "status": lambda *_: STATUS | {"state": "ok"}}):
        assert dreamctl("--socket", socket, "status").exit_code == 0
        result = dreamctl("--socket", socket, "why")
        assert result.exit_code == 3
        assert "protocol" in result.stderr
        assert str(socket) in result.stderr


def test_gives_up_on_a_stopped_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamd.ctl.daemon.connection.CONNECT_S", 0.2)
    with DaemonProcess(tmp_path / "state") as daemon:
        os.kill(daemon.process.pid, signal.SIGSTOP)
        result = dreamctl("--socket", daemon.socket, "call", "status", "--timeout", "0.2")
        assert result.exit_code == 3
        assert f"{daemon.socket}: no answer to status in 0.2 s" in result.stderr
