"""`trace`: each message on the socket, as a person and as a program sees it."""

import json
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.ctl.commands.trace.command import OPEN_CALLS, Reading, show_message
from tests.ctl.commands.test_watch import ends, read_until, watching
from tests.ctl.conftest import Speaker
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.shapes import differences, events_of
from tests.helpers.terminal import Terminal

NOW = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))
CALM = {"prompt": "who keeps the roof", "reply": "you do", "pulse": {"novelty": 0.12}, "quality": 0.78}


def seen(message: Any, clock: float = 50.0, way: str = "in", session: int = 2) -> dict[str, Any]:
    """Return a message as the daemon tells of it."""
    data = message if isinstance(message, bytes) else msgpack.packb(message)
    return {"clock": clock, "session": session, "way": way, "size": len(data), "data": data[:4096]}


def event(*messages: dict[str, Any], lost: int = 0) -> dict[str, Any]:
    return {"type": "trace", "at": NOW, "clock": 60.0, "messages": messages, "lost": lost}


def read(*messages: dict[str, Any], lost: int = 0, **options: bool) -> list[dict[str, Any]]:
    return list(Reading(**options).read(event(*messages, lost=lost)))


def test_pairs_answers_with_calls_of_either_side() -> None:
    """Each side of each session numbers its calls by itself."""
    calls = [
        seen([0, 1, "why", []], 50.0),
        seen([0, 1, "generate", []], 51.0, "out"),
        seen([0, 1, "stats", []], 52.0, session=3),
    ]
    answers = [
        seen([1, 1, None, []], 53.5, "out", session=3),
        seen([1, 1, None, "x"], 54.0, "in"),
        seen([1, 1, None, []], 54.5, "out"),
    ]
    found = read(*calls, *answers)[3:]
    assert [(each["session"], each["way"], each["method"], each["took_ms"]) for each in found] == [
        (3, "out", "stats", 1500.0),
        (2, "in", "generate", 3000.0),
        (2, "out", "why", 4500.0),
    ]
    assert found[0]["at"] == NOW - 6.5


def test_does_not_pair_an_answer_with_a_wrong_call() -> None:
    call, answer = seen([0, 1, "why", []]), seen([1, 1, None, []], way="out")
    reading = Reading()
    assert [each["type"] for each in reading.read(event(call, lost=7))] == ["call", "lost"]
    (late,) = reading.read(event(answer))
    assert (late["method"], late["took_ms"]) == (None, None)
    assert [each["method"] for each in read(call, answer, answer)] == ["why", "why", None]
    many = [seen([0, n, "why", []]) for n in range(OPEN_CALLS + 1)]
    *_, first, second = read(*many, seen([1, 0, None, 0], way="out"), seen([1, 1, None, 0], way="out"))
    assert (first["method"], second["method"]) == (None, "why")


def shown(*messages: dict[str, Any], columns: int = 80, **options: bool) -> str:
    text = "\n".join(show_message(each, columns) for each in read(*messages, **options))
    return re.sub(r"\x1b\[\d+m", "", text)


EXCHANGE = (
    seen([0, 4, "dream.now", [CALM]], 50.0),
    seen([0, 0, "generate", ["who keeps the roof", 0.75, 0.5, {"speaker": "leo"}]], 50.25, "out"),
    seen([1, 0, [11, "it raised: the roof", {"type": "TypeError", "where": "leo.py:4"}], None], 50.2625),
    seen([2, "dream.context", [{"prompt": "p" * 5000}]], 51.0),
    seen(b"\xc0\xc0", 52.0),
    seen([1, 9, None, True], 53.0, "out"),
)


