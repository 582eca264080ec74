"""DreamClient against real sockets: daemons that answer, and daemons that do everything else."""

import gc
import inspect
import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from dreamclient.clients import process
from dreamclient.clients.link import connected
from dreamclient.clients.run import Run, Timing
from dreamclient.clients.thread import DreamClient
from dreamclient.errors import CallTimeout, NotConnected, RemoteError, UsageError
from dreamclient.messages import DIALOGUE_S, Code, DreamContext, PulseSnapshot
from dreamclient.protocol.packing import packed

from dreamd.dream.dialogue import DialogueSettings
from tests.helpers.daemons.little import DEADLINE_S, Connection, LittleDaemon, fails, welcome
from tests.helpers.daemons.not_one import full_backlog, not_a_daemon, says
from tests.helpers.waiting import until

QUICK = Timing(hello_s=DEADLINE_S, first_retry_s=0.01, last_retry_s=0.02)
HASTY = replace(QUICK, hello_s=0.2)  # for a daemon that does not answer
CONTEXT = DreamContext("who are you", "a field", pulse=PulseSnapshot(0.1, 0.2, 0.3))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dreamd.sock"


@pytest.fixture
def make(path: Path) -> Iterator[Callable[..., DreamClient]]:
    """Clients of the daemon at `path`, closed in the end."""
    clients = []

    def client(*hooks: Any, **keywords: Any) -> DreamClient:
        clients.append(DreamClient(*hooks, **{"socket_path": path, "timing": QUICK} | keywords))
        return clients[-1]

    yield client
    for one in clients:
        one.close()


Make = Callable[..., DreamClient]

# --- a daemon that answers ---------------------------------------------------------------------------


def test_a_host_says_hello_offers_and_serves_its_hooks(path: Path, make: Make) -> None:
    observed: list[str] = []

    def dream(connection: Connection, params: list[Any]) -> dict[str, Any]:
        line = connection.call("generate", "a seed", 0.7, 0.3, {"turn": 1})
        connection.call("observe", line.result["text"], {"turn": 1})
        recalled = connection.call("recall", "a query", 1)
        return {"outcome": "complete", "said": line.result, "recalled": recalled.result, "params": params}

    with LittleDaemon(path, {"dream.now": dream}) as daemon:
        client = make(
            lambda seed, temperature, weight, meta: {"text": f"{seed} {meta['turn']}", "novelty": 1},
            observed.append,
            lambda query, n: ["a snapshot", "another"],
            name="leo",
        )
        assert client.start(DEADLINE_S)
        assert client.connected
        assert (client.trouble, client.daemon["name"]) == ("", "dreamd")
        connection = daemon.arrival()
        (hello,) = connection.hears("hello")
        assert (hello["name"], hello["provides"]) == ("leo", ["generate", "observe", "recall"])
        assert client.offer(CONTEXT)
        (ctx,) = connection.hears("dream.context")
        assert (ctx["prompt"], ctx["pulse"]) == (
            "who are you",
            {"novelty": 0.1, "arousal": 0.2, "entropy": 0.3},
        )
        # Two-way and nested: the daemon calls back three times before it answers.
        assert client.dream_now({"prompt": "x"}) == {
            "outcome": "complete",
            "said": {"text": "a seed 1", "novelty": 1.0},
            "recalled": ["a snapshot"],
            "params": [{"prompt": "x", "reply": "", "themes": []}, None],
        }
        assert observed == ["a seed 1"]
        assert client.failures == {}
        thread = client._run.thread
        assert (thread.name, thread.daemon, thread in threading.enumerate()) == ("dreamd-client", True, True)


def test_a_host_may_take_lines_back(path: Path, make: Make) -> None:
    def taken_back(connection: Connection, _: list[Any]) -> Any:
        return connection.call("unobserve", {"keys": [7]}, {"turn": 1}).result

    with LittleDaemon(path, {"dream.now": taken_back}) as daemon:
        client = make(unobserve=lambda what, meta: {"missing": what["keys"][0] + meta["turn"]})
        assert client.start(DEADLINE_S)
        (hello,) = daemon.arrival().hears("hello")
        assert hello["provides"] == ["unobserve"]
        assert client.dream_now() == {"undone": True, "missing": 8}


