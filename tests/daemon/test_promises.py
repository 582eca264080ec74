"""The promises that concern several modules, with real processes: P2, P3, P9, P11, P12 and P14."""

import array
import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from pathlib import Path

import msgpack
import pytest

from tests.helpers.daemons.in_loop import serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import ORIGIN, STIRRED, Gate, leo, leo_at, onlooker, settled
from tests.helpers.peer import PlainPeer
from tests.helpers.waiting import until, until_on_loop

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
OTHER_UID = 65534

HELLO = msgpack.packb([0, 1, "hello", [{"protocol": 1, "name": "leo", "provides": ["generate", "observe"]}]])
STATUS = msgpack.packb([0, 1, "status", []])


def rows(state, query):
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database:
        return database.execute(query).fetchall()


def answered(sock):
    """The first message that comes, or None where the other side just closes."""
    sock.settimeout(20)
    unpacker = msgpack.Unpacker()
    while data := sock.recv(1 << 16):
        unpacker.feed(data)
        for message in unpacker:
            return message
    return None


# --- P2, P3: recorded, then observed, at most once ---------------------------------------------------

# A leo of its own process, whose observe writes down what it heard and then never answers.
LEO = """
import os, socket, sys, msgpack
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(msgpack.packb([0, 1, "hello", [{"protocol": 1, "name": "leo", "provides": ["generate", "observe"]}]]))
sock.sendall(msgpack.packb([0, 2, "dream.now", [{"prompt": "hello"}]]))
unpacker = msgpack.Unpacker()
heard = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while data := sock.recv(1 << 16):
    unpacker.feed(data)
    for message in unpacker:
        if message[0] == 0 and message[2] == "generate":
            sock.sendall(msgpack.packb([1, message[1], None, "the river under the house"]))
        elif message[0] == 0:
            os.write(heard, message[3][0].encode() + b"\\n")
"""


@pytest.mark.parametrize("killed", ["daemon", "leo"])
def test_p2_p3_killed_between_record_and_observes_answer(tmp_path, killed):
    """The row was there before the call. If either side dies, the line is not observed again and not lost (P5)."""
    daemon = DaemonProcess(tmp_path / "s").start()
    heard = tmp_path / "heard"
    host = subprocess.Popen([sys.executable, "-c", LEO, daemon.socket, heard])
    until(lambda: heard.exists() and heard.read_text().endswith("\n"), "a line that leo has heard")
    assert rows(tmp_path / "s", "SELECT text, observed FROM dream_turns") == [
        ("the river under the house", "sent")
    ]
    if killed == "daemon":
        daemon.kill()
        host.wait(20)
        daemon.start()
    else:
        host.kill()
        host.wait(20)
    until(lambda: daemon.call("status")["dialogues"], "the end of the dialogue")
    [outcome] = daemon.call("status")["dialogues"]
    assert outcome == "left"  # the field that it feeds is not known: it does not go on
    with socket.socket(socket.AF_UNIX) as again:  # the same leo comes back, and hears nothing
        again.connect(str(daemon.socket))
        again.sendall(HELLO)
        assert answered(again)[0] == 1
        again.settimeout(0.2)
        with pytest.raises(TimeoutError):
            again.recv(1)
    daemon.stop()
    assert heard.read_text() == "the river under the house\n"
    kept = rows(
        tmp_path / "s",
        "SELECT observed, shard_at IS NOT NULL FROM dream_turns JOIN dream_dialogs ON dream_dialogs.id = dialog_id",
    )
    assert kept == [("sent" if killed == "daemon" else "failed", 1)]
    assert len(list((tmp_path / "s" / "inbox" / "dreams").glob("*.json"))) == 1


# --- P9: by the kernel's peer credentials ------------------------------------------------------------


