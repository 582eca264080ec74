"""P5: every dialogue with a recorded line leaves exactly one inbox file with all its lines, after any trouble."""

import asyncio
import errno
import fcntl
import os
import sqlite3
import threading
from contextlib import closing
from math import inf
from time import time as wall_s

import pytest

from dreamd.engine.delivery import TIDY_S, StoppableFiles
from dreamd.inbox import InboxBusy, InboxUnavailable
from dreamd.store.forgetting import Asked
from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.dreaming import STIRRED, completed, leo, onlooker, settled
from tests.helpers.state_folder import inbox_files, pending
from tests.helpers.waiting import until_on_loop


async def test_a_dialogue_without_lines_leaves_no_file(tmp_path):
    async with serving(tmp_path) as service, await leo(service, generate=lambda *_: "") as peer:
        await peer.call("dream.now", STIRRED)
    assert inbox_files(tmp_path) == []


async def test_tries_an_unavailable_inbox_only_once(tmp_path):
    """Other programs hold its lock for too long. The clock of the test makes waiting free."""
    time = TestClock()
    async with serving(tmp_path, clock=time.clock) as service, await leo(service) as peer:
        await peer.call("dream.now", STIRRED)
        await settled(service)
        inbox = service.inbox
        inbox._files.pause = lambda _: time.pass_s(60)
        with (tmp_path / "inbox" / "dreams" / ".lock").open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            for _ in range(2):
                await peer.call("dream.now", STIRRED)
                await settled(service)
            assert service.failures.counts == {"inbox: InboxBusy": 1}
            assert service.delivery.undelivered_reason == "InboxBusy"
        await completed(service)
        assert len(inbox_files(tmp_path)) == 3
        assert service.delivery.undelivered_reason is None


COPY = """
WITH RECURSIVE numbers (n) AS (SELECT 4 UNION ALL SELECT n + 1 FROM numbers WHERE n < 149)
INSERT INTO dream_dialogs (id, trace_id, client, started_at, finished_at, outcome, episodes_count)
SELECT n, 'copy-' || n, client, started_at, finished_at, outcome, episodes_count
FROM numbers JOIN dream_dialogs ON id = 1
"""
COPY_LINES = """
INSERT INTO dream_turns (dialog_id, turn, speaker, text, trauma_level, pulse_novelty, pulse_arousal, pulse_entropy, at)
SELECT d.id, turn, speaker, text, trauma_level, pulse_novelty, pulse_arousal, pulse_entropy, at
FROM dream_dialogs AS d JOIN dream_turns ON dialog_id = 1 WHERE d.id > 3
"""


async def test_delivers_more_than_one_page_of_pending_files(tmp_path):
    async with serving(tmp_path, inbox__enabled="false") as service, await leo(service) as peer:
        for _ in range(3):
            await peer.call("dream.now", STIRRED)
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3", isolation_level=None)) as database:
        assert database.execute("UPDATE dream_dialogs SET shard_at = NULL").rowcount == 3
        database.execute("BEGIN")
        database.execute(COPY)
        database.execute(COPY_LINES)
        database.execute("COMMIT")
    async with serving(tmp_path) as service:
        assert len(inbox_files(tmp_path)) == 149
        assert pending(tmp_path) == []
        assert service.failures.counts == {}


async def test_a_disabled_inbox_leaves_nothing_pending(tmp_path):
    async with serving(tmp_path, inbox__enabled="false") as service, await leo(service) as peer:
        await peer.call("dream.now", STIRRED)
    assert pending(tmp_path) == []
    assert not (tmp_path / "inbox").exists()


@pytest.mark.parametrize(("retention_s", "every_s"), [(2 * TIDY_S, TIDY_S), (60, 60)])
async def test_the_inbox_is_tidied_once_an_hour_or_as_often_as_files_are_to_go(
    tmp_path, retention_s, every_s
):
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock, inbox__retention_s=retention_s) as service,
        await leo(service) as peer,
    ):
        await peer.call("dream.now", STIRRED)
        await settled(service)
        [file] = inbox_files(tmp_path)
        await peer.call("inbox.ack", file.stem)
        [done] = (file.parent / "done").iterdir()
        delivery = service.delivery
        retire, tidied = delivery.inbox.retire, []
        delivery.inbox.retire = lambda keep: (tidied.append(time.now), retire(keep))
        for _ in range(3):
            time.pass_s(every_s - 1)
            await delivery.tidy()
            time.pass_s(1)
            await delivery.tidy()
        assert len(tidied) == 3
        assert not done.exists()


async def test_a_temporary_that_cannot_be_removed_does_not_keep_acknowledged_files(tmp_path, monkeypatch):
    async with serving(tmp_path) as service:
        retired = []

        def refuse(_: float) -> None:
            raise InboxUnavailable(errno.EPERM, "it is immutable")

        monkeypatch.setattr(service.delivery.inbox, "sweep", refuse)
        monkeypatch.setattr(service.delivery.inbox, "retire", retired.append)
        service.delivery._tidy_again = -inf
        await service.delivery.tidy()
        assert retired == [frozenset()]
        assert service.failures.counts == {"inbox: InboxUnavailable": 1}


