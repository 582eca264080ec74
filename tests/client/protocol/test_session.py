"""A host's side of its connections: the bytes to send for the bytes received, without a socket and a clock."""

import sys
import threading
from contextlib import suppress
from typing import Any

import pytest
from dreamclient.errors import NotConnected
from dreamclient.messages import PROTOCOL_VERSION, Code
from dreamclient.protocol.failures import KINDS, Failures, as_told
from dreamclient.protocol.hooks import Hooks
from dreamclient.protocol.packing import packed
from dreamclient.protocol.rpc import Peer, Reply, Request
from dreamclient.protocol.session import Session

WELCOME = {"protocol": PROTOCOL_VERSION, "name": "dreamd", "seeded": True}


class Ends:
    """A session, and the daemon's end of it."""

    def __init__(self, hooks: Hooks | None = None, **fragments: list[str]) -> None:
        self.session = Session(hooks or Hooks(observe=print), "leo", fragments, Failures())
        self.daemon = Peer()

    def said(self) -> list[Any]:
        """Return the session's messages, as the daemon reads them."""
        return [event for data in self.session.messages_to_send() for event in self.daemon.receive_data(data)]

    def greeted(self, welcome: Any = WELCOME, *, error: tuple[Any, ...] | None = None) -> list[Any]:
        """Begin, answer hello, and return the session's next messages."""
        self.session.begin()
        (hello,) = self.said()
        answer = self.daemon.respond(hello.msgid, welcome)
        self.session.receive(self.daemon.fail(hello.msgid, *error) if error else answer)
        return self.said()

    def call(self, method: str, *params: Any) -> Any:
        """Let the daemon call a hook, and return the answer."""
        (request,) = self.session.receive(self.daemon.call(method, list(params), "token")[1])
        try:
            value = self.session.hooks.invoke(request.method, request.params)
        except Exception as error:
            self.session.out.append(self.session.answer(request, None, error))
        else:
            self.session.out.append(self.session.answer(request, value))
        (reply,) = self.said()
        return reply


# --- failures ----------------------------------------------------------------------------------------


def test_failures_are_counted_by_kind_and_told_once() -> None:
    """P10: one message carries each failure. If it is not sent, the next message does."""
    failures = Failures()
    assert failures.take() == {}
    for kind in ("stalled", "stalled", "connect"):
        failures.count(kind)
    taken = failures.take()
    assert taken == {"stalled": 2, "connect": 1}
    assert failures.take() == {}  # for a message that another thread makes meanwhile
    failures.count("stalled")
    failures.put_back(taken)
    assert failures.take() == {"stalled": 3, "connect": 1}
    assert failures.counts == {"stalled": 3, "connect": 1}


def test_no_failure_is_lost_between_threads() -> None:
    failures = Failures()
    ready = threading.Barrier(4)

    def count() -> None:
        ready.wait()
        for _ in range(2000):
            failures.count("stalled")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures.counts == failures.pending == {"stalled": 8000}


def test_no_kind_of_a_hosts_own_keeps_messages_back() -> None:
    """P10: what a message cannot carry, or too much of it, would stay for each later message."""
    failures = Failures()
    odd: list[Any] = [ValueError("x"), ["x"], None, 7, "x" * 65]
    for kind in (*odd, *(f"kind_{n}" for n in range(100)), "kind_1", "x" * 64):
        failures.count(kind)
    assert len(failures.counts) == KINDS
    assert failures.counts["kind_1"] == 2
    assert failures.counts.total() == failures.pending.total() == 107
    assert len(packed(as_told(failures.pending))) < 8000


def test_a_forked_child_counts_on_though_its_parent_held_the_lock() -> None:
    failures = Failures()
    failures.count("stalled")
    held = threading.Thread(target=failures._lock.acquire)
    held.start()
    held.join()
    failures.forked()
    failures.count("forked")
    assert failures.counts == {"stalled": 1, "forked": 1}
    assert failures.pending == {"forked": 1}  # the parent tells the other


# --- the handshake -----------------------------------------------------------------------------------


