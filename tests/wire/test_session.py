"""One connection, over a real pair of sockets: routing, deadlines, bounds, and its end."""

import asyncio
import socket
from itertools import pairwise

import msgpack
import pytest
import uvloop
from dreamclient.errors import CallTimeout, NotConnected, RemoteError
from dreamclient.protocol.rpc import Notification, Request

from dreamd.wire import session as module
from dreamd.wire.turns import ROUND_EVENTS
from tests.helpers.connection import pair, talking
from tests.helpers.waiting import until_on_loop


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
        first = made.session._calls._sweep
        later = made.session.call("later", [], 60.0)
        assert made.session._calls._sweep is first
        soon = made.session.call("soon", [], 0.01)
        with pytest.raises(CallTimeout):
            await asyncio.wait_for(soon, 20)
        assert not late.done()
        assert not later.done()
        assert made.session._calls._sweep.when() == min(
            c.deadline for c in made.session._peer.pending.values()
        )
    for lost in (late, later):
        with pytest.raises(NotConnected):
            await lost


async def test_a_cancelled_call_leaves_nothing_and_its_answer_is_ignored():
    async with pair() as (made, sock):
        given_up, waited = made.session.call("a", [], 5.0), made.session.call("b", [], 0.01)
        given_up.cancel()
        sock.send(msgpack.packb([1, 0, None, "too late"]))
        with pytest.raises(CallTimeout):
            await waited
        assert given_up.cancelled()
        assert made.session._peer.pending == {}
        assert made.session._calls._sweep is None
    assert made.failures.counts == {}


async def test_a_call_may_be_cancelled_before_the_connection_is_lost():
    async with pair() as (made, sock):
        given_up, waiting = made.session.call("a", [], 5.0), made.session.call("b", [], 5.0)
        given_up.cancel()
        sock.close()
        with pytest.raises(NotConnected):
            await waiting
        assert given_up.cancelled()


async def test_the_timer_also_removes_cancelled_calls():
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
        made.session.event(b"unread")
        made.session.respond(1, "unread")
        made.session.close()
        made.session.abort()


async def test_p10_an_answer_to_no_call_is_counted_at_once_and_never_answered():
    async with pair() as (made, sock):
        sock.send(msgpack.packb([1, 99, None, None]) + msgpack.packb([1, 99, [1, "x"], None]))
        await until_on_loop(lambda: made.failures.counts)
        assert made.failures.counts == {"peer: answer to no call": 2}
        with pytest.raises(BlockingIOError):
            sock.recv(1)


async def test_p11_answers_too_many_beyond_64_calls_in_flight():
    async with talking() as (made, peer):
        waiting = [asyncio.create_task(peer.call("never")) for _ in range(64)]
        await until_on_loop(lambda: len(made.heard) == 64)
        for _ in range(2):
            with pytest.raises(Exception, match="more than 64 calls in flight"):
                await peer.call("echo")
        assert (made.failures.refusals, made.failures.counts) == ({"peer: too many calls": 2}, {})
        made.session.respond(made.heard[0].msgid, "now")
        assert await waiting[0] == "now"
        assert await peer.call("echo") == "heard"
        for task in waiting[1:]:
            task.cancel()


def asking_much(count):
    """Return this many requests, each of which is answered with 300 KB."""
    return b"".join(msgpack.packb([0, n, "much", []]) for n in range(count))


async def clogged(made, sock, count=64):
    """Ask for more than the peer reads, until nothing more is read from it; how many answers have been made."""
    made.answer = "x" * 300_000
    await asyncio.get_running_loop().sock_sendall(sock, asking_much(count))
    await until_on_loop(lambda: not made.session._caught_up.is_set())
    return len(made.heard)


