"""AsyncDreamClient against real sockets: the promises of the blocking client, on one loop."""

import asyncio
import math
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dreamclient.clients.loop import AsyncDreamClient
from dreamclient.clients.run import Timing
from dreamclient.errors import CallTimeout, NotConnected, RemoteError, UsageError
from dreamclient.messages import MESSAGE_BYTES, Code, DreamContext
from dreamclient.protocol.packing import packed

from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.daemons.little_on_loop import WELCOME, AioDaemon, Answer, Served
from tests.helpers.daemons.not_one import not_a_daemon, says
from tests.helpers.waiting import until_on_loop

DEADLINE_S = 30.0
QUICK = Timing(hello_s=DEADLINE_S, first_retry_s=0.01, last_retry_s=0.02)
HASTY = replace(QUICK, hello_s=0.2)  # for a daemon that does not answer
CONTEXT = DreamContext("who are you", "a field")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dreamd.sock"


Serve = Callable[..., Any]


@pytest.fixture
async def daemon(path: Path) -> AsyncIterator[Serve]:
    """Starts a daemon at `path`, stopped in the end."""
    started = []

    async def start(**answers: Answer) -> AioDaemon:
        one = AioDaemon({method.replace("_", "."): answer for method, answer in answers.items()})
        server = await asyncio.start_unix_server(one.serve, path)
        started.append((one, server))
        return one

    yield start
    for one, server in started:
        server.close()
        for writer in one.writers:
            writer.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
async def make(path: Path) -> AsyncIterator[Callable[..., AsyncDreamClient]]:
    clients = []

    def client(*hooks: Any, **keywords: Any) -> AsyncDreamClient:
        clients.append(AsyncDreamClient(*hooks, **{"socket_path": path, "timing": QUICK} | keywords))
        return clients[-1]

    yield client
    for one in clients:
        await one.close()


Make = Callable[..., AsyncDreamClient]


# --- a daemon that answers ---------------------------------------------------------------------------


async def test_a_host_says_hello_offers_and_serves_hooks_of_both_kinds(daemon: Serve, make: Make) -> None:
    observed: list[Any] = []

    async def dream(served: Served, params: list[Any]) -> Any:
        line = await served.call("generate", "a seed", 0.7, 0.3, {"turn": 1})
        await served.call("observe", line.result, {"turn": 1})
        recalled = await served.call("recall", "a query", 1)
        return {"said": line.result, "recalled": recalled.result, "params": params}

    async def generate(seed: str, temperature: float, weight: float, meta: dict[str, Any]) -> str:
        await asyncio.sleep(0)
        return f"{seed} {meta['turn']}"

    serving = await daemon(dream_now=dream)
    client = make(generate, observed.append, lambda query, n: [query])
    assert await client.start(DEADLINE_S)
    assert (client.connected, client.trouble, client.daemon) == (True, "", WELCOME)
    served = await serving.arrival()
    (hello,) = await served.hears("hello")
    assert hello["provides"] == ["generate", "observe", "recall"]
    assert client.offer(CONTEXT)
    assert (await served.hears("dream.context"))[0]["prompt"] == "who are you"
    assert await client.dream_now(CONTEXT) == {
        "said": "a seed 1",
        "recalled": ["a query"],
        "params": [{"prompt": "who are you", "reply": "a field", "expert": "", "themes": []}, None],
    }
    assert observed == ["a seed 1"]
    assert client.failures == {}


async def test_a_host_may_take_lines_back(daemon: Serve, make: Make) -> None:
    async def taken_back(served: Served, _: list[Any]) -> Any:
        return (await served.call("unobserve", None, {"turn": 0})).result

    async def unobserve(what: Any, meta: dict[str, Any]) -> dict[str, Any]:
        return {"undone": what is None and meta["turn"] == 0}

    serving = await daemon(dream_now=taken_back)
    client = make(unobserve=unobserve)
    assert await client.start(DEADLINE_S)
    assert (await (await serving.arrival()).hears("hello"))[0]["provides"] == ["unobserve"]
    assert await client.dream_now() == {"undone": True, "missing": 0}


async def test_a_hook_may_call_the_daemon_while_it_is_called(daemon: Serve, make: Make) -> None:
    client: AsyncDreamClient

    async def generate(seed: str, temperature: float, weight: float) -> str:
        return f"{await client.call('why', 1)} {seed}"

    async def why(served: Served, params: list[Any]) -> Any:
        return (await served.call("recall", "deeper", 1)).result

    serving = await daemon(why=why)
    client = make(generate, None, lambda query, n: [query])
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    async with asyncio.timeout(DEADLINE_S):
        assert (await served.call("generate", "a seed", 0.7, 0.3)).result == "['deeper'] a seed"


