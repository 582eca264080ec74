"""Threads for calls that hang: nothing waits for them longer than it has to."""

import sys
import threading
from concurrent.futures import CancelledError

import pytest

from dreamd.process.threads import Looker, OneThread

DEADLINE_S = 20.0


def test_calls_run_one_by_one_and_their_results_come_back():
    thread = OneThread("one")
    ran = []
    answers = [thread.submit(lambda n=n: ran.append(n) or threading.current_thread().name) for n in range(3)]
    assert [answer.result(DEADLINE_S) for answer in answers] == ["one"] * 3
    assert ran == [0, 1, 2]
    with pytest.raises(ZeroDivisionError):
        thread.submit(lambda: 1 / 0).result(DEADLINE_S)
    thread.shutdown()


def test_cancels_waiting_calls_and_finishes_the_running_one():
    thread, reached, go = OneThread("one"), threading.Event(), threading.Event()
    first = thread.submit(lambda: reached.set() or go.wait(DEADLINE_S))
    assert reached.wait(DEADLINE_S)
    cancelled, dropped = thread.submit(int), thread.submit(int)
    assert cancelled.cancel()
    go.set()
    assert first.result(DEADLINE_S) is True
    assert dropped.result(DEADLINE_S) == 0
    with pytest.raises(CancelledError):
        cancelled.result(0)
    thread.shutdown()
    OneThread("never used").shutdown()


def test_shutdown_drops_waiting_calls():
    thread, reached, go = OneThread("one"), threading.Event(), threading.Event()
    first = thread.submit(lambda: reached.set() or go.wait(DEADLINE_S))
    assert reached.wait(DEADLINE_S)
    waits = thread.submit(int)
    thread.shutdown(wait=False, cancel_futures=True)
    go.set()
    assert first.result(DEADLINE_S) is True
    thread.shutdown()
    assert waits.cancelled()  # its caller is not left waiting


def test_a_shutdown_never_waits_for_a_call_that_the_thread_takes_meanwhile():
    """An earlier version did, if the thread took the last call between two steps."""
    switched = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            thread = OneThread("one")
            for _ in range(40):
                thread.submit(int)
            ended = threading.Thread(target=lambda: thread.shutdown(wait=False, cancel_futures=True))  # noqa: B023
            ended.daemon = True
            ended.start()
            ended.join(DEADLINE_S)
            assert not ended.is_alive()
    finally:
        sys.setswitchinterval(switched)


async def test_waits_a_little_and_makes_no_second_call_beside_the_first():
    calls, hold = [], threading.Event()

    def look():
        calls.append(1)
        hold.wait(DEADLINE_S)
        return len(calls)

    looker = Looker("look", look)
    assert [await looker.ask(0.01) for _ in range(3)] == [None] * 3
    hold.set()
    assert await looker.ask(DEADLINE_S) == 1
    assert await looker.ask(DEADLINE_S) == 2
    looker.close()


async def test_raises_the_error_of_a_call_in_its_caller():
    hold = threading.Event()

    def look():
        hold.wait(DEADLINE_S)
        return 1 / 0

    looker = Looker("look", look)
    assert await looker.ask(0.0) is None
    hold.set()
    with pytest.raises(ZeroDivisionError):
        await looker.ask(DEADLINE_S)
    looker.close()
