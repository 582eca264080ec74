"""One connection, over a real pair of sockets: routing, deadlines, bounds, and its end."""

import asyncio

import msgpack
import pytest
from dreamclient.errors import CallTimeout, NotConnected, RemoteError
from dreamclient.protocol.rpc import Notification, Request

from dreamd.wire import session as module
from tests.helpers.connection import pair, talking
from tests.helpers.dreaming import until


async def test_requests_and_notifications_are_dispatched_in_order_and_answered():
    async with talking() as (made, peer):
        peer.send([2, "told", []])
        assert await peer.call("echo") == "heard"
        with pytest.raises(Exception, match=r"\[3, 'no'\]"):
            await peer.call("fail")
        assert [type(message) for message in made.heard] == [Notification, Request, Request]
    assert made.failures.counts == {}


async def test_a_call_gets_the_answer_or_the_error_of_its_hook():
    def broken():
        raise TypeError("no")

    async with talking(generate=lambda seed: seed + "!", observe=broken) as (made, _):
        assert msgpack.unpackb(await made.session.call("generate", ["hi"], 5.0)) == "hi!"
        with pytest.raises(RemoteError, match="TypeError"):
            await made.session.call("observe", [], 5.0)


async def test_each_call_has_its_own_deadline_and_one_timer_serves_all():
    async with pair() as (made, _):
        late = made.session.call("late", [], 30.0)
        first = made.session._sweep
        later = made.session.call("later", [], 60.0)
        assert made.session._sweep is first
        soon = made.session.call("soon", [], 0.01)
        with pytest.raises(CallTimeout):
            await asyncio.wait_for(soon, 20)
        assert not late.done()
        assert not later.done()
        assert made.session._sweep.when() == min(c.deadline for c in made.session._peer.pending.values())
    for lost in (late, later):
        with pytest.raises(NotConnected):
            await lost


async def test_a_call_given_up_leaves_nothing_behind_and_its_answer_is_ignored():
    async with pair() as (made, sock):
        given_up, waited = made.session.call("a", [], 5.0), made.session.call("b", [], 0.01)
        given_up.cancel()
        sock.send(msgpack.packb([1, 0, None, "too late"]))
        with pytest.raises(CallTimeout):
            await waited
        assert given_up.cancelled()
        assert made.session._peer.pending == {}
        assert made.session._sweep is None
    assert made.failures.counts == {}


async def test_a_call_given_up_before_the_connection_is_lost():
    async with pair() as (made, sock):
        given_up, waiting = made.session.call("a", [], 5.0), made.session.call("b", [], 5.0)
        given_up.cancel()
        sock.close()
        with pytest.raises(NotConnected):
            await waiting
        assert given_up.cancelled()


async def test_the_sweep_also_takes_what_was_given_up():
    async with pair() as (made, _):
        given_up, waited = made.session.call("a", [], 5.0), made.session.call("b", [], 0.01)
        given_up.cancel()
        with pytest.raises(CallTimeout):
            await waited
        assert made.session._peer.pending == {}


async def test_a_lost_connection_fails_every_call_and_ends_every_task():
    async with pair() as (made, sock):
        waiting = made.session.call("generate", [], 5.0)
        cancelled = asyncio.Event()

        async def work():
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        made.session.own(work())
        await asyncio.sleep(0)
        sock.close()
        with pytest.raises(NotConnected):
            await waiting
        await cancelled.wait()
        with pytest.raises(NotConnected):
            await made.session.call("generate", [], 5.0)
        made.session.event(b"nobody")
        made.session.respond(1, "nobody")
        made.session.close()
        made.session.abort()


async def test_p10_an_answer_to_no_call_is_counted_at_once_and_never_answered():
    async with pair() as (made, sock):
        sock.send(msgpack.packb([1, 99, None, None]) + msgpack.packb([1, 99, [1, "x"], None]))
        await until(lambda: made.failures.counts)
        assert made.failures.counts == {"peer: answer to no call": 2}
        with pytest.raises(BlockingIOError):
            sock.recv(1)


async def test_p11_beyond_64_calls_in_flight_a_call_is_answered_too_many():
    async with talking() as (made, peer):
        waiting = [asyncio.create_task(peer.call("never")) for _ in range(64)]
        await until(lambda: len(made.heard) == 64)
        for _ in range(2):
            with pytest.raises(Exception, match="more than 64 calls in flight"):
                await peer.call("echo")
        assert made.failures.counts == {"peer: too many calls": 2}
        made.session.respond(made.heard[0].msgid, "now")
        assert await waiting[0] == "now"
        assert await peer.call("echo") == "heard"
        for task in waiting[1:]:
            task.cancel()


async def test_p11_a_peer_that_does_not_read_is_cut_off_at_four_mebibytes():
    async with pair() as (made, _):
        sent = 0
        while made.session._transport is not None and sent < 64:
            made.session.send(bytes(1 << 20))
            sent += 1
            await asyncio.sleep(0)
        assert sent < 8
        assert made.failures.counts == {"peer: slow reader": 1}