def test_shows_an_exchange_as_text() -> None:
    assert shown(*EXCHANGE) == (
        "11:59:50.000  session 2 calls dream.now #4, 95 B\n"
        "    prompt: <18 chars>, reply: <6 chars>, pulse: {novelty: 0.12}, quality: 0.78\n"
        "11:59:50.250  daemon calls generate #0 of session 2, 63 B\n"
        "    seed: <18 chars>, temperature: 0.75, semantic_weight: 0.5, meta: {speaker:\n"
        '    "leo"}\n'
        "11:59:50.262  session 2 answers generate #0, 57 B, 12.5 ms, an error\n"
        '    HOOK_FAILED (11), <19 chars>, type: "TypeError", where: "leo.py:4"\n'
        "11:59:51.000  session 2 sends dream.context, 5 kB, cut\n"
        "    prompt: …\n"
        "11:59:52.000  session 2 sends what cannot be read, 2 B\n"
        "11:59:53.000  daemon answers a call that was not seen #9 to session 2, 5 B\n"
        "    true"
    )


@pytest.mark.parametrize("options", [{}, {"show_text": True}, {"raw": True}])
def test_fits_a_narrow_terminal(options: dict[str, bool]) -> None:
    text = shown(*EXCHANGE, columns=40, **options)
    assert max(map(len, text.splitlines())) <= 40
    assert ("the roof" in " ".join(text.split())) is ("show_text" in options)


def test_raw_shows_the_bytes_without_texts() -> None:
    hidden, whole = (shown(EXCHANGE[1], raw=True, show_text=show_text) for show_text in (False, True))
    pairs = hidden.split("63 B")[1].split()
    assert pairs.count("..") == 1 + len("who keeps the roof")
    assert bytes.fromhex(whole.split("63 B")[1]) == EXCHANGE[1]["data"]


def test_p14_json_is_as_documented_and_has_no_text(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient], tmp_path: Path
) -> None:
    """P14: texts are shown only with the option for them."""
    shapes = events_of("trace")
    speaker, client = leo
    for options in ([], ["--raw"], ["--show-text"]):
        with watching(tmp_path, "--socket", daemon.socket, "trace", "--json", *options) as process:
            read_until(process.stderr, lambda line: "Tracing" in line, str)
            client.offer(CALM)
            client.dream_now()
            messages = read_until(
                process.stdout, lambda message: message["method"] == "dream.now" and message["way"] == "out", json.loads
            )  # fmt: skip
            assert ends(process) == (0, "")
        assert {message["type"] for message in messages} == {"notification", "call", "answer"}
        for message in messages:
            assert differences({"type": "", "at": "", **shapes[message["type"]]}, message) == []
            assert ("raw" in message) is ("--raw" in options)
        calls = [message["method"] for message in messages if message["type"] == "call"]
        assert calls[:3] == ["dream.now", "generate", "observe"]
        assert all(message["took_ms"] > 0 for message in messages if message["type"] == "answer")
        said = json.dumps(messages)
        texts = [CALM["prompt"], CALM["reply"], *speaker.words]
        assert any(text in said for text in texts) is ("--show-text" in options)
        assert not any(text.encode().hex() in said for text in texts)


def test_filters_by_session_and_method(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient], tmp_path: Path
) -> None:
    _, client = leo
    own = client.daemon["session"]
    asked = ["trace", "--json", "--session", own, "--method", "why", "--method", "stats"]
    with watching(tmp_path, "--socket", daemon.socket, *asked) as process:
        read_until(process.stderr, lambda line: "Tracing" in line, str)
        daemon.call("status")
        for method in ("why", "status", "stats"):
            client.call(method)
        messages = read_until(
            process.stdout, lambda m: m["method"] == "stats" and m["way"] == "out", json.loads
        )
    assert [(m["session"], m["type"], m["method"]) for m in messages] == [
        (own, kind, method) for method in ("why", "stats") for kind in ("call", "answer")
    ]
    refused = dreamctl("--socket", daemon.socket, "trace", "--session", 9999)
    assert (refused.exit_code, refused.stdout) == (4, "")
    assert (
        f"no session 9999; `dreamctl --socket {daemon.socket} status` lists them (NOT_FOUND, 12)"
        in refused.stderr
    )