def test_hello_carries_the_name_and_the_failures() -> None:
    ends = Ends()
    ends.session.failures.count("connect")
    ends.session.field_id = lambda: "f1e1d"
    ends.session.begin()
    (hello,) = ends.said()
    said = hello.params[0]
    assert said.pop("pid") > 0
    assert said == {
        "protocol": PROTOCOL_VERSION,
        "name": "leo",
        "version": "0.1.0",
        "provides": ["observe"],
        "field": "f1e1d",
        "failures": {"connect": 1},
    }
    ends.session.failures.count("listen")
    ends.session.end()  # that it was told is known by the answer
    assert ends.session.failures.pending == {"connect": 1, "listen": 1}
    ends.greeted()
    assert ends.session.failures.pending == {}


@pytest.mark.parametrize("field", [lambda: None, lambda: 1 / 0])
def test_a_field_without_an_id_dreams_nevertheless(field: Any) -> None:
    ends = Ends()
    ends.session.field_id = field
    ends.session.begin()
    (hello,) = ends.said()
    assert "field" not in hello.params[0]
    assert hello.params[0]["failures"] in ({}, {"field": 1})


def test_a_welcome_ends_the_trouble() -> None:
    ends = Ends()
    session = ends.session
    assert (session.trouble, session.ready) == ("not started", False)
    assert ends.greeted() == []
    assert (session.ready, session.answered, session.trouble, session.daemon) == (True, True, "", WELCOME)
    session.end()
    session.lost(NotConnected("gone"), was_ready=True)
    assert (session.ready, session.trouble, session.failures.counts) == (False, "gone", {"lost": 1})
    session.lost(NotConnected("still gone"), was_ready=False)
    assert (session.trouble, session.failures.counts) == ("still gone", {"lost": 1, "connect": 1})


@pytest.mark.parametrize(
    ("answer", "theirs"),
    [
        ({"welcome": {"protocol": 99, "name": "dreamd"}}, "protocol 99"),
        ({"error": (Code.WRONG_PROTOCOL, "we speak 99")}, "we speak 99"),
    ],
)
def test_reports_a_daemon_of_another_protocol_as_trouble(answer: Any, theirs: str) -> None:
    ends = Ends()
    assert ends.greeted(**answer) == []
    session = ends.session
    assert (session.answered, session.ready) == (True, False)
    assert theirs in session.trouble
    assert "one version" in session.trouble
    session.lost(NotConnected("the daemon closed the connection"), was_ready=False)
    assert theirs in session.trouble
    session.lost(NotConnected("no daemon"), was_ready=False)
    assert session.trouble == "no daemon"


@pytest.mark.parametrize(
    "answer",
    [
        {"error": (Code.REFUSED, "the daemon is full")},
        *({"welcome": welcome} for welcome in (None, {}, {"protocol": "1"}, [1])),
    ],
)
def test_any_other_answer_to_hello_is_refused(answer: Any) -> None:
    with pytest.raises(NotConnected, match=r"daemon is full|no dreamd"):
        Ends().greeted(**answer)


@pytest.mark.parametrize(
    "answer",
    [
        {"error": (Code.REFUSED, "the daemon is full")},
        {"error": (Code.WRONG_PROTOCOL, "this daemon speaks 2")},
        {"welcome": {}},
    ],
)
def test_p10_failures_that_a_refused_hello_carried_are_told_by_the_next(answer: Any) -> None:
    ends = Ends()
    ends.session.failures.count("listen")
    with suppress(NotConnected):
        ends.greeted(**answer)
    ends.session.begin()
    assert ends.said()[0].params[0]["failures"] == {"listen": 1}


@pytest.mark.parametrize(
    ("fragments", "seeded", "sent"),
    [
        ({"origin": ["a"], "readme": ["b"]}, False, [{"origin": ["a"], "readme": ["b"]}]),
        ({"origin": [], "readme": ["b"]}, False, [{"origin": [], "readme": ["b"]}]),
        ({"origin": ["a"], "readme": []}, True, None),
        ({"origin": ["a"], "readme": []}, None, None),
        ({"origin": [], "readme": []}, False, None),
    ],
)
def test_a_seed_is_sent_if_it_is_wanted(fragments: Any, seeded: bool | None, sent: Any) -> None:
    ends = Ends(**fragments)
    said = ends.greeted({"protocol": PROTOCOL_VERSION, "seeded": seeded})
    assert [request.params for request in said] == ([sent] if sent else [])
    for request in said:
        ends.session.receive(ends.daemon.fail(request.msgid, Code.UNAVAILABLE, "not now"))
    assert ends.session.failures.counts == ({"seed": 1} if sent else {})


