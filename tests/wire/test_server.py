"""Admission: which users, how many sessions, and how all are closed."""

import asyncio
import errno
import os
import resource
import socket

import msgpack
import pytest
import uvloop

from dreamd.clock import Clock
from dreamd.failures import Failures
from dreamd.wire import server as module
from dreamd.wire import session as session_module
from dreamd.wire.server import Server, descriptors_left, peer_uid, session_cap
from tests.helpers.peer import PlainPeer
from tests.helpers.waiting import until_on_loop


def listening(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen()
    sock.setblocking(False)
    return sock


def echo(session, message):
    session.respond(message.msgid, message.method)


@pytest.fixture
def made(tmp_path):
    gone = []
    failures = Failures(Clock())
    server = Server(echo, gone.append, failures, cap=2)
    server.gone, server.failures = gone, failures
    return server


async def test_a_session_is_counted_from_its_connection_to_its_end(made, tmp_path):
    await made.listen(listening(tmp_path / "s"))
    async with await PlainPeer.connect(tmp_path / "s") as peer:
        assert await peer.call("x") == "x"
        [session] = made.sessions.values()
        assert session.number == 1
    await until_on_loop(lambda: made.gone == [session])
    assert made.sessions == {}
    await made.close()


async def test_p11_refuses_peers_beyond_the_cap_with_a_reason(made, tmp_path):
    await made.listen(listening(tmp_path / "s"))
    first, second = [await PlainPeer.connect(tmp_path / "s") for _ in range(2)]
    assert [await first.call("a"), await second.call("b")] == ["a", "b"]
    async with await PlainPeer.connect(tmp_path / "s") as third:
        await third.closed()
        assert third.told.get_nowait() == (
            "error",
            [9, "refused: too many sessions; close some and try again"],
        )
    assert made.failures.counts == {"server: too many sessions": 1}
    assert await first.call("still") == "still"
    await second.close()
    await until_on_loop(lambda: len(made.sessions) == 1)
    async with await PlainPeer.connect(tmp_path / "s") as fourth:
        assert await fourth.call("in") == "in"
        await made.close()
        await asyncio.gather(first.closed(), fourth.closed())
    await first.close()


async def test_p11_sessions_without_a_hello_give_way(made, tmp_path, monkeypatch):
    await made.listen(listening(tmp_path / "s"))
    silent = [await PlainPeer.connect(tmp_path / "s") for _ in range(2)]
    await until_on_loop(lambda: len(made.sessions) == 2)
    made.sessions[2].greeted = True
    monkeypatch.setattr(session_module, "HELLO_S", 0.0)  # that time has passed
    async with await PlainPeer.connect(tmp_path / "s") as third:
        assert await third.call("in") == "in"
        await silent[0].closed()
        assert silent[0].told.get_nowait() == (
            "error",
            [9, "another client needs this place; say hello at once"],
        )
        made.sessions[3].greeted = True
        async with await PlainPeer.connect(tmp_path / "s") as fourth:
            await fourth.closed()
        assert made.failures.counts == {"server: gave way": 1, "server: too many sessions": 1}
        assert await silent[1].call("still") == "still"
        await made.close()
    for peer in silent:
        await peer.close()


async def test_p9_refuses_another_user_with_a_reason(made, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)  # as seen from another user's daemon
    monkeypatch.setattr(module, "peer_uid", lambda _: 54321)
    await made.listen(listening(tmp_path / "s"))
    async with await PlainPeer.connect(tmp_path / "s") as peer:
        await peer.closed()
        assert peer.told.get_nowait() == (
            "error",
            [9, "refused: another user; dreamd serves its owner and root"],
        )
    assert made.failures.counts == {"server: another user": 1}
    assert made.sessions == {}
    await made.close()


async def test_p9_admits_root_and_the_owner(made, tmp_path, monkeypatch):
    await made.listen(listening(tmp_path / "s"))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for uid in (0, 12345):
        monkeypatch.setattr(module, "peer_uid", lambda _, uid=uid: uid)
        async with await PlainPeer.connect(tmp_path / "s") as peer:
            assert await peer.call("in") == "in"
        await until_on_loop(lambda: not made.sessions)
    await made.close()


def test_peer_uid_is_the_user_at_the_other_end():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert peer_uid(ours) == os.geteuid()


async def test_listening_on_a_new_socket_keeps_the_sessions(made, tmp_path):
    await made.listen(listening(tmp_path / "a"))
    async with await PlainPeer.connect(tmp_path / "a") as peer:
        assert await peer.call("in") == "in"
        await made.listen(listening(tmp_path / "b"))
        assert await peer.call("still") == "still"
        async with await PlainPeer.connect(tmp_path / "b") as other:
            assert await other.call("new") == "new"
        with pytest.raises(ConnectionRefusedError):
            await PlainPeer.connect(tmp_path / "a")
        assert (tmp_path / "a").exists()  # whose file it is, is the listener's to know
    await made.close()


async def test_serves_a_connected_socket(made):
    ours, theirs = socket.socketpair()
    await made.connect(ours)
    assert list(made.sessions) == [1]
    async with PlainPeer(*await asyncio.open_unix_connection(sock=theirs), {}) as peer:
        assert await peer.call("x") == "x"
        await made.close()
        await peer.closed()


async def test_closes_what_was_accepted_before_its_end_and_is_made_after_it(made):
    """Else the daemon's stop waits without end for such a session."""
    ours, theirs = socket.socketpair()
    first, served = socket.socketpair()
    await made.connect(served)
    async with asyncio.timeout(10):
        closing = asyncio.create_task(made.close())
        await asyncio.sleep(0)  # it has closed the open session, whose end it awaits
        await asyncio.gather(made.connect(theirs), closing)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        assert await reader.read() == b""
        writer.close()
    first.close()
    assert made.sessions == {}


def test_close_keeps_the_socket_file_on_uvloop(tmp_path):
    async def talk():
        server = Server(echo, lambda _: None, Failures(Clock()))
        await server.listen(listening(tmp_path / "s"))
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(msgpack.packb([0, 1, "hi", []]))
        assert msgpack.unpackb(await reader.read(100)) == [1, 1, None, "hi"]
        await server.close()
        assert await reader.read() == b""
        writer.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(talk())
    assert (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("soft", "hard", "cap", "becomes"),
    [
        (1024, resource.RLIM_INFINITY, 1024, 1088),
        (256, 1048576, 1024, 1088),
        (256, 512, 448, 512),
        (80, 80, 16, 80),
        (70, 70, 8, 70),
        (64, 64, 8, 64),
        (4096, 4096, 1024, None),
    ],
)
def test_p11_caps_sessions_by_the_limit_of_descriptors(monkeypatch, soft, hard, cap, becomes):
    given = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    assert session_cap() == cap
    assert given == ([] if becomes is None else [(becomes, hard)])


def test_notices_the_last_descriptor(monkeypatch):
    assert descriptors_left()
    monkeypatch.setattr(os, "open", lambda *_: (_ for _ in ()).throw(OSError(errno.EMFILE, "x")))
    assert not descriptors_left()