LOOPS = pytest.mark.parametrize(
    "loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


@LOOPS
def test_p11_a_peer_is_not_read_from_until_it_has_read(loop_factory):
    """Each of the 64 calls that it may have in flight is answered, even if the answers are large together."""

    async def talk():
        async with pair() as (made, sock):
            loop, unpacker, got = asyncio.get_running_loop(), msgpack.Unpacker(max_buffer_size=0), []
            made_first = await clogged(made, sock)
            assert made_first * 300_000 < module.UNSENT_BYTES + 600_000
            await loop.sock_sendall(sock, asking_much(1))  # stays in the socket
            await asyncio.sleep(0.01)
            assert len(made.heard) == made_first
            async with asyncio.timeout(20):
                while len(got) < 65:
                    unpacker.feed(await loop.sock_recv(sock, 1 << 20))
                    got += [message[1] for message in unpacker]
                    unsent = made.session._transport.get_write_buffer_size()
                    assert unsent < module.UNSENT_BYTES + 600_000
            assert got == [*range(64), 0]
            made.session.tick()
            assert made.failures.counts == {}

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(talk())


@LOOPS
def test_p11_no_session_is_read_from_for_long_at_a_time(loop_factory):
    """A chunk is read in rounds, in order. Other sessions get their turn between the rounds."""
    count = 4 * ROUND_EVENTS + 7

    async def talk():
        async with pair() as (made, sock):
            rounds = []
            take = made.session._take

            def noted(*events):
                before = len(made.heard)
                take(*events)
                rounds.append(len(made.heard) - before)

            made.session._take = noted
            sock.setblocking(False)
            data = b"".join(msgpack.packb([2, f"{n}", []]) for n in range(count))
            made.session.data_received(data)
            await asyncio.get_running_loop().sock_sendall(sock, msgpack.packb([2, "last", []]))
            sock.shutdown(socket.SHUT_WR)
            await until_on_loop(lambda: made.heard and made.heard[-1].method == "last")
            assert [message.method for message in made.heard] == [*map(str, range(count)), "last"]
            assert max(rounds) <= ROUND_EVENTS
            await made.lost.wait()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(talk())


async def test_p11_a_turn_begins_one_task(monkeypatch):
    """The tasks of many calls take their time in as many rounds of the loop."""
    async with pair() as (made, _):
        never = asyncio.Event()
        monkeypatch.setattr(made.session, "_dispatch", lambda session, _: session.own(never.wait()))
        made.session.data_received(b"".join(msgpack.packb([0, n, "later", []]) for n in range(9)))
        begun = [0]
        for _ in range(1000):
            await asyncio.sleep(0)
            begun.append(len(made.session._tasks))
            if begun[-1] == 9:
                break
        assert begun[-1] == 9
        assert max(later - sooner for sooner, later in pairwise(begun)) == 1


async def test_serves_nothing_after_the_connection_is_lost():
    async with pair() as (made, _):
        made.session.data_received(msgpack.packb([2, "x", []]) * (2 * ROUND_EVENTS + 1))
        made.session.abort()
        await made.lost.wait()
        served = len(made.heard)
        for _ in range(3):
            await asyncio.sleep(0)
        assert len(made.heard) == served <= ROUND_EVENTS  # of a turn that came before the loop knew


async def test_p11_ends_a_peer_that_reads_nothing_but_not_a_slow_one(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)  # each tick finds that time is up
    async with pair() as (made, sock):
        await clogged(made, sock)
        made.session.tick()
        for _ in range(3):
            left = made.session._transport.get_write_buffer_size()
            while made.session._transport.get_write_buffer_size() == left:  # what the kernel holds goes first
                await asyncio.get_running_loop().sock_recv(sock, 1 << 16)
                await asyncio.sleep(0)
            made.session.tick()
        assert made.failures.counts == {}
        made.session.tick()
        await made.lost.wait()
        assert made.failures.counts == {"peer: slow reader": 1}


async def test_p11_an_answer_of_a_task_waits_until_the_peer_has_read():
    async with pair() as (made, sock):
        await clogged(made, sock)
        answered = []

        async def answer(number):
            await made.session.caught_up()
            made.session.send(bytes(module.UNSENT_BYTES + 1))
            answered.append(number)

        for number in range(2):
            made.session.own(answer(number))
        await asyncio.sleep(0.01)
        assert answered == []
        while len(answered) < 2:
            assert await asyncio.get_running_loop().sock_recv(sock, 1 << 20)
            assert made.session._transport.get_write_buffer_size() < 3 * module.UNSENT_BYTES


@pytest.mark.parametrize(
    ("sent", "greeted", "kind", "code"),
    [
        (b"", False, "no hello", 9),
        (msgpack.packb([2, "x", []]), False, "no hello", 9),
        (b"\x94\x00", False, "unfinished message", 8),
        (b"\x94\x00", True, "unfinished message", 8),
        (b"\x93\x02\xa1x\x91\xc6\x00\x08\x00\x00" + bytes(100_000), True, "unfinished message", 8),
    ],
)
async def test_p11_a_session_waits_for_hello_and_for_messages_until_a_deadline(
    monkeypatch, sent, greeted, kind, code
):
    """A peer that never says hello, or sends a message byte by byte, keeps its place for a limited time."""
    async with talking() as (made, peer):
        made.session.greeted = greeted
        peer.send(sent)
        await until_on_loop(lambda: made.session._peer.messages or made.session._peer.unfinished or not sent)
        await peer.writer.drain()
        made.session.tick()
        made.session.tick()
        assert made.failures.counts == {}
        monkeypatch.setattr(module, "PATIENCE_S", 0.0)
        peer.send(sent[:1] if made.session._peer.unfinished else b"")  # one byte more is no progress
        await asyncio.sleep(0.01)
        made.session.tick()
        await peer.closed()
        assert peer.told.get_nowait() == ("error", [code, f"{kind} within 0 s"])
        assert made.failures.counts == {f"peer: {kind}": 1}


async def test_a_session_that_has_said_hello_may_be_silent(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    async with talking() as (made, peer):
        made.session.greeted = True
        for _ in range(3):
            made.session.tick()
        assert await peer.call("echo") == "heard"
        assert made.failures.counts == {}


async def test_a_peer_that_asks_without_a_hello_makes_progress(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    async with talking() as (made, peer):
        for _ in range(3):
            assert await peer.call("echo") == "heard"
            made.session.tick()
        made.session.own(asyncio.Event().wait())  # and while something is done for it, it is not waited for
        for _ in range(3):
            made.session.tick()
        assert made.failures.counts == {}


@LOOPS
@pytest.mark.parametrize("size", [10, 3 << 20], ids=["small", "large"])
def test_a_peer_that_has_closed_its_sending_half_gets_its_answers(loop_factory, size):
    """`socat` and `nc -N` close it when their input ends."""

    async def talk():
        async with pair() as (made, sock):
            loop = asyncio.get_running_loop()
            called = made.session.call("generate", [], 60.0)
            done = asyncio.Event()

            async def answer(msgid):
                await done.wait()
                await made.session.caught_up()
                made.session.send(msgpack.packb([1, msgid, None, "x" * size]))

            made.session._dispatch = lambda session, asked: session.own(answer(asked.msgid))
            sock.send(b"".join(msgpack.packb([0, n, "later", []]) for n in range(3)))
            sock.shutdown(socket.SHUT_WR)
            with pytest.raises(NotConnected):
                await called  # it has no answer any more
            with pytest.raises(NotConnected):
                await made.session.call("generate", [], 60.0)
            done.set()
            unpacker = msgpack.Unpacker(max_buffer_size=0)
            async with asyncio.timeout(20):
                while data := await loop.sock_recv(sock, 1 << 20):
                    unpacker.feed(data)
            assert [message[1] for message in unpacker] == [0, 0, 1, 2]  # our call, and the answers
            await made.lost.wait()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(talk())


@LOOPS
def test_closes_at_once_if_the_peer_has_gone(loop_factory):
    async def talk():
        async with pair() as (made, sock):
            made.session._dispatch = lambda session, _: session.own(asyncio.Event().wait())
            sock.send(msgpack.packb([0, 1, "later", []]))
            await until_on_loop(lambda: made.session._tasks)
            sock.close()
            await asyncio.wait_for(made.lost.wait(), 20)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(talk())


async def test_p11_a_half_closed_peer_that_does_not_read_is_cut_off(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0.0)
    async with pair() as (made, sock):
        made.session._dispatch = lambda session, asked: session.send(bytes(1 << 20))
        sock.send(msgpack.packb([0, 1, "much", []]))
        sock.shutdown(socket.SHUT_WR)
        await until_on_loop(lambda: made.session._half_closed)
        for _ in range(2):
            made.session.tick()
        await made.lost.wait()
        assert made.failures.counts == {"peer: slow reader": 1}


@pytest.mark.parametrize("close", ["close", "abort"])
async def test_p11_a_call_ends_with_its_connection(close, monkeypatch):
    """A fault before an answer in one chunk leaves no call without an end."""
    async with pair() as (made, sock):

        def broken(session, asked):
            getattr(session, close)()
            raise RuntimeError(asked)

        monkeypatch.setattr(made.session, "_dispatch", broken)
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        calls = [made.session.call("generate", [], 60.0) for _ in range(2)]
        answers = [msgpack.packb([1, n, None, "line"]) for n in range(2)]
        sock.send(answers[0] + msgpack.packb([2, "x", []]) + answers[1])
        assert msgpack.unpackb(await calls[0]) == "line"
        with pytest.raises(NotConnected):
            await asyncio.wait_for(calls[1], 20)


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
@pytest.mark.parametrize("greeted", [False, True])
async def test_p11_a_breach_is_told_counted_and_ends_this_connection_alone(data, kind, code, greeted):
    """A breach before hello is not counted as a failure of the daemon: it is a stranger's, and he was told."""
    async with talking() as (made, peer):
        made.session.greeted = greeted
        peer.send(data)
        await peer.closed()
        method, [told, text] = peer.told.get_nowait()
    assert (method, told) == ("error", code)
    assert ("nests too deep" in text) == data.startswith(b"\x91")
    counted, other = made.failures.counts, made.failures.refusals
    assert (counted, other) == (({f"peer: {kind}": 1}, {}) if greeted else ({}, {f"peer: {kind}": 1}))


async def test_p10_status_says_what_was_wrong_with_an_answer_that_ends_the_connection():
    """The peer cannot be told: an answer is never answered."""
    async with talking() as (made, peer):
        made.session.greeted = True
        peer.send([1, 0.0, None, "secret words"])
        await peer.closed()
        assert peer.told.empty()
    [failure] = made.failures.last
    assert failure["where"] == "peer (msgid is no integer from 0 to 4294967295)"


async def test_half_a_frame_waits_for_its_end():
    async with pair() as (made, sock):
        frame = msgpack.packb([0, 1, "echo", []])
        sock.send(frame[:3])
        await asyncio.sleep(0.01)
        assert made.heard == []
        sock.send(frame[3:])
        assert msgpack.unpackb(await asyncio.get_running_loop().sock_recv(sock, 100)) == [1, 1, None, "heard"]


async def test_close_flushes_and_cuts_off_a_peer_that_does_not_read(monkeypatch):
    monkeypatch.setattr(module, "GRACE_S", 0.05)
    async with pair() as (made, _):
        made.session.send(bytes(3 << 20))
        made.session.close()
        await made.lost.wait()  # the peer has read nothing
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
    """A write for each answer would cost asyncio's transport quadratic time. One write for all would cost memory."""
    count = 100
    async with pair() as (made, sock):
        made.session._transport = written = Written(made.session._transport)
        monkeypatch.setattr(
            made.session, "_dispatch", lambda session, asked: session.respond(asked.msgid, answer)
        )
        made.session.data_received(b"".join(msgpack.packb([0, n, "a", []]) for n in range(count)))
        made.session.take_turn()
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


async def test_sends_held_answers_before_the_end(monkeypatch):
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
