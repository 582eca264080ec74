"""Tracing: every message of the other sessions, as it crossed the socket; never at their cost."""

import asyncio
import socket

import msgpack
import pytest
from dreamclient.messages import MESSAGE_BYTES

from dreamd.wire import trace as module
from tests.helpers.connection import pair
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import STIRRED, leo, onlooker
from tests.helpers.peer import PeerError, PlainPeer, hearing
from tests.helpers.waiting import until_on_loop

QUIET = msgpack.packb([2, "dream.context", [{"prompt": "p" * 100, "reply": "r" * 100}]])


async def tracer(service, *params):
    peer = await onlooker(service)
    assert await peer.call("trace.subscribe", *params) is None
    return peer


async def seen(peer, count):
    """Return the next messages that a tracer is told of, and check that none was lost."""
    messages = []
    while len(messages) < count:
        method, [event] = await asyncio.wait_for(peer.told.get(), 20)
        assert (method, event["type"], event.keys()) == (
            "event", "trace", {"type", "at", "clock", "messages", "lost"},
        )  # fmt: skip
        assert all(message["clock"] <= event["clock"] for message in event["messages"])
        assert event["lost"] == 0
        messages += event["messages"]
    return messages


def said(message):
    """Return the direction and the message, and check that it is whole."""
    assert message["size"] == len(message["data"])
    return message["way"], msgpack.unpackb(message["data"])


async def test_every_message_of_a_dream_is_seen_both_ways_in_order(tmp_path):
    lines = iter(["the sea is quiet", "nothing holds light", "we were born", "snow began to speak"])
    async with serving(tmp_path, dialogue__candidates=1) as service, await tracer(service) as watcher:
        hooks = {"generate": lambda *_: next(lines), "observe": hearing}
        async with await PlainPeer.connect(service.socket, **hooks) as peer:
            await peer.hello()
            ended = await peer.call("dream.now", STIRRED)
            messages = await seen(watcher, 2 + 2 + 4 * ended["lines"])
    assert {message["session"] for message in messages} == {2}
    (_, hello), (way, welcome), asked, *calls, answered = map(said, messages)
    assert (hello[2], way, welcome[3]["session"]) == ("hello", "out", 2)
    assert asked == ("in", [0, 1, "dream.now", [STIRRED]])
    assert answered == ("out", [1, 1, None, ended])
    assert [(way, said[0]) for way, said in calls] == [("out", 0), ("in", 1)] * 2 * ended["lines"]
    assert [said[2] for way, said in calls if way == "out"] == ["generate", "observe"] * ended["lines"]
    assert calls[1][1][3] == "the sea is quiet"
    clocks = [message["clock"] for message in messages]
    assert clocks == sorted(clocks)


async def test_a_tracer_is_never_traced(tmp_path):
    """Otherwise two tracers would send each other their own events without end."""
    async with serving(tmp_path) as service, await tracer(service) as first, await tracer(service) as second:
        messages = await seen(first, 3)  # the second, until it was one
        assert [said(message)[1][2] for message in messages[::2]] == ["hello", "trace.subscribe"]
        async with await onlooker(service):
            for watcher in (first, second):
                assert [message["session"] for message in await seen(watcher, 2)] == [3, 3]
            for watcher in (first, second, first):
                await watcher.call("why")
            assert first.told.empty()
            assert second.told.empty()


async def test_traces_a_single_session(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as one, await onlooker(service) as other:
        async with await tracer(service, 2) as watcher:
            await one.call("why")
            await other.call("why")
            await watcher.call("why")  # all that was seen has been told
            assert [said(message)[0] for message in await seen(watcher, 2)] == ["in", "out"]
            assert watcher.told.empty()
            with pytest.raises(PeerError, match="no session 9; `dreamctl status` lists them") as caught:
                await watcher.call("trace.subscribe", 9)
            assert caught.value.code == 12


async def test_a_closed_tracer_leaves_nothing_behind(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        watcher = await tracer(service)
        await peer.call("why")
        await watcher.close()
        await until_on_loop(lambda: not service.subscriptions.taps)
        assert await peer.call("why") == []
        assert service.failures.counts == {}


async def test_shows_the_beginning_and_the_size_of_a_large_message(tmp_path):
    async with (
        serving(tmp_path) as service,
        await tracer(service) as watcher,
        await onlooker(service) as peer,
    ):
        await seen(watcher, 2)
        large = msgpack.packb([2, "dream.context", [{"prompt": "p" * (MESSAGE_BYTES - 100)}]])
        peer.send(large)
        [message] = await seen(watcher, 1)
    assert message["size"] == len(large)
    assert message["data"] == large[: module.HEAD_BYTES]


async def test_p11_a_slow_tracer_affects_no_session_and_learns_its_losses(tmp_path):
    """12,000 contexts are sent as fast as possible."""
    count = 12_000
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        with socket.socket(socket.AF_UNIX) as slow:
            slow.setblocking(False)
            slow.connect(service.socket)
            slow.send(msgpack.packb([0, 1, "hello", [{"protocol": 1, "name": "slow"}]]))
            slow.send(msgpack.packb([0, 2, "trace.subscribe", []]))
            await until_on_loop(lambda: service.subscriptions.taps)
            for _ in range(count // 100):
                peer.send(QUIET * 100)
                await peer.writer.drain()
            await peer.call("why", 1)
            assert service.engine.reasons == {"no_hooks": count}
            assert service.failures.counts == {}
            messages, lost = [], 0
            unpacker, loop = msgpack.Unpacker(), asyncio.get_running_loop()
            while len(messages) + lost < count + 2:
                unpacker.feed(await asyncio.wait_for(loop.sock_recv(slow, 1 << 20), 20))
                for event in (message[2][0] for message in unpacker if message[0] == 2):
                    messages += event["messages"]
                    lost += event["lost"]
    assert len(messages) + lost == count + 2
    assert lost > count / 2
    assert [message["data"] for message in messages[:3]] == [QUIET] * 3


async def test_shows_the_sessions_own_answers_and_unreadable_messages():
    shown = []
    async with pair() as (made, sock):
        made.session.taps = {7: lambda session, way, message: shown.append((session.number, way, message))}
        calls = [msgpack.packb([0, n, "never", []]) for n in range(66)]
        broken = msgpack.packb([5])
        sock.send(b"".join(calls) + broken)
        await made.lost.wait()
    assert shown[:67] == [(1, "in", frame) for frame in (*calls, broken)]
    assert [msgpack.unpackb(frame)[1] for _, way, frame in shown[67:] if way == "out"] == [64, 65, "error"]
