"""What both clients share: counting, hello, back-off, events."""

import random
import threading
from typing import Any

import pytest
from dreamclient.errors import NotConnected, RemoteError
from dreamclient.messages import PROTOCOL_VERSION, Code, DreamContext
from dreamclient.protocol.hooks import Hooks
from dreamclient.protocol.rpc import Notification, Reply
from dreamclient.protocol.session import Backoff, Failures, Host


def host(**keywords: Any) -> Host:
    return Host(Hooks(observe=print), name="leo", **keywords)


WELCOME = {"protocol": PROTOCOL_VERSION, "name": "dreamd", "seeded": False}


# --- failures ----------------------------------------------------------------------------------------


def test_failures_are_counted_by_kind_and_told_once() -> None:
    """P10: what was counted while a message was on its way is told with the next."""
    failures = Failures()
    assert failures.untold() == {}
    for kind in ("stalled", "stalled", "connect"):
        failures.count(kind)
    sent = failures.untold()
    assert sent == {"stalled": 2, "connect": 1}
    failures.count("stalled")
    failures.told(sent)
    assert failures.untold() == {"stalled": 1}
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
    assert failures.counts == failures.untold() == {"stalled": 8000}


def test_a_forked_child_counts_on_though_its_parent_held_the_lock() -> None:
    failures = Failures()
    failures.count("stalled")
    held = threading.Thread(target=failures._lock.acquire)
    held.start()
    held.join()
    failures.forked()
    failures.count("forked")
    assert failures.counts == {"stalled": 1, "forked": 1}
    assert failures.untold() == {"forked": 1}  # the parent tells the other


# --- back-off ----------------------------------------------------------------------------------------


def test_retries_double_from_the_first_to_the_last_and_begin_anew() -> None:
    backoff = Backoff(1.0, 60.0, lambda: 0.0)
    assert [backoff.next_s() for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    backoff.reset()
    assert backoff.next_s() == 1


def test_jitter_shortens_by_a_quarter_at_most() -> None:
    backoff = Backoff(1.0, 60.0, random.Random(5).random)
    waits = [backoff.next_s() for _ in range(200)][6:]
    assert 45 <= min(waits) < max(waits) <= 60


# --- hello -------------------------------------------------------------------------------------------


def test_hello_says_who_and_what_was_swallowed() -> None:
    one = host()
    one.failures.count("connect")
    hello = one.hello()
    assert hello.pop("pid") > 0
    assert hello == {
        "protocol": PROTOCOL_VERSION,
        "name": "leo",
        "version": "0.1.0",
        "provides": ["observe"],
        "failures": {"connect": 1},
    }


def test_a_welcome_ends_the_trouble() -> None:
    one = host()
    assert one.trouble == "not started"
    assert one.welcome(Reply(None, None, WELCOME))
    assert (one.trouble, one.daemon) == ("", WELCOME)
    one.lost(NotConnected("gone"))
    assert (one.trouble, one.failures.counts) == ("gone", {"lost": 1})
    one.lost(NotConnected("still gone"))
    assert (one.trouble, one.failures.counts) == ("still gone", {"lost": 1, "connect": 1})


@pytest.mark.parametrize(
    ("reply", "theirs"),
    [
        (Reply(None, None, {"protocol": 99, "name": "dreamd"}), "protocol 99"),
        (Reply(None, RemoteError(Code.WRONG_PROTOCOL, "we speak 99"), None), "we speak 99"),
    ],
)
def test_another_protocol_is_no_welcome_and_stays_the_trouble(reply: Reply, theirs: str) -> None:
    one = host()
    assert not one.welcome(reply)
    assert theirs in one.trouble
    assert "one version" in one.trouble
    one.lost(NotConnected("the daemon closed the connection"))
    assert theirs in one.trouble
    one.lost(NotConnected("no daemon"))
    assert one.trouble == "no daemon"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(None, RemoteError(Code.REFUSED, "the daemon is full"), None),
        Reply(None, None, None),
        Reply(None, None, {}),
        Reply(None, None, {"protocol": "1"}),
        Reply(None, None, [1]),
    ],
)
def test_any_other_answer_to_hello_is_refused(reply: Reply) -> None:
    with pytest.raises(NotConnected, match=r"daemon is full|no dreamd"):
        host().welcome(reply)


@pytest.mark.parametrize(
    ("fragments", "seeded", "sent"),
    [
        ({"origin": ["a"], "readme": ("b",)}, False, {"origin": ["a"], "readme": ["b"]}),
        ({"readme": ["b"]}, False, {"origin": [], "readme": ["b"]}),
        ({"origin": ["a"]}, True, None),
        ({"origin": ["a"]}, None, None),
        ({}, False, None),
    ],
)
def test_a_seed_is_sent_where_it_is_wanted(fragments: Any, seeded: bool | None, sent: Any) -> None:
    one = host(**fragments)
    one.welcome(Reply(None, None, {"protocol": PROTOCOL_VERSION, "seeded": seeded}))
    assert one.seed() == sent


# --- contexts, events, hooks -------------------------------------------------------------------------


@pytest.mark.parametrize("ctx", [{"prompt": "a", "reply": "b"}, DreamContext("a", "b")])
def test_a_context_carries_failures_only_where_there_are_some(ctx: Any) -> None:
    assert host().context(ctx, {}) is ctx
    carried = host().context(ctx, {"stalled": 2})
    assert (carried["prompt"], carried["reply"], carried["failures"]) == ("a", "b", {"stalled": 2})
    assert "failures" not in (ctx if isinstance(ctx, dict) else vars(ctx))


def test_events_reach_the_host_and_its_failure_is_counted() -> None:
    seen: list[Any] = []
    one = host(on_event=lambda event: seen.append(event["type"]))
    one.notified(Notification("event", [{"type": "line"}]))
    one.notified(Notification("event", [{}]))  # raises KeyError in the host's code
    one.notified(Notification("event", []))
    one.notified(Notification("something later", [{"type": "x"}]))
    assert seen == ["line"]
    assert one.failures.counts == {"on_event": 1}
    host().notified(Notification("event", [{"type": "line"}]))  # and who asked for none gets none


def test_the_daemons_last_words_are_the_trouble() -> None:
    one = host()
    one.notified(Notification("error", [Code.TOO_LARGE, "a message of 2000000 bytes"]))
    one.notified(Notification("error", ["nonsense"]))
    one.lost(NotConnected("the daemon closed the connection"))
    assert one.trouble == "the daemon ended the connection: a message of 2000000 bytes"


def test_only_kinds_that_are_known_are_counted() -> None:
    """P11: a peer that calls ever new methods makes no ever new counters."""
    one = host()
    for name in ("observe", "a", "b"):
        try:
            one.hooks.invoke(name, [])
        except Exception as error:
            one.failed(name, error)
    assert one.failures.counts == {"observe": 1, "unknown_hook": 2}
