"""When a hook may touch the field. Threads wait for one another by events; nothing sleeps."""

import asyncio
import contextlib
import os
import random
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from dreamclient.leo import turns as field_turns
from dreamclient.leo.turns import LoopTurns, NoTurn, ThreadTurns

DEADLINE_S = 20


@pytest.fixture
def hook():
    """Calls something on the hooks' thread."""
    with ThreadPoolExecutor(1) as thread:
        yield thread.submit


def until(condition) -> None:
    """Wait for another thread to come so far; it is on its way."""
    limit = threading.Event()
    for _ in range(20000):
        if condition():
            return
        limit.wait(0.001)
    raise AssertionError("it did not come to that")


@contextlib.contextmanager
def hook_that_waits(turns, hook, work):
    """For the step of the loop in which it has its turn. What it raises is raised on its own thread, too."""
    asked = hook(turns.take, work)
    until(lambda: turns._asked)
    yield
    assert isinstance(asked.exception(DEADLINE_S), SystemExit)


def test_a_hook_has_its_turn_at_once_while_leo_is_idle(hook):
    assert hook(ThreadTurns().take, lambda: 7).result(DEADLINE_S) == 7


def test_a_hook_waits_while_leo_is_in_a_call_within_a_call(hook):
    turns, order = ThreadTurns(), []
    assert turns.enter() is True
    assert turns.enter() is False
    asked: Future = hook(turns.take, lambda: order.append("hook"))
    until(lambda: turns._waiting)
    turns.leave()
    order.append("leo")
    turns.leave()
    asked.result(DEADLINE_S)
    assert order == ["leo", "hook"]


def test_who_waits_gets_one_fair_turn_between_two_calls(hook):
    """Leo, who begins his next call at once, waits for that turn, and for that one only."""
    turns, order = ThreadTurns(), []
    for round_ in range(50):
        turns.enter()
        asked = hook(turns.take, lambda n=round_: order.append(f"hook {n}"))
        until(lambda: turns._waiting)
        turns.leave()
        turns.enter()
        order.append(f"leo {round_}")
        turns.leave()
        asked.result(DEADLINE_S)
    assert order == [f"{who} {n}" for n in range(50) for who in ("hook", "leo")]


def test_two_threads_of_leos_never_wait_for_one_another(hook):
    turns = ThreadTurns()
    turns.enter()
    assert hook(turns.enter).result(DEADLINE_S) is True
    hook(turns.leave).result(DEADLINE_S)
    turns.leave()
    assert turns.take(lambda: "free") == "free"


def test_a_hook_that_never_gets_a_turn_gives_up(hook):
    turns = ThreadTurns(hook_waits_s=0.01)
    turns.enter()
    with pytest.raises(NoTurn):
        hook(turns.take, lambda: None).result(DEADLINE_S)
    turns.leave()
    assert turns.take(lambda: 1) == 1


def test_a_field_that_is_not_loaded_gives_no_turn(hook):
    loaded = []
    turns = ThreadTurns(lambda: bool(loaded))
    asked = hook(turns.take, lambda: "turn")
    until(lambda: turns._waiting)
    turns.enter()
    turns.leave()
    assert not asked.done()
    turns.enter()
    loaded.append(1)
    turns.leave()
    assert asked.result(DEADLINE_S) == "turn"


def test_leo_overtakes_a_hook_that_hangs_and_keeps_his_own_chance(hook, monkeypatch):
    monkeypatch.setattr(field_turns, "LEO_WAITS_S", 0.01)
    turns, running, end = ThreadTurns(), threading.Event(), threading.Event()
    asked = hook(turns.take, lambda: (running.set(), random.random(), end.wait(DEADLINE_S)))
    running.wait(DEADLINE_S)
    turns.enter()
    drawn = random.random()
    turns.leave()
    monkeypatch.setattr(field_turns, "LEO_WAITS_S", DEADLINE_S * 2)
    began = time.monotonic()
    turns.enter()  # he has waited once
    turns.leave()
    assert time.monotonic() - began < DEADLINE_S / 2
    after = random.getstate()
    end.set()
    asked.result(DEADLINE_S)
    assert random.getstate() == after
    assert drawn != random.random()


@pytest.mark.parametrize("work", [random.random, lambda: random.seed(1), lambda: random.random() / 0])
def test_chance_is_as_it_was_after_a_turn(work):
    """P1: the global random decides leo's replies."""
    before = random.getstate()
    with contextlib.suppress(ZeroDivisionError):
        ThreadTurns().take(work)
    assert random.getstate() == before


async def test_no_turn_draws_what_the_last_one_drew(hook):
    """While leo is silent his own state stands still; lines that started from it would be all alike."""
    loop = LoopTurns(asyncio.Lock())
    loop.note_loop()
    threads = ThreadTurns()
    drawn = [await asyncio.wrap_future(hook(turns.take, random.random)) for turns in (threads, loop) * 3]
    assert len(set(drawn)) == 6


