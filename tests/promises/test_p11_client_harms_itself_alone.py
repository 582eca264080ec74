"""P11: a client can harm only itself: bytes, calls, events and time of a session are bounded."""

import asyncio
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import msgpack

from dreamd.store import search
from tests.helpers.daemons.in_loop import serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import STIRRED, leo, onlooker
from tests.helpers.peer import HELLO, STATUS, answered
from tests.helpers.waiting import until, until_listened, until_on_loop


def resident_kib(process):
    """Return VmRSS."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


LARGEST = {
    "prompt": "x" * 200_000, "reply": "y" * 200_000, "expert": "z" * 50_000, "themes": list(range(1000)),
    "math_state": {f"{n:030}": n / 7 for n in range(1000)}, "failures": {f"kind{n}": 1 for n in range(250)},
}  # fmt: skip


def test_p11_bounds_and_returns_the_memory_of_sessions(tmp_path):
    """Each sends what a message can hold, under a name of its own, and stays: 64 KiB a session; 48 KiB for each of the
    64 names that are remembered, when they have gone."""
    context = msgpack.packb([0, 2, "dream.context", [LARGEST]])
    hello = {"protocol": 1, "version": "v" * 64, "provides": ["generate", "observe", "recall", "x" * 100_000]}
    ticking = {"WATCHDOG_USEC": "400000"}  # each 0.2 s
    with DaemonProcess(tmp_path / "s", env=ticking) as daemon, ExitStack() as crowd:
        before = resident_kib(daemon.process)
        for number in range(150):
            client = crowd.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(daemon.socket))
            client.settimeout(20)
            hooks = hello if number % 2 else hello | {"provides": []}
            client.sendall(msgpack.packb([0, 1, "hello", [hooks | {"name": f"{number:064}"}]]))
            assert answered(client)[2] is None
            client.sendall(context)
            assert answered(client)[3]["dream"] is False
        # And what the largest message takes while it is read.
        assert resident_kib(daemon.process) - before < 150 * 64 + 8 * 1024
        crowd.close()
        until(lambda: resident_kib(daemon.process) - before < 64 * 48 + 8 * 1024, "the memory comes back")
        until(lambda: len(daemon.call("status")["sessions"]) == 1, "the last of them has gone")


async def test_p11_pages_of_one_client_hold_up_no_line_of_another(tmp_path, monkeypatch):
    """Of many pages one at a time is in the queue of the database, so that a dream goes on between them."""
    async with serving(tmp_path) as service, await leo(service) as other, await onlooker(service) as peer:
        asked, go_on, read = [], asyncio.Event(), service.store.recent

        async def slow(*page):
            asked.append(page)
            await go_on.wait()
            return await read(*page)

        monkeypatch.setattr(service.store, "recent", slow)
        pages = [asyncio.create_task(peer.call("dialogs.recent", 1000)) for _ in range(60)]
        await until_on_loop(lambda: asked != [])
        assert (await other.call("dream.now", STIRRED))["outcome"] == "complete"
        assert len(asked) == 1
        go_on.set()
        assert all(len(page) == 1 for page in await asyncio.gather(*pages))


async def test_p11_searches_of_one_client_hold_up_no_other(tmp_path, monkeypatch):
    """Of many searches one at a time is in the queue of the database."""
    asked, go_on = [], asyncio.Event()

    async with (
        serving(tmp_path) as service,
        await onlooker(service) as peer,
        await onlooker(service) as other,
    ):
        read = service.store._read

        async def slow(function, *arguments):
            if function not in (search.find_lines, search.find_sources):
                return await read(function, *arguments)
            asked.append(arguments[0])
            await go_on.wait()
            return []

        monkeypatch.setattr(service.store, "_read", slow)
        methods = ("dialogs.search", "dialogs.whence") * 20
        calls = [asyncio.create_task(peer.call(method, f"w{n}")) for n, method in enumerate(methods)]
        await until_on_loop(lambda: asked != [])
        assert await other.call("dialogs.recent") == []
        assert asked == ["w0"]
        go_on.set()
        assert await asyncio.gather(*calls) == [[]] * 40


def test_p11_caps_sessions_by_the_free_descriptors_and_recovers(tmp_path):
    """With RLIMIT_NOFILE at 96 there are 32 sessions, and enough descriptors for database, inbox and listener."""
    command = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96)); "
        "from dreamd.__main__ import main; sys.exit(main(['--state-dir', sys.argv[1]]))"
    )
    daemon = DaemonProcess(tmp_path / "s")
    process = subprocess.Popen([sys.executable, "-c", command, daemon.state_dir], env=daemon.env)
    try:
        until_listened(daemon.socket)
        crowd = []
        for _ in range(200):
            crowd.append(socket.socket(socket.AF_UNIX))
            crowd[-1].connect(str(daemon.socket))
            crowd[-1].settimeout(20)
        crowd[0].sendall(HELLO)
        assert answered(crowd[0])[0] == 1
        told = [answered(client) for client in crowd[32:]]
        assert told == [[2, "error", [9, "refused: too many sessions; close some and try again"]]] * 168
        crowd[0].sendall(STATUS)
        status = answered(crowd[0])[3]
        assert (len(status["sessions"]), status["failures"], status["state"]) == (
            32,
            {"server: too many sessions": 168},
            "ok",
        )
        # There is enough left to dream with.
        crowd[0].sendall(msgpack.packb([0, 9, "dream.now", []]))
        unpacker, spoken = msgpack.Unpacker(), 0
        while True:
            unpacker.feed(crowd[0].recv(1 << 16))
            ended = None
            for kind, msgid, method, *rest in unpacker:
                if kind == 1:
                    ended = rest
                else:
                    spoken += method == "generate"
                    line = f"line {spoken} of the long night {spoken}" if method == "generate" else None
                    crowd[0].sendall(msgpack.packb([1, msgid, None, line]))
            if ended:
                break
        assert ended[0]["outcome"] == "complete"
        for client in crowd:
            client.close()
        until(lambda: len(daemon.call("status")["sessions"]) == 1, "room again")
    finally:
        process.terminate()
        assert process.wait(20) == 0


async def test_p11_caps_a_flood_of_calls_and_of_notifications(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as other, await onlooker(service) as flooder:
        tasks = []
        service_tasks = service.sessions[2]._tasks
        flooder.send(b"".join(msgpack.packb([2, "inbox.list", []]) for _ in range(1000)))
        answers = asyncio.gather(*(flooder.call("stats") for _ in range(300)), return_exceptions=True)
        while not answers.done():
            tasks.append(sum(not task.done() for task in service_tasks))
            await asyncio.sleep(0)
        assert max(tasks) <= 64
        assert {error.code for error in answers.result() if isinstance(error, Exception)} <= {4}
        assert (await other.call("dream.now", STIRRED))["outcome"] == "complete"
        assert service.failures.counts["inbox.list: INVALID_PARAMS"] == 1000


async def test_p11_a_subscriber_that_does_not_read_loses_events_and_is_told_how_many(tmp_path):
    async with serving(tmp_path, tick_s=0.05) as service, await leo(service) as other:
        with socket.socket(socket.AF_UNIX) as slow:
            slow.setblocking(False)
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(service.socket)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(slow, HELLO + msgpack.packb([0, 2, "events.subscribe", []]))
            await until_on_loop(lambda: service.subscriptions.subscribers)
            [session] = service.subscriptions.subscribers
            for _ in range(20):
                other.send(b"".join([msgpack.packb([2, "dream.context", [{}]])] * 500))
                await other.call("why", 0)  # all of them are decided
            assert (await other.call("dream.now", STIRRED))["outcome"] == "complete"
            assert "peer: slow reader" not in service.failures.counts
            lost_before, unpacker, events = session._lost_events, msgpack.Unpacker(), []
            assert lost_before > 100

            async def read():
                unpacker.feed(await loop.sock_recv(slow, 1 << 20))
                events.extend(m[2][0] for m in unpacker if m[0] == 2)

            while session._transport.get_write_buffer_size():
                await read()
            async with asyncio.timeout(20):  # no event need come: the tick tells
                while not any(event["type"] == "lost" for event in events):
                    await read()
            [told] = [event for event in events if event["type"] == "lost"]
            assert told["count"] == lost_before


async def test_p11_bounds_the_kinds_of_failures_of_a_host_and_answers_status(tmp_path):
    async with (
        serving(tmp_path) as service,
        await onlooker(service) as liar,
        await onlooker(service) as other,
    ):
        for batch in range(40):
            kinds = {f"kind_{batch}_{n}": (1 << 64) - 1 for n in range(250)}
            await liar.call("dream.context", {"failures": kinds})
        status = await other.call("status")
        assert len(status["failures"]) <= 33
        assert len(status["last_errors"]) <= 32
        assert len(msgpack.packb(status)) < 64_000


async def test_p11_a_flood_of_contexts_does_not_stop_anothers_dream(tmp_path):
    """One client sends contexts without end, as fast as the socket takes them. Another's dream goes on."""
    async with serving(tmp_path) as service, await leo(service) as other:
        _, writer = await asyncio.open_unix_connection(service.socket)
        writer.write(HELLO)
        flood = b"".join([msgpack.packb([2, "dream.context", [STIRRED]])] * 1000)

        async def pour():
            while True:
                writer.write(flood)
                await writer.drain()

        pouring = asyncio.create_task(pour())
        await until_on_loop(lambda: service.engine.reasons.total() > 2000)
        assert (await other.call("dream.now", STIRRED))["outcome"] == "complete"
        pouring.cancel()
        assert len(service.engine.decisions) == 256
        writer.transport.abort()
        await asyncio.gather(pouring, return_exceptions=True)