@pytest.mark.parametrize(
    ("seed_answer", "failures"),
    [(lambda *_: 2, {}), (fails(Code.UNAVAILABLE, "not now"), {"seed": 1})],
)
def test_sends_the_seed_to_a_daemon_that_has_none(
    path: Path, make: Make, seed_answer: Any, failures: dict[str, int]
) -> None:
    answers = {"hello": lambda *them: welcome(*them) | {"seeded": False}, "dream.seed": seed_answer}
    with LittleDaemon(path, answers) as daemon:
        client = make(origin="a field am I", readme=("read me",))  # one text, and several
        assert client.start(DEADLINE_S)
        connection = daemon.arrival()
        connection.hears("hello")
        assert connection.hears("dream.seed") == [{"origin": ["a field am I"], "readme": ["read me"]}]
        assert client.call("status") is True
        until(lambda: client.failures == failures)


def test_counts_a_seed_that_is_too_large_and_stays_connected(path: Path, make: Make) -> None:
    answers = {"hello": lambda *them: welcome(*them) | {"seeded": False}}
    with LittleDaemon(path, answers):
        client = make(origin=["x" * (2 << 20)])
        assert client.start(DEADLINE_S)
        assert client.call("status") is True
        assert client.failures == {"seed": 1}


def test_passes_events_to_the_host(path: Path, make: Make) -> None:
    events: list[Any] = []
    got = threading.Event()
    with LittleDaemon(path) as daemon:
        client = make(on_event=lambda event: (events.append(event), got.set()))
        assert client.start(DEADLINE_S)
        client.call("events.subscribe")
        daemon.arrival().notify("event", {"type": "line", "at": 1.0})
        assert got.wait(DEADLINE_S)
        assert events == [{"type": "line", "at": 1.0}]


def test_raises_the_daemons_error_in_the_call(path: Path, make: Make) -> None:
    with LittleDaemon(path, {"dialogs.get": fails(Code.NOT_FOUND, "no dialogue 7")}):
        client = make()
        assert client.start(DEADLINE_S)
        with pytest.raises(RemoteError, match="no dialogue 7") as caught:
            client.call("dialogs.get", 7)
        assert caught.value.code == Code.NOT_FOUND
        with pytest.raises(UsageError):
            client.call("dialogs.get", object())


def test_a_call_has_a_deadline_and_a_late_answer_harms_nothing(path: Path, make: Make) -> None:
    late = threading.Event()
    with LittleDaemon(path, {"why": lambda *_: late.wait(DEADLINE_S)}):
        client = make()
        assert client.start(DEADLINE_S)
        with pytest.raises(CallTimeout, match=r"no answer to why in 0.01 s"):
            client.call("why", 10, timeout_s=0.01)
        late.set()
        assert client.call("stats") is True


# --- hooks that go wrong -----------------------------------------------------------------------------


def broken(seed: str, temperature: float, weight: float) -> str:
    raise ValueError(seed)


def leaving(seed: str, temperature: float, weight: float) -> str:
    raise SystemExit(seed)


@pytest.mark.parametrize(
    ("generate", "kind"),
    [
        (broken, "ValueError"),
        (leaving, "SystemExit"),
        (lambda seed, temperature: seed, "TypeError"),
        (lambda seed, temperature, weight: None, "TypeError"),
        (lambda seed, temperature, weight: 7, "TypeError"),
        (lambda seed, temperature, weight: "x" * 10_000_000, "TypeError"),
    ],
)
def test_answers_and_counts_a_hook_that_fails(path: Path, make: Make, generate: Any, kind: str) -> None:
    """P10, P14: whatever a hook does, the daemon hears of it, by type and place, and the client goes on."""
    with LittleDaemon(path) as daemon:
        client = make(generate)
        assert client.start(DEADLINE_S)
        error = daemon.arrival().call("generate", "a secret", 0.7, 0.3).error
        assert error is not None
        assert (error.code, error.detail["type"]) == (Code.HOOK_FAILED, kind)
        assert "secret" not in error.message + error.detail["where"]
        assert client.failures == {"generate": 1}
        assert client.call("status") is True


