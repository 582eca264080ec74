"""Calls of the database that are answered after their dialogue has ended."""

import asyncio
import gc

import pytest

from dreamd.errors import Refusal, StoreUnavailable
from dreamd.store.file.late_calls import LateCalls, answer_within, wait_uncancelled
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import STIRRED, completed, leo, settled
from tests.helpers.waiting import until_on_loop


async def test_knows_the_dialogue_of_a_call_until_it_has_ended():
    done, opened, goes_on = [], asyncio.Event(), []
    late = LateCalls(lambda: done.append(1 in late))

    async def work():
        await opened.wait()
        goes_on.append(True)

    with pytest.raises(StoreUnavailable, match="does not answer"):
        await late.answer(1, work(), 0.001)
    assert (1 in late, 2 in late, done) == (True, False, [])
    opened.set()
    await until_on_loop(lambda: done)
    assert (goes_on, done, 1 in late) == ([True], [False], False)


async def test_returns_an_answer_in_time_and_knows_nothing_of_it():
    late = LateCalls(lambda: None)
    assert await late.answer(1, asyncio.sleep(0, "answer"), 60) == "answer"
    assert await answer_within(asyncio.sleep(0, "answer"), 60) == "answer"
    assert 1 not in late


async def test_reports_a_fault_of_a_late_call_but_not_that_the_store_is_unavailable():
    told, opened = [], asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))

    async def fails(error):
        await opened.wait()
        raise error

    for error in (StoreUnavailable("locked", "the database is locked"), ValueError()):
        with pytest.raises(StoreUnavailable):
            await answer_within(fails(error), 0.001)
    opened.set()
    await until_on_loop(lambda: told)
    assert told == ["a late call"]


async def test_fails_silently_for_a_caller_that_was_cancelled_as_the_daemon_stops():
    told, opened = [], asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))

    async def fails():
        await opened.wait()
        raise StoreUnavailable("locked", "the database is locked")

    caller = asyncio.create_task(answer_within(fails(), 60))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    opened.set()
    await until_on_loop(lambda: len(asyncio.all_tasks()) == 1)
    gc.collect()
    assert told == []


@pytest.mark.parametrize("call", ["begin", "finish"])
async def test_a_dialogue_whose_call_is_late_is_neither_suspended_nor_ended_twice(
    tmp_path, monkeypatch, call
):
    opened = asyncio.Event()
    async with serving(tmp_path, gate__chance=1, dialogue__call_deadline_s=0.05) as service:
        real = getattr(service.store, call)

        async def late(*arguments, **more):
            await opened.wait()
            return await real(*arguments, **more)

        monkeypatch.setattr(service.store, call, late)
        async with await leo(service) as peer:
            assert (await peer.call("dream.now", STIRRED))["outcome"] in ("complete", "store_error")
            await completed(service)
            assert service.engine.dialogues.suspended == {}
            opened.set()
            monkeypatch.undo()
            await until_on_loop(lambda: 1 not in service.engine.dialogues._late)
            await settled(service)
            await completed(service)
            [dialog] = await service.store.recent(9)
            assert dialog["finished_at"] is not None
            assert service.engine.dialogues.suspended == {}
            assert {where.partition(":")[0] for where in service.failures.counts} == {"store"}


async def test_a_task_outlives_its_caller_and_no_refusal_of_it_is_a_fault():
    told, opened = [], asyncio.Event()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))

    async def fails(error):
        await opened.wait()
        raise error

    tasks = [asyncio.create_task(fails(e)) for e in (Refusal(10, "not now"), ValueError())]
    callers = [asyncio.create_task(wait_uncancelled(task)) for task in tasks]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    opened.set()
    await asyncio.wait(tasks)
    await until_on_loop(lambda: told)
    del tasks, callers
    gc.collect()
    assert told == ["a late call"]