def as_other_user(work):
    """Run `work` in a child that has become another user, and return its result as text."""
    back, out = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(OTHER_UID)
            os.setuid(OTHER_UID)
            os.write(out, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(out)
    with os.fdopen(back, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return found.decode()


@pytest.fixture
def open_folder():
    """A folder that every user may enter. Those of pytest lie in one that it closes at each of its starts."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        yield folder


def loosened(daemon, folder):
    """Everybody may reach the socket, if it went by the file modes."""
    for path in (daemon.socket, daemon.socket.parent, folder):
        path.chmod(0o777)


@as_root
def test_p9_another_user_is_refused_even_with_the_modes_loosened(open_folder):
    with DaemonProcess(open_folder / "s") as daemon:
        loosened(daemon, open_folder)

        def connect():
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(daemon.socket))
                refusal = answered(sock)
                try:
                    sock.sendall(STATUS)
                    return refusal, sock.recv(100)
                except OSError as error:
                    return refusal, type(error).__name__

        found = as_other_user(connect)
        assert found.startswith(
            "([2, 'error', [9, 'refused: another user; dreamd serves its owner and root']]"
        )
        assert "version" not in found
        assert daemon.call("status")["failures"] == {"server: another user": 1}
        assert len(daemon.call("status")["sessions"]) == 1


@as_root
def test_p9_file_modes_keep_another_user_from_connecting(open_folder):
    with DaemonProcess(open_folder / "s") as daemon:

        def connect():
            with socket.socket(socket.AF_UNIX) as sock:
                return os.strerror(sock.connect_ex(str(daemon.socket)))

        assert as_other_user(connect) == "'Permission denied'"
        assert daemon.call("status")["failures"] == {}


@as_root
def test_p9_a_passed_descriptor_counts_as_the_user_that_connected(open_folder):
    with DaemonProcess(open_folder / "s") as daemon:
        loosened(daemon, open_folder)
        ours = socket.socket(socket.AF_UNIX)
        ours.connect(str(daemon.socket))

        def use():  # connected by root, used by another: root's to give
            ours.sendall(STATUS)
            return answered(ours)[0]

        assert as_other_user(use) == "1"
        ours.close()

        # Connected by another, used by root: it stays the other's.
        here, there = socket.socketpair()

        def connect_and_pass():
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(daemon.socket))
            there.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))])

        assert as_other_user(connect_and_pass) == "None"
        _, [passed], _, _ = socket.recv_fds(here, 1, 1)
        with here, there, socket.socket(fileno=passed) as theirs:
            assert answered(theirs)[2][0] == 9
        assert daemon.call("status")["failures"] == {"server: another user": 1}


@as_root
def test_p9_a_daemon_accepts_its_own_user_and_root(open_folder):
    state = open_folder / "s"
    state.mkdir()
    os.chown(state, OTHER_UID, OTHER_UID)
    command = (
        # All is imported first: that user may not be able to read this Python.
        "import concurrent.futures.thread, dreamd.wire.status, os, sys, urllib.parse, uvloop; "
        "from pathlib import Path; "
        "from dreamd.app import run; from dreamd.settings import Settings; state = Path(sys.argv[1]); "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(run(Settings, state, state / 'dreamd.sock'))"
    )
    env = {**DaemonProcess(state).env, "HOME": "/nonexistent"}
    process = subprocess.Popen([sys.executable, "-c", command, state], env=env)
    try:
        sock = state / "dreamd.sock"
        until(sock.exists, "a socket")

        def ask():
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(sock))
                client.sendall(STATUS)
                return answered(client)[3]["state"]

        assert as_other_user(ask) == "'ok'"
        assert ask() == "ok"
    finally:
        process.terminate()
        assert process.wait(20) == 0


# --- P11: one client can harm only itself ------------------------------------------------------------


def resident_kib(process):
    """VmRSS."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


LARGEST = {
    "prompt": "x" * 200_000, "reply": "y" * 200_000, "expert": "z" * 50_000, "themes": list(range(60_000)),
    "math_state": {f"{n:030}": n / 7 for n in range(4000)}, "failures": {f"kind{n}": 1 for n in range(4000)},
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
        assert len(daemon.call("status")["sessions"]) == 1


def test_p11_sessions_are_capped_by_the_descriptors_there_are_and_the_daemon_recovers(tmp_path):
    """RLIMIT_NOFILE lowered to 96: 32 sessions, and enough left for database, inbox and listener."""
    command = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96)); "
        "from dreamd.__main__ import main; sys.exit(main(['--state-dir', sys.argv[1]]))"
    )
    daemon = DaemonProcess(tmp_path / "s")
    process = subprocess.Popen([sys.executable, "-c", command, daemon.state_dir], env=daemon.env)
    try:
        until(daemon.socket.exists, "a socket")
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