def test_shows_what_a_watch_is_sent_only_if_it_is_asked_for(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient], tmp_path: Path
) -> None:
    _, client = leo
    client.call("events.subscribe")
    for options in ([], ["--session", client.daemon["session"]]):
        with watching(tmp_path, "--socket", daemon.socket, "trace", *options) as process:
            read_until(process.stderr, lambda line: "Tracing" in line, str)
            client.call("dream.context", CALM)
            client.call("stats")
            shown = read_until(process.stdout, lambda line: "daemon answers stats" in line, str)
        assert any("daemon sends event to session" in line for line in shown) is bool(options)


def test_decides_10_000_contexts_and_counts_the_lost_messages(daemon: DaemonProcess, tmp_path: Path) -> None:
    count, hello = 10_000, {"protocol": 1, "name": "pusher", "provides": []}
    context = msgpack.packb([2, "dream.context", [CALM]])
    before = daemon.call("status")["decisions"].get("no_hooks", 0)
    with watching(tmp_path, "--socket", daemon.socket, "trace", "--json") as process:
        read_until(process.stderr, lambda line: "Tracing" in line, str)
        with socket.socket(socket.AF_UNIX) as pushing:
            pushing.connect(str(daemon.socket))
            pushing.sendall(msgpack.packb([0, 1, "hello", [hello]]) + context * count)
            pushing.sendall(msgpack.packb([0, 2, "why", [1]]))
            answers = msgpack.Unpacker()
            while True:
                answers.feed(pushing.recv(1 << 16))
                if any(answer[1] == 2 for answer in answers):
                    break
            told = 0
            for line in process.stdout or ():
                message = json.loads(line)
                told += message.get("count", 1)
                if told == count + 4:
                    break
        assert ends(process)[0] == 0
    status = daemon.call("status")
    assert told == count + 4
    assert status["decisions"]["no_hooks"] - before == count
    assert status["failures"] == {}


def test_reports_number_of_lost_messages(socket: Path, tmp_path: Path) -> None:
    for options, stream in (([], "stderr"), (["--method", "why"], "stderr"), (["--json"], "stdout")):
        with LittleDaemon(socket) as little:
            with watching(tmp_path, "--socket", socket, "trace", *options) as process:
                connection = little.arrival()
                connection.hears("hello")
                assert connection.hears("trace.subscribe") == [None]
                connection.notify("event", event(seen([0, 1, "stats", []]), lost=7))
                said = read_until(getattr(process, stream), lambda line: "lost" in line, str)
        if stream == "stderr":
            assert said[-1] == "7 messages were lost: they came faster than they were read.\n"
        else:
            assert json.loads(said[-1]) == {"type": "lost", "at": NOW, "count": 7}


@pytest.mark.parametrize(("columns", "term"), [(80, "xterm"), (40, "xterm"), (80, "dumb")])
def test_traces_until_ctrl_c_on_a_terminal(
    daemon: DaemonProcess, tmp_path: Path, columns: int, term: str
) -> None:
    command = [sys.executable, "-m", "dreamd.ctl", "--socket", daemon.socket, "trace", "--show-text"]
    with Terminal(command, tmp_path, columns=columns, TERM=term) as terminal:
        terminal.until("Ctrl-C ends.")
        with DreamClient(socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.call("dream.context", CALM | {"reply": "the café ≤ \x1b[2J \x9b2J \u202e"})
        terminal.until('reason: "no_hooks"')
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 0
    plain = re.sub(r"\x1b\[\d+m", "", terminal.seen)
    assert not {"\x1b", "\x9b", "\u202e"} & {*plain}
    assert max(map(len, plain.splitlines())) <= columns
    flat = " ".join(plain.split())
    assert re.search(r"\d\d:\d\d:\d\d\.\d\d\d session \d+ calls dream\.context #\d", flat)
    assert ("the cafe <=" if term == "dumb" else "the café ≤") in flat
    assert ("\x1b" in terminal.seen) is (term != "dumb")


def test_reports_that_no_daemon_can_be_traced(tmp_path: Path) -> None:
    result = dreamctl("--state-dir", tmp_path, "trace")
    assert (result.exit_code, result.stdout) == (3, "")
