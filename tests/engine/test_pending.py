"""The task of the pending work: it forgets nothing, and retries failures with growing pauses."""

import asyncio

import pytest

from dreamd.engine.pending import PAUSE_FIRST_S, PAUSE_MOST_S, Pause, Pending
from dreamd.errors import StoreUnavailable
from dreamd.failures import Failures
from tests.helpers.daemons.in_loop import TestClock
from tests.helpers.waiting import until_on_loop


class Work:
    """Pending work that a test does by hand."""

    def __init__(self):
        self.time = TestClock()
        self.failures = Failures(self.time.clock)
        self.attempts = 0
        self.result = True
        self.hold = asyncio.Event()
        self.hold.set()
        self.due = False
        self.pending = Pending(self.work, lambda: self.due, self.time.clock, self.failures)

    async def work(self):
        self.attempts += 1
        await self.hold.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def test_keeps_work_that_was_added_during_an_attempt():
    """A flag that is set from the result of an attempt loses what was added while it ran."""
    work = Work()
    running = asyncio.create_task(work.pending.run())
    work.hold.clear()
    work.pending.add()
    await until_on_loop(lambda: work.attempts == 1)
    work.pending.add()
    work.hold.set()
    await until_on_loop(lambda: work.attempts == 2)
    await work.pending.wait_idle(20)
    assert not work.pending.left
    running.cancel()


async def test_each_failure_doubles_the_pause_and_no_wake_ends_it():
    work = Work()
    work.result = False
    pauses = []
    for _ in range(12):
        await work.pending.attempt()
        attempts, waited = work.attempts, 0.0
        while work.attempts == attempts:
            work.time.pass_s(PAUSE_FIRST_S)
            waited += PAUSE_FIRST_S
            work.pending.add()
            await work.pending.attempt()
        pauses.append(waited)
        work.pending._pause = work.pending._pause  # the attempt that ended the pause failed as well
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_MOST_S
    assert work.pending.left


async def test_retry_ends_the_pause():
    work = Work()
    work.result = StoreUnavailable("locked", "")
    await work.pending.attempt()
    assert work.failures.counts == {"store: locked": 1}
    work.result = True
    await work.pending.attempt()
    assert work.attempts == 1
    work.pending.retry()
    await work.pending.attempt()
    assert (work.attempts, work.pending.left) == (2, False)


async def test_p10_a_fault_is_reported_and_retried(caplog):
    work = Work()
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    work.result = ZeroDivisionError()
    await work.pending.attempt()
    assert told == [work.result]
    assert work.pending.left


async def test_does_due_work_when_it_is_woken():
    work = Work()
    await work.pending.attempt()
    running = asyncio.create_task(work.pending.run())
    work.pending.wake()
    await work.pending.wait_idle(20)
    assert work.attempts == 1
    work.due = True
    work.pending.wake()
    await until_on_loop(lambda: work.attempts == 2)
    running.cancel()


@pytest.mark.parametrize("patience_s", [0.0, 0.01])
async def test_wait_idle_gives_up_on_a_hanging_attempt(patience_s):
    work = Work()
    work.hold.clear()
    attempt = asyncio.create_task(work.pending.attempt())
    await until_on_loop(lambda: work.attempts)
    await work.pending.wait_idle(patience_s)
    assert not attempt.done()
    attempt.cancel()
    await asyncio.gather(attempt, return_exceptions=True)


def test_pause_doubles_up_to_its_bound():
    pause = Pause()
    assert pause.over(5.0)
    pause.failed(5.0)
    assert not pause.over(5.0 + PAUSE_FIRST_S / 2)
    assert pause.over(5.0 + PAUSE_FIRST_S)


async def test_a_fault_in_the_work_is_reported_and_tried_again():
    work, faults = Work(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    work.result = RuntimeError("a bug")
    running = asyncio.create_task(work.pending.run())
    work.pending.wake()
    await until_on_loop(lambda: faults == [work.result] or running.done())
    work.result = True
    work.pending.retry()
    await until_on_loop(lambda: work.attempts == 2 or running.done())
    assert not running.done()
    running.cancel()