def test_a_forked_child_is_not_held_by_a_turn_of_its_parents(hook):
    turns, running, end = ThreadTurns(), threading.Event(), threading.Event()
    asked = hook(turns.take, lambda: (running.set(), end.wait(DEADLINE_S)))
    running.wait(DEADLINE_S)
    with turns._changed:  # and its lock is held
        child = os.fork()
        if child == 0:
            turns.enter()
            turns.leave()
            os._exit(turns.take(lambda: 41))
    end.set()
    asked.result(DEADLINE_S)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 41


def test_a_child_forked_within_a_call_leaves_it():
    turns = ThreadTurns(hook_waits_s=0.01)
    turns.enter()
    child = os.fork()
    if child == 0:
        turns.leave()
        os._exit(turns.take(lambda: 42))
    turns.leave()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42


# on a loop


async def test_on_a_loop_a_hook_has_its_turn_at_once_while_leo_is_idle(hook):
    turns = LoopTurns(asyncio.Lock())
    turns.note_loop()
    before = random.getstate()
    thread = await asyncio.wrap_future(hook(turns.take, lambda: (random.random(), threading.get_ident())[1]))
    assert thread == threading.get_ident()
    assert random.getstate() == before


async def test_on_a_loop_a_hook_waits_for_leos_lock_and_gets_the_end_of_his_call(hook):
    lock, order = asyncio.Lock(), []
    turns = LoopTurns(lock)
    turns.note_loop()
    async with lock:
        asked = hook(turns.take, lambda: order.append("hook"))
        until(lambda: turns._asked)
        for _ in range(5):  # steps of the loop, in which it may not run
            await asyncio.sleep(0)
        order.append("leo")
    turns.serve()
    assert order == ["leo", "hook"]
    await asyncio.wrap_future(asked)


async def test_on_a_loop_what_the_work_raises_is_raised(hook):
    turns = LoopTurns(asyncio.Lock())
    turns.note_loop()
    before = random.getstate()
    for error in (ZeroDivisionError, RuntimeError):

        def fail(error=error):
            random.random()
            raise error

        with pytest.raises(error):
            await asyncio.wrap_future(hook(turns.take, fail))
    assert random.getstate() == before


async def test_on_a_loop_what_a_signal_of_leos_raises_ends_him(hook):
    """P1: his handler may run while a hook does, which is on his own thread there."""
    turns = LoopTurns(asyncio.Lock())
    turns.note_loop()
    before = random.getstate()
    with hook_that_waits(turns, hook, sys.exit), pytest.raises(SystemExit):
        turns.serve()
    assert random.getstate() == before


async def test_on_a_loop_a_hook_may_give_up_as_its_turn_comes():
    class Emptied(deque):
        def __bool__(self):
            return True

    turns = LoopTurns(asyncio.Lock())
    turns._asked = Emptied()
    before = random.getstate()
    turns.serve()
    assert random.getstate() == before


async def test_on_a_loop_a_hook_that_gave_up_is_not_run_later(hook):
    lock, done = asyncio.Lock(), []
    turns = LoopTurns(lock, hook_waits_s=0.01)
    turns.note_loop()
    async with lock:
        with pytest.raises(NoTurn):
            await asyncio.wrap_future(hook(turns.take, lambda: done.append(1)))
    turns.serve()
    assert done == []


async def test_on_a_loop_a_field_that_is_not_loaded_gives_no_turn(hook):
    turns = LoopTurns(asyncio.Lock(), lambda: False, hook_waits_s=0.01)
    turns.note_loop()
    with pytest.raises(NoTurn):
        await asyncio.wrap_future(hook(turns.take, lambda: None))


def test_a_loop_that_does_not_run_gives_no_turn(hook):
    turns = LoopTurns(None)
    with pytest.raises(NoTurn):
        hook(turns.take, lambda: None).result(DEADLINE_S)

    async def once() -> None:
        turns.note_loop()

    asyncio.run(once())
    with pytest.raises(NoTurn):
        hook(turns.take, lambda: None).result(DEADLINE_S)


def test_a_loop_that_closes_just_then_gives_no_turn(hook):
    class Closing:
        """A loop that is closed between the look at it and the call."""

        def is_running(self) -> bool:
            return True

        def is_closed(self) -> bool:
            return True

        def call_soon_threadsafe(self, call) -> None:
            raise RuntimeError("Event loop is closed")

    turns = LoopTurns(None)
    turns._loop = Closing()
    with pytest.raises(NoTurn):
        hook(turns.take, lambda: None).result(DEADLINE_S)
    assert not turns._asked
