"""The pause of all dreams: no dream begins by itself until it ends, over restarts and jumps of the clock."""

import asyncio
import gc
import sqlite3
from contextlib import closing

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.errors import StoreUnavailable
from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import STIRRED, Gate, completed, leo, onlooker, settled
from tests.helpers.peer import PeerError
from tests.helpers.state_folder import rows
from tests.helpers.trouble import Locked, impatient
from tests.helpers.waiting import until_on_loop

HOUR = 3600.0
EAGER = {"gate__chance": 1, "gate__cooldown_s": 0}


async def reason(peer):
    return (await peer.call("dream.context", STIRRED))["reason"]


def stored(state):
    return rows(state, "SELECT value FROM dream_meta WHERE key = 'dream_pause'")


async def test_no_dream_begins_until_the_pause_is_over(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        assert await peer.call("dream.pause", HOUR) == {"at": time.now, "until": time.now + HOUR}
        time.pass_s(HOUR - 1)
        decision = await peer.call("dream.context", STIRRED)
        assert (decision["reason"], decision["dream"], decision["wait_s"]) == ("paused", False, 1.0)
        assert (await peer.call("status"))["paused"]["until"] == time.now + 1
        assert service.engine.doing == "paused"
        time.pass_s(1)
        assert await reason(peer) == "dream"
        await completed(service)
        assert (stored(tmp_path), (await peer.call("status"))["paused"]) == ([], None)


async def test_a_pause_without_a_length_lasts_until_resume_over_restarts(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        assert await peer.call("dream.pause") == {"at": time.now, "until": None}
        began = time.now
    time.pass_s(400 * 86400)
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        decision = await peer.call("dream.context", STIRRED)
        assert (decision["reason"], "wait_s" in decision) == ("paused", False)
        assert await peer.call("dream.resume") == {"at": began}
        assert await reason(peer) == "dream"
        assert await peer.call("dream.resume") == {"at": None}
    assert stored(tmp_path) == []


async def test_what_is_left_of_a_pause_is_kept_over_a_restart(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        await peer.call("dream.pause", HOUR)
    time.pass_s(HOUR / 2)
    time.ticks = 5.0  # the machine was restarted too
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        assert await reason(peer) == "paused"
        time.pass_s(HOUR / 2)
        assert await reason(peer) == "dream"


async def test_a_later_pause_replaces_the_earlier_one(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        await peer.call("dream.pause")
        await peer.call("dream.pause", 60)
        time.pass_s(60)
        assert await reason(peer) == "dream"


@pytest.mark.parametrize("jump", [-5 * HOUR, 5 * HOUR, -400 * 86400, 400 * 86400])
async def test_a_clock_that_jumps_neither_shortens_nor_lengthens_a_pause(tmp_path, jump):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        await peer.call("dream.pause", HOUR)
        time.now += jump
        time.pass_s(HOUR - 1)
        assert await reason(peer) == "paused"
        assert (await peer.call("status"))["paused"]["until"] == time.now + 1
        time.now -= jump
        time.pass_s(1)
        assert await reason(peer) == "dream"


async def test_a_clock_that_jumped_back_before_a_restart_lengthens_a_pause_by_its_length_at_most(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        await peer.call("dream.pause", HOUR)
    time.now -= 5 * HOUR
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        assert (await peer.call("status"))["paused"]["until"] == time.now + HOUR
        time.pass_s(HOUR)
        assert await reason(peer) == "dream"


async def test_a_dream_that_runs_is_spoken_to_its_end_before_the_pause_is_answered(tmp_path):
    gate = Gate()
    async with (
        serving(tmp_path, **EAGER) as service,
        await leo(service, generate=gate) as peer,
        await onlooker(service) as other,
    ):
        peer.send([2, "dream.context", [STIRRED]])
        await gate.reached.wait()
        pausing = asyncio.create_task(other.call("dream.pause", HOUR))
        await until_on_loop(lambda: service.engine.is_paused)
        assert not pausing.done()
        gate.opened.set()
        assert (await pausing)["until"] is not None
        assert service.engine.dialogues.running == {}
        [dialog] = await service.store.recent(9)
        assert (dialog["outcome"], dialog["fed"]) == ("complete", True)


async def test_a_dream_by_hand_is_dreamt_in_a_pause(tmp_path):
    async with serving(tmp_path, **EAGER) as service, await leo(service) as peer:
        await peer.call("dream.pause")
        assert (await peer.call("dream.now", STIRRED))["outcome"] == "complete"
        assert await reason(peer) == "paused"


async def leave_suspended(service):
    gate = Gate()
    peer = await leo(service, generate=gate)
    await peer.hello("leo", field="a field")
    peer.send([2, "dream.context", [STIRRED]])
    await gate.reached.wait()
    await peer.close()
    await until_on_loop(lambda: service.engine.dialogues.suspended)


@pytest.mark.parametrize("how", ["resume", "gone", "time"])
async def test_a_suspended_dialogue_goes_on_after_the_pause_and_not_in_it(tmp_path, how):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, **EAGER) as service:
        await leave_suspended(service)
        async with await onlooker(service) as other:
            await other.call("dream.pause", HOUR)
    async with serving(tmp_path, clock=time.clock, **EAGER) as service, await leo(service) as peer:
        await peer.hello("leo", field="a field")
        await completed(service)
        assert list(service.engine.dialogues.suspended) == [1]
        if how == "resume":
            await peer.call("dream.resume")
        elif how == "gone":  # the one who asked, before he was answered
            resuming = asyncio.create_task(service.engine.pause.end())
            await asyncio.sleep(0)
            resuming.cancel()
        else:
            time.pass_s(HOUR)
            service.engine.pending.wake()  # as the tick does
        await until_on_loop(lambda: not service.engine.dialogues.suspended)
        await settled(service)
        [dialog] = await service.store.recent(9)
        assert dialog["outcome"] == "complete"


async def test_a_context_that_is_kept_for_a_client_outlasts_a_pause(tmp_path):
    async with serving(tmp_path, **EAGER) as service, await onlooker(service) as other:
        async with await leo(service) as mute:
            await mute.hello("leo", provides=[])
            assert await reason(mute) == "no_hooks"
        await other.call("dream.pause")
        async with await leo(service):
            assert service.engine.reasons == {"no_hooks": 1}
        await other.call("dream.resume")
        async with await leo(service):
            assert service.engine.reasons == {"no_hooks": 1, "dream": 1}
            await settled(service)


async def test_a_pause_that_cannot_be_stored_is_refused_and_there_is_none(tmp_path):
    async with serving(tmp_path, **EAGER) as service, await leo(service) as peer:
        lock = Locked(tmp_path)
        await impatient(service.store)
        lock.begin()
        with pytest.raises(PeerError, match="cannot be kept now: locked"):
            await peer.call("dream.pause")
        lock.end()
        assert await service.store.probe() is None
        assert await reason(peer) == "dream"
        await settled(service)


async def test_a_resume_that_cannot_be_stored_is_refused_and_the_pause_stays(tmp_path, monkeypatch):
    async def refuse(_):
        raise StoreUnavailable("disk full", "no room")

    async with serving(tmp_path, **EAGER) as service, await leo(service) as peer:
        await peer.call("dream.pause")
        monkeypatch.setattr(service.store, "keep_pause", refuse)
        with pytest.raises(PeerError, match="disk full"):
            await peer.call("dream.resume")
        assert await reason(peer) == "paused"


async def test_a_stored_pause_that_cannot_be_read_is_none(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("dream.pause")
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database, database:
        database.execute("UPDATE dream_meta SET value = 'x' WHERE key = 'dream_pause'")
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        assert (await peer.call("status"))["paused"] is None


async def test_pauses_and_resumes_of_two_sessions_at_once_leave_store_and_memory_alike(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as one, await onlooker(service) as two:
        calls = [peer.call(f"dream.{what}") for peer in (one, two) for what in ("pause", "resume") * 10]
        await asyncio.gather(*calls)
        assert bool(stored(tmp_path)) == service.engine.is_paused


def test_a_killed_daemon_keeps_its_pause(tmp_path):
    daemon = DaemonProcess(tmp_path / "s").start()
    with DreamClient(socket_path=daemon.socket) as client:
        assert client.start(10.0)
        paused = client.call("dream.pause", HOUR)
        daemon.kill()
    with daemon, DreamClient(socket_path=daemon.socket) as client:
        assert daemon.call("status")["paused"]["until"] == pytest.approx(paused["until"], abs=5)
        assert client.start(10.0)
        assert client.call("dream.resume") == {"at": paused["at"]}
        daemon.kill()
    with daemon:
        assert daemon.call("status")["paused"] is None


async def test_a_refusal_whose_caller_has_gone_is_no_fault_of_the_daemon(tmp_path, monkeypatch):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def refuse(_):
        begun.set()
        await go_on.wait()
        raise StoreUnavailable("disk full", "no room")

    async with serving(tmp_path) as service:
        monkeypatch.setattr(service.store, "keep_pause", refuse)
        async with await onlooker(service) as peer:
            peer.send([0, 9, "dream.pause", []])
            await begun.wait()
        await until_on_loop(lambda: not service.sessions)
        change = service.engine.pause._turn._task
        go_on.set()
        await asyncio.wait([change])
        del change
        gc.collect()
        assert (service.failures.counts, service.engine.is_paused) == ({}, False)