async def test_p10_a_folder_that_cannot_be_tidied_is_counted(tmp_path):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "dreams").write_text("in the way")
    async with serving(tmp_path) as service:
        assert service.failures.counts == {"inbox: ValidationError": 1}


def test_stop_ends_the_wait_for_the_inbox_lock():
    files = StoppableFiles()
    files.pause(0.0)
    files.stop()
    with pytest.raises(InboxBusy, match="the daemon stops"):
        files.pause(3600.0)


async def test_stop_drops_a_write_that_was_not_begun(tmp_path):
    async with serving(tmp_path) as service:
        entered, done = asyncio.Event(), []
        loop = asyncio.get_running_loop()
        hold = threading.Event()

        def busy():
            loop.call_soon_threadsafe(entered.set)
            hold.wait(20)
            done.append("begun")

        first = asyncio.ensure_future(service.delivery.on_thread(busy))
        second = asyncio.ensure_future(service.delivery.on_thread(done.append, "never"))
        await entered.wait()
    hold.set()
    await first
    await asyncio.gather(second, return_exceptions=True)
    assert done == ["begun"]
    assert second.cancelled()


async def test_a_file_in_trouble_is_retried_with_growing_pauses_and_delays_no_other(
    tmp_path,
):
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock, inbox__retention_s=60) as service,
        await leo(service, observe=in_the_way(tmp_path / "inbox" / "dreams")) as peer,
    ):
        for _ in range(2):
            await peer.call("dream.now", STIRRED)
            await settled(service)
        assert [file.is_file() for file in inbox_files(tmp_path)] == [False, True]
        assert service.failures.counts == {"inbox: ValidationError": 1}
        assert service.engine.degraded_reason == "ValidationError"
        await peer.call("inbox.ack", inbox_files(tmp_path)[1].stem)
        for _ in range(100):
            time.pass_s(60)
            service.engine.pending.wake()
            await service.engine.pending.attempt()
        assert list((tmp_path / "inbox" / "dreams" / "done").iterdir()) == []
        assert service.failures.counts["inbox: ValidationError"] < 35  # once in 5 minutes at last
        [blocked] = inbox_files(tmp_path)
        blocked.rmdir()
        time.pass_s(300)
        await service.engine.pending.attempt()
        assert [file.is_file() for file in inbox_files(tmp_path)] == [True]
        assert service.engine.degraded_reason is None


@pytest.mark.parametrize("step", ["shards_of", "forget"])
async def test_a_file_in_trouble_is_forgotten_with_its_dialogue_though_the_one_who_asked_has_gone(
    tmp_path, monkeypatch, step
):
    async with (
        serving(tmp_path) as service,
        await leo(service, observe=in_the_way(tmp_path / "inbox" / "dreams")) as peer,
    ):
        await peer.call("dream.now", STIRRED)
        await settled(service)
        [blocked] = inbox_files(tmp_path)
        blocked.rmdir()
        assert service.engine.degraded_reason == "ValidationError"
        reached, going_on, real = asyncio.Event(), asyncio.Event(), getattr(service.store, step)

        async def slowly(*arguments):
            reached.set()
            await going_on.wait()
            return await real(*arguments)

        monkeypatch.setattr(service.store, step, slowly)
        forgetting = asyncio.create_task(service.forgetting.forget(Asked(id=1)))
        await reached.wait()
        forgetting.cancel()
        await asyncio.wait([forgetting])
        going_on.set()
        async with service.delivery.paused([]):  # once all of it is forgotten
            pass
        await completed(service)
        assert (await service.store.recent(9), inbox_files(tmp_path)) == ([], [])
        assert service.engine.degraded_reason is None


def in_the_way(folder):
    """Return an observe hook that puts a folder in the place of its first dialogue's file."""

    def observe(text, meta):
        if meta["dialog"] == 1 and meta["turn"] == 1:
            (folder / f"{meta['trace_id']}.json").mkdir()

    return observe


async def test_p5_keeps_the_acknowledged_file_of_a_pending_dialogue(tmp_path):
    """Only the acknowledged file shows the acknowledgement: without it the dialogue would come back."""
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock, inbox__retention_s=60) as service,
        await leo(service) as peer,
    ):
        await peer.call("dream.now", STIRRED)
        await settled(service)
        [file] = inbox_files(tmp_path)
        await peer.call("inbox.ack", file.stem)
        with closing(sqlite3.connect(tmp_path / "dream.sqlite3", isolation_level=None)) as database:
            database.execute("UPDATE dream_dialogs SET shard_at = NULL")  # killed before that was stored
        in_the_way = file.with_name(f"{file.stem}~2.json")  # where the dialogue would go on
        in_the_way.mkdir()
        service.engine.pending.add()
        for _ in range(3):
            time.pass_s(TIDY_S)
            await service.engine.pending.attempt()
        assert [done.stem for done in (file.parent / "done").iterdir()] == [file.stem]
        in_the_way.rmdir()
        time.pass_s(TIDY_S)
        await completed(service)
        assert inbox_files(tmp_path) == []
        assert list((file.parent / "done").iterdir()) == []