def failing(*_: Any) -> Any:
    raise ValueError("a secret")


async def failing_later(*_: Any) -> Any:
    raise ValueError("a secret")


async def wrong_later(*_: Any) -> Any:
    return 7


@pytest.mark.parametrize(
    ("generate", "kind"),
    [
        (failing, "ValueError"),
        (failing_later, "ValueError"),
        (wrong_later, "TypeError"),
        (lambda *_: 7, "TypeError"),
        (lambda: "x", "TypeError"),
    ],
)
async def test_answers_and_counts_a_hook_that_fails(
    daemon: Serve, make: Make, generate: Any, kind: str
) -> None:
    """P10, P14: by type and place, without the text of the error."""
    serving = await daemon()
    client = make(generate)
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    error = (await served.call("generate", "a seed", 0.7, 0.3)).error
    assert error is not None
    assert (error.code, error.detail["type"]) == (Code.HOOK_FAILED, kind)
    assert "secret" not in error.message
    assert client.failures == {"generate": 1}


async def test_answers_a_hook_that_is_cancelled(daemon: Serve, make: Make) -> None:
    async def generate(*_: Any) -> str:
        raise asyncio.CancelledError

    serving = await daemon()
    client = make(generate)
    assert await client.start(DEADLINE_S)
    error = (await (await serving.arrival()).call("generate", "a seed", 0.7, 0.3)).error
    assert error is not None
    assert error.detail["type"] == "CancelledError"


@pytest.mark.parametrize("refuses", [False, True])
async def test_sends_the_seed_to_a_daemon_that_has_none(daemon: Serve, make: Make, refuses: bool) -> None:
    async def seed(served: Served, params: list[Any]) -> int:
        if refuses:
            raise RemoteError(Code.UNAVAILABLE, "not now")
        return len(params[0]["origin"])

    serving = await daemon(hello=lambda *_: WELCOME | {"seeded": False}, dream_seed=seed)
    client = make(origin=["a field am I"])
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    await served.hears("hello")
    assert await served.hears("dream.seed") == [{"origin": ["a field am I"], "readme": []}]
    await client.call("status")
    assert client.failures == ({"seed": 1} if refuses else {})


async def test_counts_a_seed_that_is_too_large_and_stays_connected(daemon: Serve, make: Make) -> None:
    await daemon(hello=lambda *_: WELCOME | {"seeded": False})
    client = make(origin=["x" * MESSAGE_BYTES])
    assert await client.start(DEADLINE_S)
    assert await client.call("status") is True
    assert client.failures == {"seed": 1}


@pytest.mark.parametrize("is_async", [False, True])
async def test_passes_events_to_the_host(daemon: Serve, make: Make, is_async: bool) -> None:
    events: asyncio.Queue[Any] = asyncio.Queue()
    serving = await daemon()
    client = make(on_event=events.put if is_async else events.put_nowait)
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    served.writer.write(served.peer.notify("event", [{"type": "line"}]))
    async with asyncio.timeout(DEADLINE_S):
        assert await events.get() == {"type": "line"}


async def test_calls_end_with_an_answer_an_error_a_deadline_or_the_connection(
    daemon: Serve, make: Make
) -> None:
    late = asyncio.Event()

    async def why(served: Served, params: list[Any]) -> bool:
        return await late.wait()

    async def get(served: Served, params: list[Any]) -> None:
        raise RemoteError(Code.NOT_FOUND, "no dialogue 7")

    serving = await daemon(why=why, dialogs_get=get)
    client = make()
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    with pytest.raises(RemoteError, match="no dialogue 7"):
        await client.call("dialogs.get", 7)
    with pytest.raises(CallTimeout, match=r"no answer to why in 0.01 s"):
        await client.call("why", timeout_s=0.01)
    with pytest.raises(UsageError):
        await client.call("why", object())
    lost = asyncio.create_task(client.call("why"))
    for method in ("hello", "dialogs.get", "why", "why"):
        await served.hears(method)
    served.writer.transport.abort()
    with pytest.raises(NotConnected, match="before the answer"):
        await lost