async def test_p11_a_slow_subscriber_loses_events_and_is_told_how_many():
    async with pair() as (made, sock):
        event = msgpack.packb([2, "event", [{"type": "line", "text": "x" * 60_000}]])
        for _ in range(50):
            made.session.event(event)
        assert (
            module.EVENT_BYTES
            < made.session._transport.get_write_buffer_size()
            < module.EVENT_BYTES + 2 * len(event)
        )
        loop, unpacker, seen = asyncio.get_running_loop(), msgpack.Unpacker(), []
        while made.session._transport.get_write_buffer_size():
            unpacker.feed(await loop.sock_recv(sock, 1 << 20))
            seen += unpacker
        made.session.event(event)
        while len(seen) < 2 or seen[-2][2][0]["type"] != "lost":
            unpacker.feed(await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), 20))
            seen += unpacker
        lost = seen[-2][2][0]["count"]
    assert lost > 0
    assert len(seen) - 1 + lost == 51
    assert made.failures.counts == {}


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [
        (b"\xc1", "Malformed", 8),
        (msgpack.packb(5), "Malformed", 8),
        (b"\x93\x02\xa1x\xdb\x40\x00\x00\x00", "MessageTooLarge", 7),  # 1 GiB announced
        (b"\x91" * 10_000, "Malformed", 8),
    ],
)
async def test_p11_a_breach_is_told_counted_and_ends_this_connection_alone(data, kind, code):
    async with talking() as (made, peer):
        peer.send(data)
        await peer.closed()
        method, [told, _text] = peer.told.get_nowait()
    assert (method, told) == ("error", code)
    assert made.failures.counts == {f"peer: {kind}": 1}


async def test_half_a_frame_costs_nothing_and_waits_for_its_end():
    async with pair() as (made, sock):
        frame = msgpack.packb([0, 1, "echo", []])
        sock.send(frame[:3])
        await asyncio.sleep(0.01)
        assert made.heard == []
        sock.send(frame[3:])
        assert msgpack.unpackb(await asyncio.get_running_loop().sock_recv(sock, 100)) == [1, 1, None, "heard"]


async def test_close_flushes_and_cuts_off_who_does_not_take_it(monkeypatch):
    monkeypatch.setattr(module, "GRACE_S", 0.05)
    async with pair() as (made, _):
        made.session.send(bytes(3 << 20))
        made.session.close()
        await made.lost.wait()  # nobody has read
    async with talking() as (made, peer):
        made.session.send(msgpack.packb([2, "bye", []]))
        made.session.close()
        await peer.closed()
        assert peer.told.get_nowait() == ("bye", [])


class Written:
    """A transport that notes the size of each write."""

    def __init__(self, transport):
        self._transport, self.sizes = transport, []

    def write(self, data):
        self.sizes.append(len(data))
        self._transport.write(data)

    def __getattr__(self, name):
        return getattr(self._transport, name)


@pytest.mark.parametrize("answer", [b"", b"x" * 1000, b"x" * (module.HELD_BYTES + 1)], ids=len)
async def test_p11_the_answers_to_one_chunk_go_out_together_but_never_too_many_of_them(answer, monkeypatch):
    """A write each would cost asyncio's own transport the square of them; all in one, the daemon's memory."""
    count = 60
    async with pair() as (made, sock):
        made.session._transport = written = Written(made.session._transport)
        monkeypatch.setattr(
            made.session, "_dispatch", lambda session, asked: session.respond(asked.msgid, answer)
        )
        made.session.data_received(b"".join(msgpack.packb([0, n, "a", []]) for n in range(count)))
        each = len(msgpack.packb([1, 0, None, answer]))
        assert max(written.sizes) <= max(module.HELD_BYTES + 2 * each, each)
        assert len(written.sizes) <= count * each // module.HELD_BYTES + 1
        unpacker, got = msgpack.Unpacker(), []
        async with asyncio.timeout(20):
            while len(got) < count:
                unpacker.feed(await asyncio.get_running_loop().sock_recv(sock, 1 << 20))
                got += [message[1] for message in unpacker]
        assert got == list(range(count))
        made.session.respond(0, answer)  # later, it is not held
        assert len(await asyncio.get_running_loop().sock_recv(sock, 1 << 20)) > 0


async def test_what_is_held_goes_out_before_the_end(monkeypatch):
    async with pair() as (made, sock):

        def refuse(session, asked):
            session.fail(asked.msgid, 3, "no")
            session.close()

        monkeypatch.setattr(made.session, "_dispatch", refuse)
        made.session.data_received(msgpack.packb([0, 7, "a", []]))
        assert msgpack.unpackb(await asyncio.get_running_loop().sock_recv(sock, 1 << 20)) == [
            1,
            7,
            [3, "no"],
            None,
        ]
