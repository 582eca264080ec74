"""InlineClient: its hooks run on the thread that waits."""

import os
import threading
from dataclasses import replace
from functools import partial

import pytest
from dreamclient.clients.connect import Connector
from dreamclient.clients.inline import InlineClient
from dreamclient.errors import CallTimeout, NotConnected, RemoteError
from dreamclient.protocol.hooks import Hooks
from dreamclient.protocol.session import Failures, Timing

from tests.helpers.little_daemon import LittleDaemon, fails

SOON = Timing(hello_s=10.0, tick_s=0.01)
DREAMS = {"dream": True, "dialog": 7}


@pytest.fixture
def daemon(tmp_path):
    with LittleDaemon(tmp_path / "s") as listening:
        yield listening


@pytest.fixture
def client(daemon):
    return partial(InlineClient, Connector(daemon.path), timing=SOON)


def test_hello_tells_who_is_there_and_what_failed_before(client, daemon):
    failures = Failures()
    failures.count("not_connected")
    with client(Hooks(len, len), name="leo2", failures=failures):
        (hello,) = daemon.arrival().hears("hello")
    assert (hello["name"], hello["pid"]) == ("leo2", os.getpid())
    assert hello["provides"] == ["generate", "observe"]
    assert hello["failures"] == {"not_connected": 1}
    assert failures.untold() == {}


def test_a_call_is_answered_or_refused_or_given_up(client, daemon):
    free = threading.Event()
    daemon.answers |= {
        "why": lambda _, params: params,
        "no": fails(12, "not found"),
        "slow": lambda *_: free.wait(10),
    }
    with client() as leo:
        assert leo.call("why", 3) == [3]
        with pytest.raises(RemoteError, match="not found"):
            leo.call("no")
        with pytest.raises(CallTimeout):
            leo.call("slow", timeout_s=0.02)
        free.set()
        assert leo.call("why", 4) == [4]


@pytest.mark.parametrize(
    ("hello", "hello_s", "error"),
    [
        (lambda *_: threading.Event().wait(0.5), 0.05, CallTimeout),
        (lambda *_: {"protocol": 99}, SOON.hello_s, NotConnected),
        (fails(9, "full"), SOON.hello_s, NotConnected),
    ],
)
def test_a_daemon_that_does_not_welcome_is_left(client, daemon, hello, hello_s, error):
    daemon.answers["hello"] = hello
    with pytest.raises(error):
        client(timing=replace(SOON, hello_s=hello_s))
    assert daemon.arrival().ended.wait(10)


def test_hooks_run_on_the_thread_that_waits(client, daemon):
    ran = []

    def generate(seed, temperature, weight):
        ran.append(threading.current_thread())
        return f"{seed}!"

    daemon.answers["why"] = lambda connection, _: connection.call("generate", "s", 0.5, 0.3, {}).result
    with client(Hooks(generate)) as leo:
        assert leo.call("why") == "s!"
    assert ran == [threading.current_thread()]


def test_p10_a_hook_that_raises_is_answered_and_counted(client, daemon):
    def generate(*_):
        raise ZeroDivisionError

    failures = Failures()
    daemon.answers["why"] = lambda connection, _: connection.call("generate", "s", 0.5, 0.3, {}).error.detail
    with client(Hooks(generate), failures=failures) as leo:
        assert leo.call("why")["type"] == "ZeroDivisionError"
    assert failures.counts == {"generate": 1}


def test_an_interrupt_within_a_hook_is_the_hosts(client, daemon):
    def generate(*_):
        raise KeyboardInterrupt

    def ask(connection, _):  # without waiting for an answer that never comes
        connection.sock.sendall(connection.peer.call("generate", ["s", 0.5, 0.3, {}], "asked")[1])

    daemon.answers["why"] = ask
    with pytest.raises(KeyboardInterrupt), client(Hooks(generate)) as leo:
        leo.call("why")
    assert daemon.arrival().ended.wait(10)


def test_a_decision_not_to_dream_is_not_waited_for(client, daemon):
    daemon.answers["dream.context"] = lambda *_: {"dream": False, "reason": "calm"}
    with client() as leo:
        assert leo.dream({"prompt": "p", "reply": "r"}) == {"dream": False, "reason": "calm"}
    connection = daemon.arrival()
    connection.hears("hello")
    assert connection.hears("events.subscribe") == []
    assert connection.hears("dream.context") == [{"prompt": "p", "reply": "r"}]


def test_a_dream_is_waited_for_to_its_end(client, daemon):
    said = []

    def decide(connection, _):
        def dialogue():
            connection.notify("event", {"type": "dialog.finished", "dialog": 6})
            connection.call("observe", "a line", {})
            connection.notify("event", {"type": "line"})
            connection.notify("event", {"type": "dialog.finished", "dialog": 7})

        threading.Thread(target=dialogue).start()
        return DREAMS

    daemon.answers |= {"dream.context": decide, "status": fails(1, "not asked")}
    with client(Hooks(None, said.append), timing=Timing()) as leo:
        assert leo.dream({"prompt": "p", "reply": "r"}) == DREAMS
    assert said == ["a line"]


def test_an_end_that_goes_unsaid_is_asked_for(client, daemon):
    dreaming = [7, None]
    sessions = lambda: [{"session": 2, "dreaming": 7}, {"session": 1, "dreaming": dreaming.pop(0)}]  # noqa: E731
    daemon.answers |= {"dream.context": lambda *_: DREAMS, "status": lambda *_: {"sessions": sessions()}}
    with client() as leo:
        assert leo.dream({"prompt": "p", "reply": "r"}) == DREAMS
    assert dreaming == []


def test_a_daemon_that_dies_within_a_dream_is_no_dream(client, daemon):
    def decide(connection, _):
        threading.Thread(target=connection.close).start()
        return DREAMS

    daemon.answers["dream.context"] = decide
    with client() as leo, pytest.raises(NotConnected):
        leo.dream({"prompt": "p", "reply": "r"})