@pytest.mark.parametrize("meets", ["answer", "end"])
async def test_cancelling_the_caller_of_a_call_harms_no_other_call(
    daemon: Serve, make: Make, meets: str
) -> None:
    """The caller is cancelled in one turn of the loop with the answer, or with the end of the connection."""
    await daemon(why=lambda *_: asyncio.Event().wait())
    client = make()
    assert await client.start(DEADLINE_S)
    link = client._run.link
    assert link is not None
    calling = asyncio.create_task(client.call("why"))
    await until_on_loop(lambda: bool(link._session.pending))
    (msgid,) = link._session.pending
    calling.cancel()
    if meets == "answer":
        link._session.receive(packed([1, msgid, None, True]))
    else:
        link.end()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert link._session.pending == {}


# --- daemons that do not answer ----------------------------------------------------------------------


async def test_drops_contexts_without_a_daemon_and_tells_the_next_one(
    daemon: Serve, make: Make, path: Path
) -> None:
    """P1, P10."""
    client = make()
    assert not client.offer(CONTEXT)
    assert not await client.start(DEADLINE_S)
    assert client.trouble == f"no daemon at {path}: No such file or directory"
    with pytest.raises(NotConnected, match="no daemon at"):
        await client.call("why")
    serving = await daemon()
    (hello,) = await (await serving.arrival()).hears("hello")
    assert hello["failures"]["not_connected"] == 1
    await until_on_loop(lambda: client.connected)
    assert client.offer(CONTEXT)


async def test_connects_again_when_the_daemon_has_died(daemon: Serve, make: Make) -> None:
    serving = await daemon()
    client = make()
    assert await client.start(DEADLINE_S)
    (await serving.arrival()).writer.transport.abort()
    (hello,) = await (await serving.arrival()).hears("hello")
    assert hello["failures"] == {"lost": 1}


