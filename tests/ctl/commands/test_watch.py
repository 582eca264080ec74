"""`watch` and `why --watch`: live events, across restarts of the daemon."""

import contextlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import IO, Any

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.ctl.commands.watch import Screen
from tests.ctl.conftest import Speaker
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl

NOW = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))
STARTED = {
    "type": "dialog.started",
    "at": NOW - 9,
    "dialog": 7,
    "trace_id": "t-7",
    "session": 2,
    "client": "leo",
}
LINE = {
    "type": "line", "at": NOW - 8, "dialog": 7, "trace_id": "t-7", "turn": 1, "speaker": "leo",
    "text": "the rain is near", "novelty": 0.5, "arousal": 0.25, "entropy": 1.0, "trauma": 0.0, "overlap": 0.1,
    "temperature": 0.6,
    "semantic_weight": 0.3, "expert": "",
}  # fmt: skip
FINISHED = {
    "type": "dialog.finished", "at": NOW - 7, "dialog": 7, "trace_id": "t-7", "outcome": "complete", "lines": 4,
    "fed": True, "drift": 0.0625, "admitted": ["a roof keeps it"],
}  # fmt: skip


def shown(columns: int, *events: dict, plain: bool = True) -> str:
    screen = Screen(columns, plain)
    text = "\n".join(filter(None, (screen.show(event, NOW) for event in events)))
    for code in ("36", "2", "0"):
        text = text.replace(f"\x1b[{code}m", "")
    return text


def test_shows_a_dialogue_event_by_event() -> None:
    decision = {"type": "decision", "at": NOW, "decision": {}}
    assert shown(80, STARTED, decision, LINE, FINISHED) == (
        "11:59:51  dialogue 7 begins: leo dreams, session 2\n"
        "   leo: the rain is near\n"
        "        novelty ###... 0.50  arousal ##.... 0.25  entropy ###### 1.00\n"
        "        trauma ...... 0.00\n"
        "11:59:53  dialogue 7: complete, 4 lines, drift 0.06, the friend keeps: a roof\n"
        "          keeps it"
    )
    narrow = shown(40, STARTED, LINE, FINISHED)
    assert max(map(len, narrow.splitlines())) <= 40
    assert "███···" in shown(40, LINE, plain=False)


def test_marks_the_lines_of_two_dialogues_at_once() -> None:
    other = LINE | {"dialog": 8, "speaker": "friend", "text": "who is"}
    heads = [line for line in shown(80, STARTED, LINE, other, other, LINE).splitlines() if line[0].isdigit()]
    assert [head[10:] for head in heads] == [
        "dialogue 7 begins: leo dreams, session 2",
        "dialogue 8",
        "dialogue 7",
    ]
    empty = FINISHED | {"outcome": "empty", "lines": 0, "drift": None, "admitted": []}
    assert shown(80, empty) == "11:59:53  dialogue 7: empty, 0 lines"


def test_shows_what_is_not_dreamt_but_done_by_a_person() -> None:
    undone = {
        "type": "dialog.undone",
        "at": NOW,
        "dialog": 7,
        "trace_id": "t-7",
        "lines": 4,
        "unknown": [],
        "missing": 0,
    }
    changed = {
        "type": "friend.changed",
        "at": NOW,
        "how": "drop",
        "fragments": 3,
        "kept": 3,
        "added": 0,
        "left": 1,
    }
    assert shown(80, undone, changed).splitlines() == [
        "12:00:00  dialogue 7: taken back, 4 lines",
        "12:00:00  the friend: drop, 0 came, 1 went",
    ]


DEADLINE_S = 30.0


@contextlib.contextmanager
def watching(tmp_path: Path, *arguments: object, **env: str) -> Iterator[Popen[str]]:
    process = spawn_dreamctl(*arguments, cwd=Path.cwd(), **env)
    assert process.stdout is not None
    assert process.stderr is not None
    late = threading.Timer(DEADLINE_S, process.kill)  # then what is read ends
    late.start()
    with process.stdout, process.stderr:
        try:
            yield process
        finally:
            late.cancel()
            process.kill()
            process.wait()


def read_until(
    stream: IO[str] | None, wanted: Callable[[Any], bool], parse: Callable[[str], Any]
) -> list[Any]:
    """Return the lines up to the first that is wanted."""
    assert stream is not None
    found = []
    for line in stream:
        found.append(parse(line))
        if wanted(found[-1]):
            return found
    raise AssertionError(f"ended after {found}")


def ends(process: Popen[str]) -> tuple[int, str]:
    """Send Ctrl-C, and return the exit code and the text on stderr."""
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    return process.returncode, said