def test_refuses_a_call_from_a_hook(path: Path, make: Make) -> None:
    client: DreamClient

    def generate(seed: str, temperature: float, weight: float) -> str:
        assert client.offer(CONTEXT)  # this a hook may
        return str(client.call("status"))

    with LittleDaemon(path) as daemon:
        client = make(generate)
        assert client.start(DEADLINE_S)
        error = daemon.arrival().call("generate", "a seed", 0.7, 0.3).error
        assert error is not None
        assert error.detail["type"] == "UsageError"


def test_answers_a_call_of_a_hook_that_does_not_exist(path: Path, make: Make) -> None:
    with LittleDaemon(path) as daemon:
        client = make(print)
        assert client.start(DEADLINE_S)
        connection = daemon.arrival()
        for method, code in (("recall", Code.UNKNOWN_METHOD), ("generate", Code.INVALID_PARAMS)):
            error = connection.call(method).error
            assert error is not None
            assert error.code == code
        assert client.failures == {"unknown_hook": 1, "generate": 1}


# --- daemons that do not answer ----------------------------------------------------------------------


def test_drops_contexts_without_a_daemon_and_tells_the_next_one(path: Path, make: Make) -> None:
    """P1, P10: an absent daemon costs nothing but a count, and is found when it comes."""
    client = make()
    assert not client.offer(CONTEXT)
    assert client.trouble == "not started"
    assert not client.start(DEADLINE_S)
    assert client.trouble == f"no daemon at {path}: No such file or directory"
    assert not client.offer(CONTEXT)
    with pytest.raises(NotConnected, match="no daemon at"):
        client.call("why", 10)
    with LittleDaemon(path) as daemon:
        connection = daemon.arrival()
        (hello,) = connection.hears("hello")
        assert hello["failures"]["not_connected"] == 2
        assert hello["failures"]["connect"] >= 1
        until(lambda: client.connected)
        assert client.offer(CONTEXT)
        assert "failures" not in connection.hears("dream.context")[0]
        assert client.failures["not_connected"] == 2


def test_connects_again_when_the_daemon_has_died(path: Path, make: Make) -> None:
    blocked = threading.Event()
    with LittleDaemon(path, {"dream.now": lambda *_: blocked.wait(DEADLINE_S)}) as daemon:
        client = make()
        assert client.start(DEADLINE_S)
        first = daemon.arrival()
        first.hears("hello")
        errors: list[Exception] = []

        def dream() -> None:
            try:
                client.dream_now()
            except NotConnected as error:
                errors.append(error)

        caller = threading.Thread(target=dream)
        caller.start()
        first.hears("dream.now")
        first.close()
        caller.join(DEADLINE_S)
        assert [str(error) for error in errors] == ["the connection ended before the answer"]
        (hello,) = daemon.arrival().hears("hello")
        assert hello["failures"] == {"lost": 1}
        blocked.set()


@pytest.mark.parametrize(
    ("data", "ends", "trouble"),
    [
        (b"", False, "did not answer hello in 0.2 s"),
        (b"\x93\x02\xa5event", False, "did not answer hello in 0.2 s"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False, "broke the protocol"),
        (b"\xdb\x40\x00\x00\x00", False, "did not answer hello in 0.2 s"),
        (b"", True, "closed the connection|reset|has ended"),
        (b"\x94\x01\x00\xc0\x82\xa8prot", True, "closed the connection|reset|has ended"),
        (packed([1, 0, [Code.REFUSED, "the daemon is full"], None]), False, "the daemon is full"),
        (packed([1, 0, None, "hi"]), False, "no dreamd"),
        (packed([2, "error", [Code.REFUSED, "not your socket"]]), True, "not your socket|has ended"),
    ],
    ids=["silent", "half", "garbage", "giant", "closing", "half and closing", "full", "stranger", "refusing"],
)
def test_tries_again_without_cost_to_replies_if_the_peer_is_no_daemon(
    path: Path, make: Make, data: bytes, ends: bool, trouble: str
) -> None:
    """P1: the peer is silent, sends garbage or half a message, or closes. The reply path only counts."""
    with not_a_daemon(path, says(data, reads=False, ends=ends)) as accepted:
        client = make(timing=HASTY if "0.2 s" in trouble else QUICK)
        assert not client.start(DEADLINE_S)
        assert not client.offer(CONTEXT)
        for _ in range(2):
            assert accepted.acquire(timeout=DEADLINE_S)
        assert any(part in client.trouble for part in trouble.split("|")), client.trouble
        assert client.failures["connect"] >= 1
        assert client.failures["not_connected"] == 1
        client.close()


