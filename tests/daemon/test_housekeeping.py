"""Everything periodic: what is looked at, what must not wait for what, and what is taken up again."""

import asyncio
import fcntl
import os
import threading

from dreamd import housekeeping
from dreamd.wire import server
from dreamd.wire.server import Server
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import STIRRED, leo, onlooker, settled
from tests.helpers.waiting import until_on_loop


async def test_an_inbox_that_hangs_does_not_starve_the_watchdog(tmp_path, monkeypatch):
    """P12: no look begins before the last one has ended."""
    monkeypatch.setattr(housekeeping, "SETTLE_S", 0.0)
    monkeypatch.setattr(housekeeping, "LOOK_LEAST_S", 0.0)
    told, entered, hold = [], threading.Event(), threading.Event()
    async with serving(tmp_path, tick_s=0.005, inbox__dir=tmp_path / "far") as service:

        def hang():
            entered.set()
            hold.wait(20)

        service.inbox.check = hang
        await until_on_loop(entered.is_set)
        runner = housekeeping.Housekeeping(
            service,
            None,
            Server(lambda *_: None, lambda _: None, service.failures),
            lambda *said: told.append(said),
            lambda: True,
            lambda: None,
        )
        running = asyncio.create_task(runner.run(0.001))
        await until_on_loop(lambda: len(told) >= 5)
        assert all(said[0] == "WATCHDOG=1" for said in told)
        running.cancel()
        hold.set()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_inbox_that_cannot_be_written_is_told_before_there_is_anything_to_write(tmp_path):
    async with serving(tmp_path, tick_s=0.005) as service, await onlooker(service) as peer:
        folder = tmp_path / "inbox"
        folder.mkdir(exist_ok=True)
        (tmp_path / "inbox" / "dreams").rename(tmp_path / "aside")
        (tmp_path / "inbox" / "dreams").write_text("in the way")
        await until_on_loop(lambda: service.engine.degraded_reason == "ValidationError")
        assert (await peer.call("status"))["state"] == "degraded: ValidationError"
        (tmp_path / "inbox" / "dreams").unlink()
        await until_on_loop(lambda: service.engine.degraded_reason is None)


async def test_an_inbox_that_is_off_is_not_looked_at(tmp_path):
    async with serving(tmp_path, tick_s=0.005, inbox__enabled="false") as service:
        (tmp_path / "inbox").write_text("in the way")
        await service.delivery.look()
        assert service.engine.degraded_reason is None


async def test_one_shard_that_can_not_be_written_stays_the_trouble_when_others_can(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        write, refused = service.delivery._write, []

        def first_refused(dialog):
            if dialog.id == 1:
                refused.append(dialog.id)
                with (tmp_path / "inbox" / "dreams" / ".lock").open("r+") as held:
                    fcntl.flock(held, fcntl.LOCK_EX)
                    raise tick_error()
            return write(dialog)

        service.delivery._write = first_refused
        await peer.call("dream.now", STIRRED)
        await settled(service)
        await peer.call("dream.now", STIRRED)
        await settled(service)
        assert refused == [1]  # it has a pause of its own
        assert service.delivery.undelivered_reason == "DamagedFile"
        assert (await peer.call("status"))["inbox"]["waiting"] == 1


def tick_error():
    from dreamd.inbox import DamagedFile

    return DamagedFile("not as it must be")


async def test_out_of_descriptors_is_told_and_over_as_soon_as_it_is(tmp_path, monkeypatch):
    async with serving(tmp_path, tick_s=0.005) as service:
        with monkeypatch.context() as none_left:
            none_left.setattr(server.os, "devnull", str(tmp_path / "no such"))
            await until_on_loop(lambda: service.engine.degraded_reason == "out of descriptors")
            assert service.engine.doing == "degraded: out of descriptors"
        await until_on_loop(lambda: service.engine.degraded_reason is None)


async def test_a_database_that_does_not_answer_starves_no_watchdog_and_refuses_dreams(tmp_path, monkeypatch):
    """The check of a whole database may take minutes, and a disk may hang."""
    monkeypatch.setattr(housekeeping, "LOOK_LEAST_S", 0.01)
    asked, answers = asyncio.Event(), asyncio.Event()

    async def hang():
        asked.set()
        await answers.wait()

    async with serving(tmp_path, tick_s=0.005) as service, await leo(service) as peer:
        service.store.probe = hang
        await asked.wait()  # an earlier probe, which answers, may be late too
        await until_on_loop(lambda: service.engine.unanswered)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "degraded"
        assert (await peer.call("status"))["state"] == "degraded: database does not answer"
        answers.set()
        await until_on_loop(lambda: service.engine.degraded_reason is None)


async def test_a_disk_that_hangs_holds_up_neither_status_nor_the_watchdog(tmp_path, monkeypatch):
    """This holds for each file that the tick looks at: on a network file system each look may hang."""
    monkeypatch.setattr(housekeeping, "LOOK_LEAST_S", 0.01)
    hold, stat, hanging = threading.Event(), os.stat, []

    def hang(path, *arguments, **options):
        if str(path).startswith(str(tmp_path)) and hanging:
            assert threading.current_thread() is not threading.main_thread()
            hold.wait(20)
        return stat(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", hang)
    async with serving(tmp_path, tick_s=0.005) as service, await onlooker(service) as peer:
        hanging.append(True)
        await until_on_loop(lambda: service.engine.unanswered)
        status = await peer.call("status")
        assert status["state"] == "degraded: database does not answer"
        assert status["database"]["database_bytes"] is None
        hanging.clear()
        hold.set()
        await until_on_loop(lambda: service.engine.degraded_reason is None)


async def test_a_part_of_the_tick_that_fails_keeps_no_other_from_its_turn(tmp_path):
    async with serving(tmp_path, tick_s=0.005) as service:
        turns = []

        async def fail():
            raise ZeroDivisionError

        async def forget():
            turns.append(1)

        service.engine.keep_heard = service.store.tidy = fail
        service.forgetting.by_age = forget
        await until_on_loop(lambda: turns)
        assert service.failures.counts["daemon: ZeroDivisionError"] >= 2
        del service.engine.keep_heard, service.store.tidy


async def test_a_part_of_the_tick_that_hangs_keeps_no_other_from_its_turn(tmp_path):
    async with serving(tmp_path, tick_s=0.005) as service:
        turns, hanging = [], []

        async def hang():
            hanging.append(1)
            await asyncio.Event().wait()

        async def keep():
            turns.append(1)

        service.forgetting.by_age, service.engine.keep_heard = hang, keep
        await until_on_loop(lambda: len(turns) > 3)
        assert hanging == [1]
        del service.forgetting.by_age, service.engine.keep_heard