async def test_p11_a_flood_of_calls_is_capped_and_a_flood_of_notifications_too(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as other, await onlooker(service) as flooder:
        tasks = []
        service_tasks = service.sessions[2]._tasks
        flooder.send(b"".join(msgpack.packb([2, "inbox.list", []]) for _ in range(5000)))
        answers = [asyncio.create_task(flooder.call("stats")) for _ in range(1000)]
        while not all(answer.done() for answer in answers):
            tasks.append(len(service_tasks))
            await asyncio.sleep(0)
        assert max(tasks) <= 64
        codes = {answer.exception().code for answer in answers if answer.exception()}
        assert codes <= {4}
        assert (await other.call("dream.now", STIRRED))["outcome"] == "complete"
        assert service.failures.counts["inbox.list: INVALID_PARAMS"] == 5000


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


async def test_p11_kinds_of_failures_that_a_host_makes_up_are_bounded_and_status_is_answered(tmp_path):
    async with (
        serving(tmp_path) as service,
        await onlooker(service) as liar,
        await onlooker(service) as other,
    ):
        for batch in range(20):
            kinds = {f"kind_{batch}_{n}": (1 << 64) - 1 for n in range(500)}
            await liar.call("dream.context", {"failures": kinds})
        status = await other.call("status")
        assert len(status["failures"]) <= 33
        assert len(status["last_errors"]) <= 32
        assert len(msgpack.packb(status)) < 64_000


async def test_p11_a_client_that_floods_while_another_dreams(tmp_path):
    """Contexts without end, as fast as the socket takes them: another's dream goes on."""
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


# --- P12: a "no" touches no disk, an idle daemon sleeps ----------------------------------------------


def everything(folder):
    return {
        path: (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        for path in sorted(folder.rglob("*"))
        for stat in [path.lstat()]
    }


@pytest.mark.parametrize(
    ("mode", "reasons"),
    [("fixed", {"calm": 300, "chance": 600, "no_hooks": 90}), ("adaptive", {"calm", "chance", "no_hooks"})],
)
async def test_p12_a_decision_not_to_dream_touches_no_disk(tmp_path, mode, reasons):
    """Every reason for a no, a thousand times: no file changes, no statement writes, nothing is queued."""
    async with (
        serving(tmp_path, gate__chance=0, gate__mode=mode) as service,
        await leo(service) as peer,
        await onlooker(service) as other,
    ):
        await peer.call("dream.seed", ORIGIN)
        await service.store.probe()
        await service.store.probe()
        database = service.store._database
        before = everything(tmp_path), await database.read(lambda c: c.total_changes)
        asked = []
        await database.read(lambda c: c.set_trace_callback(asked.append))
        for ctx in ({}, STIRRED, {"pulse": {"novelty": 0.9}}):
            peer.send(b"".join([msgpack.packb([2, "dream.context", [ctx]])] * 300))
            other.send(b"".join([msgpack.packb([2, "dream.context", [ctx]])] * 30))
        await peer.call("why", 0)
        await other.call("why", 0)
        assert service.engine.reasons == reasons or set(service.engine.reasons) == reasons
        assert asked == []
        await database.read(lambda c: c.set_trace_callback(None))
        assert (everything(tmp_path), await database.read(lambda c: c.total_changes)) == before


async def test_p12_an_idle_daemon_wakes_only_for_its_tick(tmp_path):
    """With two clients connected, after a dream: the loop has one timer, and nothing else to wake for."""
    async with serving(tmp_path) as service, await leo(service) as peer, await onlooker(service):
        await peer.call("dream.now", STIRRED)
        await settled(service)
        loop = asyncio.get_running_loop()
        for session in service.sessions.values():  # an answered call leaves its timer to run out, once
            if session._calls._sweep is not None:
                session._calls._sweep.cancel()
        waiting = [timer for timer in loop._scheduled if not timer.cancelled()]
        ticks = [timer for timer in waiting if 10 < timer.when() - loop.time() <= 15]
        assert len(ticks) == 1
        assert waiting == ticks


def test_p12_no_thread_of_an_idle_process_wakes_between_its_ticks(tmp_path):
    """By the kernel's count of each thread's voluntary sleeps."""
    with DaemonProcess(tmp_path / "s") as daemon:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(daemon.socket))
        client.sendall(HELLO)
        answered(client)

        def wakes():
            threads = f"/proc/{daemon.process.pid}/task"
            found = {}
            for thread in os.listdir(threads):
                with open(f"{threads}/{thread}/status") as status:
                    [line] = [line for line in status if line.startswith("voluntary_ctxt_switches")]
                found[thread] = int(line.split()[1])
            return found

        seen = [wakes()]
        while len(seen) < 4 or seen[-1] != seen[-4]:  # until it has come to rest
            time.sleep(0.05)
            seen.append(wakes())
        time.sleep(1.0)
        assert wakes() == seen[-1]
        client.close()


# --- P14: no text anywhere but where it belongs ------------------------------------------------------

SECRETS = ("marmalade", "quicksilver", "zephyrine", "obsidian", "tourmaline", "heliotrope")


async def test_p14_no_output_contains_a_word_of_a_dream(tmp_path):
    """With all that can be logged: a dream, failing hooks of each kind, refusals, a bad peer, a restart."""
    prompt, reply, line, raised, seeded, damaged = SECRETS
    spoken = [0]

    def generate(*_):
        spoken[0] += 1
        return f"{line} number {spoken[0]} says {spoken[0]}"

    def fail(*_):
        raise RuntimeError(f"{raised} in the {line}")

    ctx = STIRRED | {"prompt": prompt, "reply": reply, "expert": prompt, "math_state": {prompt: reply}}
    daemon = DaemonProcess(
        tmp_path / "s", "--set", "log.level=debug", env={"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"}
    )
    with daemon:
        async with await leo_at(
            daemon.socket, generate=generate, recall=lambda *_: [f"{seeded} of old"]
        ) as peer:
            await peer.call("dream.seed", {"origin": [f"{seeded} is the origin."]})
            assert (await peer.call("dream.now", ctx))["outcome"] == "complete"
            await peer.call("dream.context", ctx)
        for hook, does in (
            ("generate", fail), ("observe", fail), ("recall", fail),
            ("generate", lambda *_: [line]), ("generate", lambda *_: line * 200_000),
        ):  # fmt: skip
            async with await leo_at(daemon.socket, **({"generate": generate} | {hook: does})) as peer:
                await asyncio.gather(peer.call("dream.now", ctx), return_exceptions=True)
        for method, params in (
            ("dream.context", [{"prompt": [prompt]}]), ("dream.seed", [{"origin": [[seeded]]}]), (line, [line]),
            ("inbox.persist", [{"seed": {"goal": prompt}, "result": {"trace_id": line}, "cap_token": {line: line}}]),
            ("inbox.read", [line + "/"]), ("inbox.ack", [line]), ("hello", [{"protocol": 1, "name": ""}]),
        ):  # fmt: skip
            async with await onlooker_at(daemon.socket) as peer:
                with pytest.raises(Exception, match=r"\["):
                    await peer.call(method, *params)
        async with await onlooker_at(daemon.socket) as peer:
            peer.send(msgpack.packb([0, line, prompt]))
            await peer.closed()
        gate = Gate()
        peer = await leo_at(daemon.socket, generate=gate)
        peer.send([0, 99, "dream.now", [ctx]])
        await gate.reached.wait()
        daemon.kill()
        await peer.close()
        (tmp_path / "s" / "inbox" / "dreams" / "x.json").write_text(damaged)
        daemon.start()
        status = daemon.call("status")
    said = daemon.said()
    assert "serving at" in said
    assert status["dialogues"]["complete"] >= 1
    for secret in SECRETS:
        assert secret not in said, said
        assert secret not in str(status)


async def onlooker_at(path):
    peer = await PlainPeer.connect(path)
    await peer.hello("onlooker")
    return peer