@pytest.mark.parametrize(
    "hello",
    [
        lambda *_: {"protocol": 99, "name": "dreamd"},
        fails(Code.WRONG_PROTOCOL, "dreamd speaks protocol 99"),
    ],
)
def test_a_daemon_of_a_later_protocol_can_be_seen_and_stopped_only(
    path: Path, make: Make, hello: Any
) -> None:
    """P1: the mismatch must not block the restart that cures it."""
    with LittleDaemon(path, {"hello": hello}) as daemon:
        client = make()
        assert not client.start(DEADLINE_S)
        assert "protocol" in client.trouble
        assert "restart the daemon" in client.trouble
        assert not client.offer(CONTEXT)
        assert client.call("status") is True
        assert client.call("shutdown") is True
        with pytest.raises(NotConnected, match="protocol"):
            client.call("why", 10)
        assert client.failures == {"not_connected": 1}
        daemon.answers["hello"] = welcome
        daemon.arrival().close()  # it stops, and the one that is started instead
        until(lambda: client.connected)


def test_does_not_wait_for_a_full_backlog(path: Path, make: Make) -> None:
    """P1: a stopped daemon whose backlog is full would hold a blocking connect without end."""
    with full_backlog(path):
        client = make()
        assert not client.start(DEADLINE_S)
        assert "accepts no connections now" in client.trouble
        assert not client.offer(CONTEXT)


# A daemon that is a process, so that it can be stopped, or stops itself after hello ("stop").
COUNTING = """
import os, signal, socket, sys
from dreamclient.protocol.rpc import Peer
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listening", flush=True)
sock, _ = listener.accept()
peer, contexts = Peer(), 0
while data := sock.recv(1 << 16):
    for event in peer.receive_data(data):
        if event.method == "dream.context":
            contexts += 1
        elif event.method == "hello":
            sock.sendall(peer.respond(event.msgid, {"protocol": 1, "seeded": True}))
            if sys.argv[2:] == ["stop"]:
                os.kill(os.getpid(), signal.SIGSTOP)
        else:
            sock.sendall(peer.respond(event.msgid, {"contexts": contexts, "broken": str(peer.broken)}))
"""


@contextmanager
def counting(path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", COUNTING, str(path), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        assert daemon.stdout.readline() == "listening\n"
        yield daemon
        daemon.kill()


def stop(process: subprocess.Popen[str]) -> None:
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)


def test_drops_contexts_and_keeps_the_stream_whole_if_the_daemon_is_stopped(path: Path, make: Make) -> None:
    """P1: after SIGSTOP offers return at once: the first are taken, the others dropped. After SIGCONT all goes on."""
    with counting(path) as daemon:
        client = make()
        assert client.start(DEADLINE_S)
        stop(daemon)
        taken = 0
        while client.offer({"prompt": "x" * 1500}):
            taken += 1
        assert taken > 10
        assert not client.offer(CONTEXT)
        with pytest.raises(CallTimeout):
            client.call("stats", timeout_s=0.01)
        os.kill(daemon.pid, signal.SIGCONT)
        until(lambda: client.offer(CONTEXT))
        assert client.call("stats") == {"contexts": taken + 1, "broken": "None"}
        assert client.failures["stalled"] >= 2


# --- fork --------------------------------------------------------------------------------------------