def test_watch_as_json_has_one_event_a_line_and_ends_at_ctrl_c(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient], tmp_path: Path
) -> None:
    _, client = leo
    with watching(tmp_path, "--socket", daemon.socket, "watch", "--json") as process:
        read_until(process.stderr, lambda line: "Watching" in line, str)
        ended = client.dream_now()
        events = read_until(process.stdout, lambda event: event["type"] == "dialog.finished", json.loads)
        assert ends(process) == (0, "")
    by = {event["type"]: event for event in events}
    assert by["line"].keys() == LINE.keys()
    assert by["dialog.started"].keys() == STARTED.keys()
    assert by["dialog.finished"].keys() == FINISHED.keys()
    assert sum(event["type"] == "line" for event in events) == ended["lines"]


def test_watch_waits_for_a_daemon_that_restarts(tmp_path: Path) -> None:
    state = tmp_path / "state"
    speaker = Speaker(("the rain is near", "a roof keeps it", "who keeps the roof", "you do"))
    with DaemonProcess(state) as daemon, watching(tmp_path, "--state-dir", state, "watch") as process:
        read_until(process.stderr, lambda line: "Watching" in line, str)
        daemon.stop()
        read_until(process.stderr, lambda line: "went away" in line, str)
        daemon.start()
        read_until(process.stderr, lambda line: "is back" in line, str)
        with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.dream_now()
        lines = read_until(process.stdout, lambda line: "complete" in line, str)
        assert ends(process)[0] == 0
    assert "   leo: the rain is near\n" in lines
    assert "\x1b" not in "".join(lines)  # into a pipe


def test_reports_number_of_lost_events(socket: Path, tmp_path: Path) -> None:
    """P11: a slow reader is told how many events he has lost."""
    with LittleDaemon(socket) as little:
        for command in ("watch", "why --watch"):
            little.answers["why"] = lambda *_: []
            with watching(tmp_path, "--socket", socket, *command.split()) as process:
                connection = little.arrival()
                connection.hears("hello")
                assert connection.hears("events.subscribe") == []
                connection.notify("event", {"type": "lost", "at": NOW, "count": 7})
                said = read_until(process.stderr, lambda line: "lost" in line, str)
                assert said[-1] == "7 events were lost: they came faster than they were read.\n"


def test_a_closed_pipe_raises_no_error(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient], tmp_path: Path
) -> None:
    _, client = leo
    with watching(tmp_path, "--socket", daemon.socket, "watch", "--json") as process:
        read_until(process.stderr, lambda line: "Watching" in line, str)
        assert process.stdout is not None
        process.stdout.close()
        client.dream_now()
        assert process.wait(20) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_reports_that_no_daemon_can_be_watched(tmp_path: Path) -> None:
    for command in ("watch", "why --watch"):
        result = dreamctl("--state-dir", tmp_path, *command.split())
        assert (result.exit_code, result.stdout) == (3, "")
        assert "Start one with `dreamctl --state-dir" in result.stderr


CALM = {"prompt": "p", "reply": "r", "pulse": {"novelty": 0.12}, "quality": 0.78}


@pytest.mark.parametrize("as_json", [False, True])
def test_why_watch_shows_each_new_decision_once(tmp_path: Path, as_json: bool) -> None:
    """P10."""

    def reason(line: str) -> str:
        return json.loads(line)["reason"] if as_json else line.split("; ")[1].split(":")[0]

    state, speaker = tmp_path / "state", Speaker(("a", "b"))
    with DaemonProcess(state) as daemon:
        with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.call("dream.context", CALM)
            asked = ["--state-dir", state, "why", "--watch", *["--json"] * as_json]
            with watching(tmp_path, *asked, COLUMNS="100") as process:
                assert read_until(process.stdout, lambda _: True, reason) == ["calm"]
                client.call("dream.now", CALM)
                client.call("dream.context", CALM)
                assert read_until(process.stdout, lambda got: got != "asked", reason) == ["asked", "cooldown"]
                assert ends(process) == (0, "")


def test_shows_a_decision_once_if_it_arrives_twice(socket: Path, tmp_path: Path) -> None:
    first, second = ({"at": NOW + n, "dream": False, "reason": "calm", "client": "leo"} for n in range(2))
    with LittleDaemon(socket, {"why": lambda *_: [first]}) as little:
        with watching(tmp_path, "--socket", socket, "why", "--watch", "--json") as process:
            connection = little.arrival()
            for method in ("hello", "events.subscribe", "why"):
                connection.hears(method)
            for decision in (first, second):
                connection.notify("event", {"type": "decision", "at": NOW, "decision": decision})
            told = read_until(process.stdout, lambda decision: decision == second, json.loads)
    assert told == [first, second]


def test_why_counts_the_shown_decisions_and_all(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient]
) -> None:
    _, client = leo
    for _ in range(3):
        client.call("dream.context", CALM)
    text = dreamctl("--socket", daemon.socket, "why", "-n", 2).stdout
    assert "\nOf these 2: 2 calm.\nOf all " in text
    assert "since the daemon started: " in text