def test_a_seed_that_cannot_be_sent_is_counted() -> None:
    ends = Ends(origin=["x" * (2 << 20)])
    assert ends.greeted({"protocol": PROTOCOL_VERSION, "seeded": False}) == []
    assert ends.session.failures.counts == {"seed": 1}


def test_every_caller_learns_that_the_connection_has_ended() -> None:
    ends, ended = Ends(), []
    ends.session.begin()
    ends.session.call("why", [], ended.append)
    forgotten, _ = ends.session.call("why", [], ended.append)
    ends.session.pending.pop(forgotten)
    ends.session.end()
    ends.session.end()
    assert ended == [None]


# --- what comes, and hooks ---------------------------------------------------------------------------


def test_calls_end_by_their_reply() -> None:
    ends, replies = Ends(), list[Reply]()
    ends.greeted()
    _, data = ends.session.call("why", [1], replies.append)
    (request,) = ends.daemon.receive_data(data)
    assert ends.session.receive(ends.daemon.respond(request.msgid, [])) == []
    assert [(reply.error, reply.result) for reply in replies] == [(None, [])]


def test_a_callback_of_a_call_that_fails_ends_no_connection_and_no_other_call() -> None:
    ends, told = Ends(), list[Any]()
    ends.greeted()
    for done in (lambda reply: sys.exit(), told.append, lambda reply: reply.nothing, told.append):
        ends.session.out.append(ends.session.call("why", [], done)[1])
    for request in ends.said()[:2]:
        ends.session.receive(ends.daemon.respond(request.msgid, 7))
    assert [reply.result for reply in told] == [7]
    ends.session.end()
    assert told[1:] == [None]
    assert ends.session.failures.counts == {"on_event": 2}


def test_events_reach_the_host_and_its_failure_is_counted() -> None:
    seen: list[Any] = []
    ends = Ends()
    ends.session.receive(ends.daemon.notify("event", [{"type": "line"}]))  # a host that asked for none
    ends.session.on_event = lambda event: seen.append(event["type"])
    for method, params in (
        ("event", [{"type": "line"}]),
        ("event", [{}]),  # raises KeyError in the host's code
        ("event", []),
        ("something later", [{"type": "x"}]),
    ):
        ends.session.receive(ends.daemon.notify(method, params))
    assert seen == ["line"]
    ends.session.on_event = lambda _: sys.exit()
    ends.session.receive(ends.daemon.notify("event", [{}]))
    assert ends.session.failures.counts == {"on_event": 2}


def test_the_daemons_last_words_are_the_trouble() -> None:
    ends = Ends()
    ends.session.receive(ends.daemon.notify("error", [Code.TOO_LARGE, "a message of 2000000 bytes"]))
    ends.session.receive(ends.daemon.notify("error", ["nonsense"]))
    ends.session.lost(NotConnected("the daemon closed the connection"), was_ready=False)
    assert ends.session.trouble == "the daemon ended the connection: a message of 2000000 bytes"


def test_a_peer_that_breaks_the_protocol_is_told_and_lost() -> None:
    ends = Ends()
    with pytest.raises(NotConnected, match="broke the protocol: no MessagePack"):
        ends.session.receive(ends.daemon.notify("event", [{}]) + b"\xc1")
    (said,) = ends.said()
    assert (said.method, said.params[0]) == ("error", Code.MALFORMED)


def test_hooks_are_run_by_the_client_and_answered_here() -> None:
    ends = Ends(Hooks(lambda seed, temperature, weight: f"{seed} again", lambda text: {"novelty": "much"}))
    assert ends.session.receive(ends.daemon.call("generate", ["x", 0.7, 0.3], 1)[1]) == [
        Request(0, "generate", ["x", 0.7, 0.3])
    ]
    assert ends.call("generate", "a", 0.7, 0.3).result == "a again"
    assert ends.call("observe", "a").error.code == Code.HOOK_FAILED
    assert ends.session.failures.counts == {"observe": 1}


def test_only_kinds_that_are_known_are_counted() -> None:
    """P11: a peer that calls ever new methods makes no new counters."""
    ends = Ends()
    assert [ends.call(name).error.code for name in ("observe", "a", "b")] == [
        Code.INVALID_PARAMS,
        Code.UNKNOWN_METHOD,
        Code.UNKNOWN_METHOD,
    ]
    assert ends.session.failures.counts == {"observe": 1, "unknown_hook": 2}