def in_child(act: Callable[[], Any]) -> Any:
    """Return what `act` returns in a forked child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(writing, json.dumps(act()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    assert os.waitpid(pid, 0) == (pid, 0)
    return json.loads(said)


def test_a_forked_child_says_nothing_on_its_parents_connection(path: Path, make: Make) -> None:
    """P1: if both offer, the parent's stream stays whole. What the child offers before it is connected itself is
    dropped and counted."""
    with LittleDaemon(path) as daemon:
        client = make()
        assert client.start(DEADLINE_S)
        connection = daemon.arrival()
        connection.hears("hello")

        def act() -> Any:
            offered = client.offer(CONTEXT)
            client.close()
            try:
                client.call("status")
            except NotConnected as error:
                return [offered, client.failures, client.connected, str(error)]

        assert in_child(act) == [False, {"forked": 1}, False, "closed"]
        assert client.offer(CONTEXT)
        connection.hears("dream.context")
        assert client.call("status") is True
        assert client.failures == {}


@pytest.mark.parametrize("starts", [False, True])
def test_a_forked_child_connects_with_its_first_context_or_when_it_is_started(
    path: Path, make: Make, starts: bool
) -> None:
    """The workers of a web server are forked so, when it has loaded its modules."""
    with LittleDaemon(path) as daemon:
        client = make()
        assert client.start(DEADLINE_S)
        daemon.arrival().hears("hello")

        def act() -> Any:
            first = starts or client.offer(CONTEXT)
            started = client.start(DEADLINE_S)
            return [first, started, client.offer(CONTEXT), client.call("status"), client.trouble]

        assert in_child(act) == [starts, True, True, True, ""]
        child_side = daemon.arrival()
        (hello,) = child_side.hears("hello")
        assert hello["pid"] != os.getpid()
        assert hello["failures"] == ({} if starts else {"forked": 1})
        child_side.hears("dream.context")


def test_a_client_that_was_never_started_is_not_troubled_by_a_fork(make: Make) -> None:
    client = make()
    assert in_child(lambda: [client.offer(CONTEXT), client.failures, client.trouble]) == [
        False,
        {"not_connected": 1},
        "not started",
    ]


def test_a_fork_renews_every_lock_of_the_child(path: Path, make: Make) -> None:
    """P1: threads that the child does not have may hold the locks. This runs the child's handler in this process."""
    with LittleDaemon(path) as daemon:
        client = make()
        assert client.start(DEADLINE_S)
        connection, thread, link = daemon.arrival(), client._run.thread, client._run.link
        for lock in (client._starting, client._run.tried._cond, link._lock):
            lock.acquire()
        held = threading.Thread(target=client._session.failures._lock.acquire)
        held.start()
        held.join()
        client._in_child()
        number = os.open(
            os.devnull, os.O_RDONLY
        )  # of the file that the thread waits on, which a child has not
        assert link._sock.fileno() == -1
        assert not client.connected
        assert "forked" in client.trouble
        client._in_child()  # a child of the child
        assert not client.offer(CONTEXT)
        assert client.failures == {"forked": 1}
        connection.close()
        thread.join(DEADLINE_S)  # if a hook forked, this is the child's only thread: it serves no more
        assert not thread.is_alive()
        os.close(number)


# --- the end -----------------------------------------------------------------------------------------

HOST = """
import sys
from dreamclient import DreamClient
client = DreamClient(socket_path=sys.argv[1])
connected = client.start(10)
while client.offer({"prompt": "x" * 1000}):
    pass
sys.exit(0 if connected else 3)
"""


def test_a_host_ends_though_its_daemon_is_stopped_and_prints_nothing(path: Path) -> None:
    """P1, P14: the exit of the interpreter does not wait for the daemon, and stdout and stderr stay empty."""
    with counting(path, "stop"):
        command = [sys.executable, "-c", HOST, str(path)]
        host = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=False)
    assert (host.returncode, host.stdout, host.stderr) == (0, b"", b"")


LONG_HOOK = """
import sys, threading
from dreamclient import DreamClient
entered = threading.Event()
def generate(seed, temperature, weight):
    entered.set()
    threading.Event().wait(30)
client = DreamClient(generate, socket_path=sys.argv[1])
client.start(30)
print("ready", flush=True)
assert entered.wait(30)
"""


