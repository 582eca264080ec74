"""Turns: no session waits for a flood, each that floods has an equal share, and after each round the loop rests."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from itertools import pairwise

import msgpack
import pytest

from dreamd.clock import Clock
from dreamd.wire import turns as module
from dreamd.wire.turns import REST_S, ROUND_EVENTS, ROUND_S, SHARE, Turns
from tests.helpers.connection import pair

EVENT_S = 0.00005  # a context
FLOODERS = 7


class VirtualLoop:
    """A loop whose time passes only in its callbacks and between them."""

    def __init__(self):
        self.now, self.due = 0.0, []

    def call_soon(self, callback):
        self.due.append((self.now, callback))

    def call_later(self, delay_s, callback):
        self.due.append((self.now + delay_s, callback))

    def run(self, until):
        while self.due and self.now < until:
            at, callback = self.due.pop(0)
            self.now = max(self.now, at)
            callback()


class Flooder:
    """Something that always has more."""

    def __init__(self, name, turns, loop, served, events=10**9):
        self.name, self.turns, self.loop, self.served, self.events = name, turns, loop, served, events

    def take_turn(self):
        while self.events:
            self.events -= 1
            self.loop.now += EVENT_S
            self.served.append((self.loop.now, self.name))
            if self.turns.is_over():
                self.turns.wait(self)
                break


@pytest.fixture
def loop(monkeypatch):
    made = VirtualLoop()
    monkeypatch.setattr(module.asyncio, "get_running_loop", lambda: made)
    return made


def flooded(loop, count, others=1, **more):
    turns, served = Turns(Clock(monotonic=lambda: loop.now), range(count + others)), []
    for name in range(count):
        turns.wait(Flooder(name, turns, loop, served, **more))
    return turns, served


def test_p11_floods_have_equal_shares_in_short_rounds_of_a_part_of_the_time(loop):
    _, served = flooded(loop, FLOODERS)
    loop.run(10.0)
    counts = Counter(name for _, name in served)
    assert max(counts.values()) - min(counts.values()) <= 2 * ROUND_S / EVENT_S
    assert len(served) * EVENT_S == pytest.approx(10.0 * SHARE, rel=0.05)
    rests = [b - a - EVENT_S for a, b in pairwise(at for at, _ in served)]
    assert len(served) / len([rest for rest in rests if rest > ROUND_S]) <= ROUND_S / EVENT_S + 1
    assert max(rests) <= REST_S


def test_those_that_are_alone_have_all_of_the_time(loop):
    _, served = flooded(loop, 2, others=0)
    loop.run(1.0)
    assert len(served) * EVENT_S == pytest.approx(1.0, rel=0.01)


def test_p11_a_task_counts_as_long_as_it_takes(loop):
    turns, served = flooded(loop, 0, others=2)

    class Asks(Flooder):
        def take_turn(self):
            self.loop.now += EVENT_S
            self.served.append((self.loop.now, self.name))
            self.turns.end()
            assert self.turns.is_over()
            self.turns.wait(self)

    turns.wait(Asks("asks", turns, loop, served))
    loop.run(10.0)
    assert len(served) * (EVENT_S + module.TASK_S) == pytest.approx(10.0 * SHARE, rel=0.01)


def test_p11_a_short_flood_after_a_quiet_time_rests_after_its_first_round(loop):
    """Many clients that come and go would have no long flood among them, and take all of the time."""
    _, served = flooded(loop, 2, events=6)
    loop.run(10.0)
    rests = [b - a - EVENT_S for a, b in pairwise(at for at, _ in served)]
    assert [rest for rest in rests if rest > 0.0001] == [pytest.approx(ROUND_S / SHARE - ROUND_S)]
    assert not loop.due  # no session waits, so no round is due


def test_a_round_in_which_the_machine_stood_still_costs_one_short_rest(loop):
    turns, served = flooded(loop, 1)
    stalled = Flooder("stalled", turns, loop, served)
    stalled.take_turn = lambda: setattr(loop, "now", loop.now + 5.0)
    turns.wait(stalled)
    loop.run(5.0)
    [(at, _)] = loop.due
    assert at - loop.now <= REST_S + 1e-9


def test_a_session_has_one_turn_however_often_it_waits(loop):
    turns, served = flooded(loop, 1, events=3)
    for _ in range(5):
        turns.wait(next(iter(turns._waiting)))
    assert (len(turns._waiting), len(loop.due)) == (1, 1)
    loop.run(1.0)
    assert len(served) == 3


def test_a_session_whose_turn_fails_ends_and_holds_up_no_other(loop):
    turns, ended, served = Turns(Clock(monotonic=lambda: loop.now)), [], []

    class Fails(Flooder):
        def take_turn(self):
            raise MemoryError

        def abort(self):
            ended.append(self.name)

    turns.wait(Fails("fails", turns, loop, served))
    turns.wait(Flooder("other", turns, loop, served, events=3))
    with pytest.raises(MemoryError):
        loop.run(1.0)
    loop.run(1.0)
    assert (ended, len(served)) == (["fails"], 3)


def test_a_task_ends_the_round(loop):
    _, served = flooded(loop, 1)
    loop.due.pop(0)[1]()
    assert len(served) == pytest.approx(ROUND_S / EVENT_S)

    class Asks(Flooder):
        def take_turn(self):
            self.served.append((self.loop.now, self.name))
            self.turns.end()
            assert self.turns.is_over()

    turns, served = Turns(Clock(monotonic=lambda: loop.now)), []
    for name in range(2):
        turns.wait(Asks(name, turns, loop, served))
    loop.due.pop()[1]()
    assert len(served) == 1


async def test_p11_no_answer_of_a_hook_waits_behind_more_than_one_round_of_a_flood():
    """Seven clients have sent 20,000 messages. Then an answer comes, and another one, as in a dialogue."""
    turns = Turns(Clock(monotonic=lambda: 0.0))  # rounds of ROUND_EVENTS
    async with AsyncExitStack() as stack:
        made, sock = await stack.enter_async_context(pair())
        flooders = [(await stack.enter_async_context(pair()))[0] for _ in range(FLOODERS)]
        data = b"".join(msgpack.packb([2, "x", []]) for _ in range(20_000))
        for flooder in flooders:
            flooder.session._turns = turns
            flooder.session.data_received(data)
        for number in range(5):
            calling = made.session.call("generate", [], 60.0)
            served = sum(len(flooder.heard) for flooder in flooders)
            assert served < FLOODERS * 20_000
            made.session.data_received(msgpack.packb([1, number, None, "line"]))
            assert calling.done()  # settled as it was read
            await calling
            assert sum(len(flooder.heard) for flooder in flooders) - served <= ROUND_EVENTS
            sock.setblocking(False)
        await asyncio.sleep(0)