async def test_lists_an_inbox_of_others_only_when_own_files_may_be_too_many(tmp_path):
    """Files of others are never dropped: to list 50,000 of them after each dialogue took 200 ms."""
    listed = []
    async with serving(tmp_path, inbox__keep=3) as service, await leo(service) as peer:
        list_waiting = service.delivery.inbox.list
        service.delivery.inbox.list = lambda: listed.append(len(inbox_files(tmp_path))) or list_waiting()
        for number in range(4):
            service.inbox.write({}, [{"index": 0, "timestamp": 1}], trace_id=f"of-others-{number}")
        for _ in range(5):
            await peer.call("dream.now", STIRRED)
            await settled(service)
    assert listed == [5, 8, 8]
    assert len(inbox_files(tmp_path)) == 7


async def test_p11_a_dialogues_file_waits_for_one_write_of_a_client_at_most(tmp_path):
    async with (
        serving(tmp_path, delivery_s=0.05) as service,
        await leo(service) as peer,
        await onlooker(service) as client,
    ):
        inbox, steps, go_on = service.inbox, [], threading.Semaphore(0)
        persist, write = inbox.persist, inbox.write

        def slow(*args):
            steps.append("begins")
            assert go_on.acquire(timeout=20)
            steps.append("ends")
            return persist(*args)

        def seen(*args, nodes_of_new_shards=False, **more):
            steps.extend(["ours"] * nodes_of_new_shards)
            return write(*args, nodes_of_new_shards=nodes_of_new_shards, **more)

        inbox.persist, inbox.write = slow, seen
        result = {"trace_id": "t", "shards": [{"index": 0}]}
        asked = {"seed": None, "result": result, "cap_token": {"scopes": ["memory.inbox.dreams.write"]}}
        calls = [asyncio.create_task(client.call("inbox.persist", asked)) for _ in range(20)]
        await until_on_loop(lambda: steps == ["begins"])
        await peer.call("dream.now", STIRRED)
        await until_on_loop(
            lambda: service.delivery._thread._calls.qsize() > 0
        )  # ours, behind the one that blocks
        go_on.release(20)
        await settled(service)
        await asyncio.gather(*calls)
    assert steps.index("ours") == 2
    assert steps.count("ends") == 20


async def test_p11_a_client_that_comes_back_again_and_again_fills_no_queue(tmp_path, monkeypatch):
    async with serving(tmp_path) as service:
        begun, go_on, done = threading.Event(), threading.Event(), []

        def slow(seed, result, token):
            begun.set()
            assert go_on.wait(timeout=20)
            done.append(result["trace_id"])
            raise InboxBusy(11, "the lock is held")

        monkeypatch.setattr(service.inbox, "persist", slow)
        for number in range(9):
            async with await onlooker(service) as client:
                result = {"trace_id": f"t{number}", "shards": [{"index": 0}]}
                sent = {"seed": None, "result": result, "cap_token": {}}
                client.send([0, 7, "inbox.persist", [sent]])
                await client.call("why", 0)  # it has been read
            await until_on_loop(lambda: begun.is_set() and not service.sessions)
        assert service.delivery._thread._calls.qsize() == 0
        go_on.set()
        await service.delivery.for_a_client(done.append, "the next one")
        assert done == ["t0", "the next one"]


async def test_the_first_sweep_removes_the_temporaries_of_a_killed_writer(tmp_path):
    litter = tmp_path / "inbox" / "dreams" / ".tmp"
    litter.mkdir(parents=True)
    for name, age_s in (("old.json", 2 * TIDY_S), ("young.json", 5)):
        (litter / name).write_text("{")
        os.utime(litter / name, (wall_s() - age_s, wall_s() - age_s))
    async with serving(tmp_path) as service:
        await completed(service)
    assert [path.name for path in litter.iterdir()] == ["young.json"]


async def test_a_dialogue_asked_for_is_answered_when_it_has_ended_not_when_its_file_is_written(tmp_path):
    async with serving(tmp_path, delivery_s=0.05) as service, await leo(service) as peer:
        with (tmp_path / "inbox" / "dreams" / ".lock").open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert (await peer.call("dream.now", STIRRED))["outcome"] == "complete"
            assert inbox_files(tmp_path) == []
        await settled(service)
        assert len(inbox_files(tmp_path)) == 1