def test_a_host_ends_though_a_hook_runs(path: Path) -> None:
    """P1: the thread is a daemon thread, and the exit waits half a second for it, not the hook's thirty."""
    with LittleDaemon(path) as daemon:
        command = [sys.executable, "-c", LONG_HOOK, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as host:
            assert host.stdout is not None
            assert host.stdout.readline() == b"ready\n"
            connection = daemon.arrival()
            with connection.lock:
                connection.sock.sendall(connection.peer.call("generate", ["a seed", 0.7, 0.3], "token")[1])
            said, _ = host.communicate(timeout=DEADLINE_S)
    assert (host.returncode, said) == (0, b"")


MANY = """
import sys, threading
from dreamclient import DreamClient
from dreamclient.clients import process
process.EXIT_WAITS_S = float(sys.argv[2])
entered = threading.Semaphore(0)
def generate(seed, temperature, weight):
    entered.release()
    threading.Event().wait(60)
clients = [DreamClient(generate, socket_path=sys.argv[1], name=f"leo {n}") for n in range(8)]
for client in clients:
    assert client.start(30)
print("ready", flush=True)
for client in clients:
    assert entered.acquire(timeout=30)
"""


def test_the_exit_waits_once_for_all_clients_together(path: Path) -> None:
    """P1: the exit waits for all clients at once, and not for one after another."""
    waits_s = 1.5
    with LittleDaemon(path) as daemon:
        command = [sys.executable, "-c", MANY, str(path), str(waits_s)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as host:
            assert host.stdout is not None
            assert host.stdout.readline() == b"ready\n"
            connections = [daemon.arrival() for _ in range(8)]
            for connection in connections:
                with connection.lock:
                    data = connection.peer.call("generate", ["a seed", 0.7, 0.3], "token")[1]
                    connection.sock.sendall(data)
            for connection in connections:
                assert connection.ended.wait(DEADLINE_S)
            began = time.monotonic()  # all have been ended by now, and none has been waited for
            said, _ = host.communicate(timeout=DEADLINE_S)
            took_s = time.monotonic() - began
    assert (host.returncode, said) == (0, b"")
    assert took_s < 8 * waits_s


def test_close_ends_thread_and_connection_at_once(path: Path, make: Make) -> None:
    with LittleDaemon(path) as daemon:
        with DreamClient(socket_path=path, timing=QUICK) as client:
            assert client.start(DEADLINE_S)
            connection = daemon.arrival()
            thread = client._run.thread
        assert connection.ended.wait(DEADLINE_S)
        assert not thread.is_alive()
        assert (client.connected, client.trouble, client.failures) == (False, "closed", {})
        client.close()
        assert not client.offer(CONTEXT)
        with pytest.raises(NotConnected, match="closed"):
            client.call("status")


def test_a_closed_client_may_be_started_again(path: Path, make: Make) -> None:
    with LittleDaemon(path):
        client = make()
        for _ in range(2):
            with client:
                assert client.start(DEADLINE_S)
                assert client.offer(CONTEXT)
        assert client.failures == {}


def test_a_hook_of_an_earlier_start_answers_only_its_own_connection(path: Path, make: Make) -> None:
    """A hook that is at work when its client is closed and started again answers on no connection but its own."""
    entered, ended = threading.Event(), threading.Event()

    def generate(*_: Any) -> str:
        entered.set()
        ended.wait(DEADLINE_S)
        return "too late"

    with LittleDaemon(path) as daemon:
        client = make(generate, timing=replace(QUICK, close_s=0.0))
        assert client.start(DEADLINE_S)
        first, thread = daemon.arrival(), client._run.thread
        with first.lock:
            first.sock.sendall(first.peer.call("generate", ["a seed", 0.7, 0.3], None)[1])
        assert entered.wait(DEADLINE_S)
        client.close()
        assert client.start(DEADLINE_S)
        ended.set()
        thread.join(DEADLINE_S)
        assert client.call("status") is True
        assert client.failures == {}


def test_a_closed_client_is_collected(path: Path) -> None:
    client = DreamClient(socket_path=path)
    client.close()
    client.start()
    client.close()
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


class Yields:
    """A lock that lets another thread do `work` before it is taken."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work, self._lock, self.release = work, threading.Lock(), self.free

    def acquire(self, blocking: bool = True) -> bool:
        self._work, work = (lambda: None), self._work
        work()
        return self._lock.acquire(blocking)

    def free(self) -> None:
        self._lock.release()


def test_two_threads_that_start_a_client_at_one_time_make_one_connection(path: Path, make: Make) -> None:
    with LittleDaemon(path) as daemon:
        client = make()
        client._starting = Yields(client.start)  # the other thread is quicker
        assert client.start(DEADLINE_S)
        run = client._run
        client.close()
        assert daemon.arrival().ended.wait(DEADLINE_S)
        assert daemon._arrived.empty()
        assert run not in process._process.running


def test_a_client_may_be_stopped_while_it_starts(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    client = make()
    begin = Run.begin
    runs = []

    def stopped(run: Run) -> None:
        client.stop()
        begin(run)
        runs.append(run)

    monkeypatch.setattr(Run, "begin", stopped)
    assert not client.start(DEADLINE_S)
    assert not client.offer(CONTEXT)
    runs[0].thread.join(DEADLINE_S)
    assert (runs[0].thread.is_alive(), runs[0] in process._process.running) == (False, False)


def test_a_connection_may_end_while_it_is_stopped(make: Make) -> None:
    class Ending(Run):
        """Its connection is gone when it is looked at a second time."""

        looks = 0

        @property
        def link(self) -> Any:
            self.looks += 1
            return mock.Mock() if self.looks == 1 else None

        @link.setter
        def link(self, _: Any) -> None:
            pass

    client = make()
    client._run = Ending(client._session, lambda: None, QUICK, lambda *_: None)
    client.stop()
    assert client.trouble == "closed"


def test_takes_a_wait_without_end(path: Path, make: Make) -> None:
    with LittleDaemon(path):
        client = make()
        assert client.start(math.inf)
        assert client.call("status", timeout_s=math.inf) is True
        answered = threading.Event()
        client.ask("status", [], lambda _: answered.set(), math.inf)
        assert answered.wait(DEADLINE_S)


def test_stop_takes_no_lock_and_waits_for_nothing(path: Path, make: Make) -> None:
    """The garbage collector may call it, on the client's own thread as well, and a signal handler in the middle of
    anything: so it is called here while every lock there is is held."""
    with LittleDaemon(path) as daemon:
        client = make()
        assert client.start(DEADLINE_S)
        connection, thread = daemon.arrival(), client._run.thread
        held = [client._starting, client._run.tried._cond, client._session.failures._lock]
        ready, stopped = threading.Event(), threading.Event()

        def hold() -> None:
            with held[0], held[1], held[2]:
                ready.set()
                stopped.wait(DEADLINE_S)

        holder = threading.Thread(target=hold)
        holder.start()
        assert ready.wait(DEADLINE_S)
        client.stop()
        client.stop()
        assert connection.ended.wait(DEADLINE_S)
        stopped.set()
        holder.join()
        thread.join(DEADLINE_S)
        assert (thread.is_alive(), client.trouble) == (False, "closed")


def test_a_client_thread_that_collects_its_own_client_ends() -> None:
    """All objects of a client that tries again and again are made on its own thread, so that the collector runs there:
    it may find a field whose end is that of the client."""

    class Field:
        def __init__(self) -> None:
            self.me = self

    threads = []
    gc.collect()
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(20):
            field = Field()
            client = DreamClient(
                connect=partial(connected, "/nonexistent/s"),
                timing=Timing(first_retry_s=0.001, last_retry_s=0.002),
            )
            weakref.finalize(field, client.stop).atexit = False
            client.start()
            threads.append(client._run.thread)
            del field, client
        for thread in threads:
            thread.join(DEADLINE_S)
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert not any(thread.is_alive() for thread in threads)


def test_close_wakes_the_thread_that_waits_to_try_again(path: Path, make: Make) -> None:
    client = make(timing=Timing(first_retry_s=600))
    assert not client.start(DEADLINE_S)
    thread = client._run.thread
    client.close()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_close_while_connecting_ends_it(path: Path) -> None:
    client: DreamClient

    def connect() -> socket.socket:
        client.stop()
        return ours

    ours, theirs = socket.socketpair()
    client = DreamClient(connect=connect)
    assert not client.start(DEADLINE_S)
    assert theirs.recv(100) == b""
    theirs.close()


def test_a_hook_may_close_its_client(path: Path) -> None:
    client: DreamClient

    def generate(*_: Any) -> str:
        client.close()
        return "the last line"

    with LittleDaemon(path) as daemon:
        client = DreamClient(generate, socket_path=path, timing=QUICK)
        assert client.start(DEADLINE_S)
        connection, thread = daemon.arrival(), client._run.thread
        with connection.lock:
            connection.sock.sendall(connection.peer.call("generate", ["a seed", 0.7, 0.3], None)[1])
        assert connection.ended.wait(DEADLINE_S)
        thread.join(DEADLINE_S)
        assert client.trouble == "closed"


# --- what a host may hand in -------------------------------------------------------------------------


def test_seeded_replies_do_not_change_while_the_client_tries_to_connect(path: Path, make: Make) -> None:
    """P1: leo's seeded replies are equal with and without a client that looks for its daemon."""
    random.seed(7)
    state = random.getstate()
    client = make()
    assert not client.start(DEADLINE_S)
    client.offer(CONTEXT)
    assert random.getstate() == state


def test_a_bug_ends_an_attempt_and_not_the_thread(make: Make) -> None:
    troubles = iter([ZeroDivisionError("a bug"), SystemExit("a bug"), NotConnected("no daemon")])
    done = threading.Event()

    def connect() -> socket.socket:
        error = next(troubles, None)
        if error is None:
            done.set()
            raise NotConnected("no daemon")
        raise error

    client = make(connect=connect)
    assert not client.start(DEADLINE_S)
    assert done.wait(DEADLINE_S)
    assert client.failures["internal"] == 2


def test_start_does_not_raise_if_no_thread_can_start(
    path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: leo cannot help it, so not even start() raises."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    client = make()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert not client.start(DEADLINE_S)
    assert client.trouble == "can't start new thread"
    assert not client.offer(CONTEXT)
    with LittleDaemon(path):
        client._retry_at = 0.0  # when its time has come, a context starts it
        assert not client.offer(CONTEXT)
        assert client.start(DEADLINE_S)


def test_starting_twice_starts_one_thread(path: Path, make: Make) -> None:
    with LittleDaemon(path) as daemon:
        client = make()
        assert client.start(DEADLINE_S)
        run = client._run
        assert client.start(DEADLINE_S)
        assert client._run is run
        daemon.arrival()


def test_hooks_may_be_set_once_and_before_the_start(path: Path, make: Make) -> None:
    client = make()
    client.serve(observe=print)
    with pytest.raises(UsageError):
        client.serve(observe=print)
    with LittleDaemon(path) as daemon:
        assert client.start(DEADLINE_S)
        assert daemon.arrival().hears("hello")[0]["provides"] == ["observe"]
    late = make()
    late.start()
    with pytest.raises(UsageError, match="before the client starts"):
        late.serve(observe=print)


def test_counts_failures_that_the_host_has_caught(path: Path, make: Make) -> None:
    """P10: failures outside of the client are counted too."""
    client = make()
    client.count("listen")
    with LittleDaemon(path) as daemon:
        assert client.start(DEADLINE_S)
        assert daemon.arrival().hears("hello")[0]["failures"] == {"listen": 1}


def run_of(client: DreamClient) -> Run:
    return Run(client._session, client._connect, client._timing, client._serve_hook)


def test_waits_between_attempts_double_and_a_quarter_is_left_to_chance(make: Make) -> None:
    run, gone = run_of(make(timing=Timing())), NotConnected("gone")
    run._draw = lambda: 0.0
    assert [run.failed(gone) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    run._draw = random.Random(5).random
    waits = [run.failed(gone) for _ in range(200)]
    assert 45 <= min(waits) < max(waits) <= 60


def test_waits_longer_each_time_if_the_daemon_ends_each_connection(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that our messages kill would otherwise be tried once a second without end. A connection that lasted
    begins at the first wait again."""
    now = [0.0]
    client, gone = make(timing=Timing()), NotConnected("gone")
    run = run_of(client)
    run._draw = lambda: 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    waits = []
    for lasted_s in (0.5, 0.5, 0.5, 9.0, 0.5):
        run._ready_at = now[0]
        now[0] += lasted_s
        waits.append(run.failed(gone))
    assert waits == [1, 2, 4, 1, 2]
    assert client.failures == {"lost": 5}


def test_a_fork_does_not_call_a_client_that_was_dropped(make: Make) -> None:
    client = DreamClient(connect=lambda: socket.socket())
    del client
    assert in_child(lambda: "alive") == "alive"


def test_a_stop_takes_no_lock(path: Path, make: Make) -> None:
    """The garbage collector may run it on the thread that holds one: it would wait for itself."""
    client = make()
    client.start()
    with client._starting, client._session.failures._lock:
        stopping = threading.Thread(target=client.stop, daemon=True)
        stopping.start()
        stopping.join(DEADLINE_S)
        assert not stopping.is_alive()
    assert client.trouble == "closed"


def test_waits_for_a_dream_as_long_as_the_daemon_lets_it_last() -> None:
    waits_s = inspect.signature(DreamClient.dream_now).parameters["timeout_s"].default
    assert DialogueSettings().deadline_s < waits_s == DIALOGUE_S