@pytest.mark.parametrize(
    ("data", "ends", "trouble"),
    [
        (b"", False, "did not answer hello in 0.2 s"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", False, "broke the protocol"),
        (b"\x94\x01\x00\xc0\x82\xa8prot", True, "the daemon closed the connection"),
        (packed([1, 0, [Code.REFUSED, "the daemon is full"], None]), False, "the daemon is full"),
        (packed([2, "error", [Code.REFUSED, "not your socket"]]), True, "not your socket"),
    ],
    ids=["silent", "garbage", "half and closing", "full", "refusing"],
)
async def test_tries_again_if_the_peer_is_no_daemon(
    path: Path, make: Make, data: bytes, ends: bool, trouble: str
) -> None:
    """P1: the peer is silent, sends garbage or half a message, or closes."""
    with not_a_daemon(path, says(data, ends=ends)) as accepted:
        client = make(timing=HASTY if "0.2 s" in trouble else QUICK)
        assert not await client.start(DEADLINE_S)
        assert trouble in client.trouble
        assert not client.offer(CONTEXT)
        for _ in range(2):
            assert await asyncio.to_thread(accepted.acquire, timeout=DEADLINE_S)
        assert client.failures["connect"] >= 1
        await client.close()


async def test_a_daemon_of_a_later_protocol_can_be_seen_and_stopped(daemon: Serve, make: Make) -> None:
    serving = await daemon(hello=lambda *_: {"protocol": 99})
    client = make()
    assert not await client.start(DEADLINE_S)
    assert "protocol 99" in client.trouble
    assert await client.call("shutdown") is True
    with pytest.raises(NotConnected, match="protocol 99"):
        await client.call("why")
    serving.answers["hello"] = lambda *_: WELCOME
    (await serving.arrival()).writer.transport.abort()
    await until_on_loop(lambda: client.connected)


async def test_drops_contexts_and_bounds_memory_if_the_daemon_does_not_read(
    daemon: Serve, make: Make
) -> None:
    """P1: the waiting bytes are bounded, dropped contexts are counted, and the stream stays whole."""
    serving = await daemon()
    client = make()
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    await served.hears("hello")
    served.reads.clear()
    taken = 0
    while client.offer({"prompt": "x" * 1500}):
        taken += 1
        await asyncio.sleep(0)
    assert taken > 10
    assert not client.offer(CONTEXT)
    assert client.failures == {"stalled": 2}
    served.reads.set()
    for _ in range(taken):
        await served.hears("dream.context")
    await until_on_loop(lambda: client.offer(CONTEXT))
    assert (await served.hears("dream.context"))[0]["failures"]["stalled"] >= 2


async def test_counts_a_context_that_no_message_can_hold(daemon: Serve, make: Make) -> None:
    await daemon()
    client = make()
    assert await client.start(DEADLINE_S)
    for ctx in ({"prompt": ["x"]}, object()):
        assert not client.offer(ctx)
    assert client.failures == {"unsendable": 2}


async def test_bytes_that_break_the_protocol_later_end_that_connection_alone(
    daemon: Serve, make: Make
) -> None:
    serving = await daemon()
    client = make()
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    await served.hears("hello")
    served.writer.write(b"\xc1")
    assert (await served.hears("error"))[0] == Code.MALFORMED
    await (await serving.arrival()).hears("hello")
    assert client.failures == {"lost": 1}


# --- the end, and forks ------------------------------------------------------------------------------


async def test_close_ends_the_connection_and_the_hooks_that_run(daemon: Serve, make: Make) -> None:
    running = asyncio.Event()
    ended: list[str] = []

    async def generate(*_: Any) -> str:
        running.set()
        try:
            return str(await asyncio.Event().wait())
        finally:
            ended.append("ended")

    serving = await daemon()
    async with make(generate) as client:
        assert await client.start(DEADLINE_S)
        served = await serving.arrival()
        served.call("generate", "a seed", 0.7, 0.3)
        await running.wait()
        link, (hook,) = client._run.link, client._tasks
        assert link is not None
    assert hook.cancelled()
    assert ended == ["ended"]
    assert (client.connected, client.trouble) == (False, "closed")
    assert not client.offer(CONTEXT)
    assert not link.offer(CONTEXT)
    with pytest.raises(NotConnected, match="has ended"):
        link.call("why", [], print, 1.0)
    await client.close()
    assert await client.start(DEADLINE_S)
    assert client.offer(CONTEXT)


def test_closes_on_another_loop_than_that_of_a_hook_that_runs(path: Path) -> None:
    """As the fixtures of a test may have loops of their own."""
    running = asyncio.Event()

    async def generate(*_: Any) -> None:
        running.set()
        await asyncio.Event().wait()

    client = AsyncDreamClient(generate, socket_path=path, timing=QUICK)

    async def begin() -> None:
        assert await client.start(DEADLINE_S)
        connection = daemon.arrival()
        connection.sock.sendall(connection.peer.call("generate", ["a seed", 0.5, 0.5], queue.Queue())[1])
        await running.wait()

    with LittleDaemon(path) as daemon:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        asyncio.run(client.close())
        assert client.trouble == "closed"
        for task in asyncio.all_tasks(loop):
            assert not task.cancelling()  # it may be closed: then it raises
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


async def test_a_client_that_was_not_started_closes_too(make: Make) -> None:
    client = make()
    await client.close()
    assert client.trouble == "not started"


async def test_a_hook_may_close_its_client(daemon: Serve, make: Make) -> None:
    client: AsyncDreamClient

    async def generate(*_: Any) -> str:
        await client.close()
        return "the last line"

    serving = await daemon()
    client = make(generate)
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    served.call("generate", "a seed", 0.7, 0.3)
    await until_on_loop(lambda: client.trouble == "closed")


async def test_a_bug_ends_an_attempt_and_not_the_client(make: Make) -> None:
    times, loop = asyncio.Semaphore(0), asyncio.get_running_loop()

    def connect() -> socket.socket:
        loop.call_soon_threadsafe(times.release)
        raise ZeroDivisionError

    client = make(connect=connect)
    assert not await client.start(DEADLINE_S)
    async with asyncio.timeout(DEADLINE_S):
        await times.acquire()
        await times.acquire()
    assert client.failures["internal"] >= 1
    assert client.trouble == "a bug in dreamclient: ZeroDivisionError"


async def test_counts_an_async_event_handler_that_fails(daemon: Serve, make: Make) -> None:
    async def broken(event: Any) -> None:
        await asyncio.sleep(0)
        raise KeyError(event)

    serving = await daemon()
    client = make(on_event=broken)
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    served.writer.write(served.peer.notify("event", [{}]))
    await until_on_loop(lambda: client.failures == {"on_event": 1})
    assert client.connected


async def test_events_and_sync_hooks_run_on_the_loop(daemon: Serve, make: Make) -> None:
    ran = asyncio.Queue[threading.Thread]()

    def broken(_: Any) -> None:
        ran.put_nowait(threading.current_thread())
        raise ValueError

    serving = await daemon()
    client = make(lambda *_: ran.put_nowait(threading.current_thread()) or "a line", on_event=broken)
    assert await client.start(DEADLINE_S)
    served = await serving.arrival()
    await served.call("generate", "a seed", 0.7, 0.3)
    served.writer.write(served.peer.notify("event", [{}]))
    async with asyncio.timeout(DEADLINE_S):
        assert {await ran.get(), await ran.get()} == {threading.current_thread()}
    assert client.failures == {"on_event": 1}


ENDED = """
import asyncio, sys
from dreamclient import AsyncDreamClient
async def live():
    client = AsyncDreamClient(socket_path=sys.argv[1])
    assert await client.start(10)
    return client
client = asyncio.run(live())
print(client.connected, client.offer({}), client.trouble, client.failures)
loop = asyncio.new_event_loop()
client = loop.run_until_complete(live())
loop.close()
print(client.connected, client.offer({}), client.trouble, client.failures)
async def again():
    print(await client.start(10), client.offer({}), client.trouble)
    await client.close()
asyncio.run(again())
"""


def test_counts_contexts_and_is_not_connected_when_its_loop_has_ended(path: Path) -> None:
    """P10: dropped contexts are counted, also if the loop was closed before its tasks ended."""
    with LittleDaemon(path):
        command = [sys.executable, "-c", ENDED, str(path)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.splitlines() == [
        "False False the event loop has ended {'not_connected': 1}",
        "False False the event loop has ended {'not_connected': 1}",
        "True True ",
    ]


LEFT = """
import asyncio, socket, sys, threading
from dreamclient import AsyncDreamClient, Timing
from dreamclient.protocol.rpc import Peer

path = sys.argv[1]
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
kept = []


def serve(answers_hello):
    sock, _ = listener.accept()
    kept.append(sock)
    if answers_hello:
        peer = Peer()
        (hello,) = peer.receive_data(sock.recv(1 << 16))
        sock.sendall(peer.respond(hello.msgid, {"protocol": 1, "seeded": True}))
        sock.sendall(peer.call("generate", ["a seed", 0.5, 0.5], 1)[1])


def fill(client):
    while client.offer({"prompt": "x" * 2000}):
        pass


async def main(case):
    in_hook = asyncio.Event()

    async def generate(*_):
        fill(client)
        in_hook.set()
        if case == "cancelled":
            await asyncio.sleep(600)
        return "a line"

    threading.Thread(target=serve, args=(case != "start",), daemon=True).start()
    client = AsyncDreamClient(generate, socket_path=path, timing=Timing(hello_s=60))
    if case == "start":
        try:
            await asyncio.wait_for(client.start(600), 0.1)
        except TimeoutError:
            return
    await client.start(600)
    await in_hook.wait()
    if case == "call":
        asyncio.ensure_future(client.call("status", timeout_s=600))
    await asyncio.sleep(0.05)  # so that what waits for the daemon has begun to


for case in ("answered", "cancelled", "call", "start"):
    asyncio.run(main(case))
    print(case, "ended")
"""


def test_p1_a_loop_ends_though_its_daemon_is_stopped(path: Path) -> None:
    """The owner's loop ends without `close`, while a hook, its answer, a call or the start waits for that daemon."""
    command = [sys.executable, "-X", "dev", "-c", LEFT, str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split("\n") == ["answered ended", "cancelled ended", "call ended", "start ended", ""]
    assert "Traceback" not in ended.stderr


async def test_a_call_has_its_deadline_whatever_keeps_the_threads_of_the_loop(
    daemon: Serve, make: Make
) -> None:
    await daemon()
    client = make()
    assert await client.start(DEADLINE_S)
    free = threading.Event()
    loop = asyncio.get_running_loop()
    busy = [loop.run_in_executor(None, free.wait, DEADLINE_S) for _ in range(64)]
    try:
        assert await client.call("status") is True
        assert not any(one.done() for one in busy)
    finally:
        free.set()
        await asyncio.gather(*busy)


async def test_a_system_without_a_thread_left_fails_the_call(
    daemon: Serve, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    await daemon()
    client = make()
    assert await client.start(DEADLINE_S)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(NotConnected, match="no thread left"):
            await client.call("status")


async def test_takes_a_wait_without_end(daemon: Serve, make: Make) -> None:
    await daemon()
    client = make()
    assert await client.start(math.inf)
    assert await client.call("status", timeout_s=math.inf) is True


async def test_an_answer_that_comes_as_its_caller_is_cancelled_is_dropped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's thread has handed the answer over, and the loop has not looked yet."""
    answered: list[Callable[[Any], None]] = []
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with AsyncDreamClient(socket_path=path, timing=QUICK) as client:

        def ask(method: str, params: Any, done: Any, deadline: float) -> Callable[[], None]:
            answered.append(done)
            return lambda: None

        monkeypatch.setattr(client, "ask", ask)
        caller = asyncio.create_task(client.call("why"))
        await until_on_loop(lambda: bool(answered))
        await asyncio.sleep(0)  # the caller waits for the answer now
        caller.cancel()
        answered[0](None)
        with pytest.raises(asyncio.CancelledError):
            await caller
        await asyncio.sleep(0)
    assert faults == []
