"""No dialogue runs beside a change of the friend or the past: it is waited for, or suspended and goes on."""

import asyncio
import threading

import pytest
from dreamclient.messages import Code

from dreamd.engine import hold
from dreamd.engine.hold import hold_dialogues
from dreamd.errors import Refusal
from dreamd.store import reads
from tests.engine.test_dialogues import THREE, Host, check
from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.dreaming import ORIGIN, STIRRED, Gate, leo, onlooker, settled
from tests.helpers.peer import PeerError
from tests.helpers.waiting import until_on_loop

HOUR_S = 3600.0
CHANGES = {
    "friend.restore": ["kept"],
    "friend.reseed": [{"origin": ["Another beginning."]}],
    "friend.import": [[{"text": "another line", "weight": 0.5}]],
    "dialogs.forget": [{"id": 1}],
}


class SlowHost(Host):
    """A leo that answers one hook call only when it is let on, and the next ones at once."""

    def __init__(self, heard, stuck_in):
        super().__init__(heard, stuck_in)
        self.going_on = asyncio.Event()

    async def _stick(self):
        self.stuck_in = ""
        self.reached.set()
        await self.going_on.wait()


async def past_fragments(service):
    return await service.store._read(reads.past_fragments, 9)


@pytest.mark.parametrize("method", CHANGES)
async def test_change_waits_for_the_dialogue_that_runs(tmp_path, method):
    gate = Gate()
    async with serving(tmp_path) as service, await onlooker(service) as user:
        async with await leo(service) as first:
            await first.call("dream.seed", ORIGIN)
            await first.call("dream.now", STIRRED)
        await user.call("friend.checkpoint", "kept")
        async with await leo(service, generate=gate) as peer:
            dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
            await gate.reached.wait()
            changing = asyncio.create_task(user.call(method, *CHANGES[method]))
            await until_on_loop(lambda: service.engine.dialogues.holding.locked())
            gate.opened.set()
            await asyncio.wait([dreaming, changing], return_when=asyncio.FIRST_COMPLETED)
            assert service.engine.dialogues.running == {}
            assert (await dreaming)["outcome"] == "complete"
            await changing
        assert not service.engine.dialogues.holding.locked()


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("step", ["generate 2", "observe 2"])
async def test_long_dialogue_is_suspended_and_goes_on_after_the_change(tmp_path, monkeypatch, step, kept):
    """What leo was asked when it was suspended is asked again, but a line is never observed twice. Without diagnostics,
    too, fragments that it began with stay until it has ended."""
    monkeypatch.setattr(hold, "WAIT_S", 0.01)
    async with (
        serving(tmp_path, gate__chance=1, store__diagnostics=str(kept).lower(), **THREE) as service,
        await onlooker(service) as user,
    ):
        await user.call("dream.seed", ORIGIN)
        await user.call("friend.checkpoint", "kept")
        await user.call("friend.import", [{"text": "a line of another", "weight": 0.5}])
        heard = []
        host = SlowHost(heard, step)
        async with await host.connect(service.socket) as peer:
            peer.send([2, "dream.context", [STIRRED]])
            await host.reached.wait()
            assert (await user.call("friend.restore", "kept"))["left"] == 1
            await service.store.tidy()
            host.going_on.set()
            await settled(service)
            if kept:
                await check(service, tmp_path, heard)
            assert service.engine.dialogues.outcomes == {"complete": 1}
            await service.store.tidy()
            assert len(await past_fragments(service)) == kept
        assert [decision.reason for decision in service.engine.why(2)] == ["resumed", "dream"]
        assert "a line of another" not in {fragment.text for fragment in service.friend.fragments}


async def test_change_is_refused_while_a_dialogue_runs_that_cannot_be_suspended(tmp_path, monkeypatch):
    monkeypatch.setattr(hold, "WAIT_S", 0.01)
    gate = Gate()
    async with serving(tmp_path) as service, await onlooker(service) as user:
        await user.call("dream.seed", ORIGIN)
        await user.call("friend.checkpoint", "kept")
        async with await leo(service, generate=gate) as peer:  # of no known field
            dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
            await gate.reached.wait()
            with pytest.raises(PeerError, match=r"14, .*try again when it has ended"):
                await user.call("friend.restore", "kept")
            gate.opened.set()
            assert (await dreaming)["outcome"] == "complete"


async def test_cuts_no_dialogue_though_the_one_who_asked_has_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(hold, "WAIT_S", 0.01)
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        heard, reached, going_on, suspend = [], asyncio.Event(), asyncio.Event(), service.store.suspend

        async def slowly(*arguments):
            reached.set()
            await going_on.wait()
            await suspend(*arguments)

        monkeypatch.setattr(service.store, "suspend", slowly)
        host = SlowHost(heard, "generate 2")
        async with await host.connect(service.socket) as peer:
            peer.send([2, "dream.context", [STIRRED]])
            await host.reached.wait()
            [(_, dreaming)] = service.engine.dialogues.running.values()
            changing = asyncio.create_task(held(service))
            await reached.wait()
            changing.cancel()
            await asyncio.wait([changing])
            going_on.set()
            host.going_on.set()
            assert (await dreaming).outcome == "suspended"
            await settled(service)
            await check(service, tmp_path, heard)


async def held(service):
    async with hold_dialogues(service.engine.dialogues):
        pass


async def test_no_dialogue_begins_or_goes_on_in_the_block(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service, await leo(service) as peer:
        async with hold_dialogues(service.engine.dialogues):
            assert (await peer.call("dream.context", STIRRED))["reason"] == "busy"
            with pytest.raises(PeerError, match=r"14, .*is being changed"):
                await peer.call("dream.now", STIRRED)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
        await settled(service)


async def test_blocks_are_entered_one_at_a_time_and_left_when_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(hold, "WAIT_S", 0.01)
    async with serving(tmp_path) as service:
        dialogues, entered = service.engine.dialogues, asyncio.Event()

        async def stay():
            async with hold_dialogues(dialogues):
                entered.set()
                await asyncio.Event().wait()

        first = asyncio.create_task(stay())
        await entered.wait()
        with pytest.raises(Refusal) as refused:
            await stay()
        assert refused.value.code == Code.BUSY
        first.cancel()
        await asyncio.wait([first])
        async with hold_dialogues(dialogues):
            assert dialogues.holding.locked()
        assert not dialogues.holding.locked()


async def test_holds_until_a_change_whose_caller_has_gone_is_done(tmp_path, monkeypatch):
    async with serving(tmp_path) as service, await onlooker(service) as user:
        await user.call("dream.seed", ORIGIN)
        dialogues, going_on, told = service.engine.dialogues, asyncio.Event(), asyncio.Event()
        replace_friend = service.store.replace_friend

        async def slowly(*given):
            told.set()
            await going_on.wait()
            return await replace_friend(*given)

        monkeypatch.setattr(service.store, "replace_friend", slowly)

        async def change():
            async with hold_dialogues(dialogues):
                await service.friend.reseed(["Another beginning."], [])

        changing = asyncio.create_task(change())
        await told.wait()
        changing.cancel()
        await asyncio.sleep(0)
        assert dialogues.holding.locked()
        going_on.set()
        await asyncio.wait([changing])
        assert not dialogues.holding.locked()
        assert [fragment.text for fragment in service.friend.fragments] == ["Another beginning."]


async def test_inbox_that_hangs_while_files_are_forgotten_stops_no_dream(tmp_path):
    reached, going_on = threading.Event(), threading.Event()
    async with serving(tmp_path) as service, await onlooker(service) as user, await leo(service) as peer:
        await peer.call("dream.now", STIRRED)
        forget = service.inbox.forget

        def hang(own):
            reached.set()
            going_on.wait(20)
            return forget(own)

        service.inbox.forget = hang
        forgetting = asyncio.create_task(user.call("dialogs.forget", {"id": 1}))
        await until_on_loop(reached.is_set)
        dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
        await until_on_loop(lambda: service.engine.dialogues.outcomes["complete"] == 2)
        going_on.set()
        assert (await forgetting)["files"] == 1
        assert (await dreaming)["outcome"] == "complete"


async def test_forgetting_is_refused_before_a_file_is_removed(tmp_path, monkeypatch):
    """A client of no known field dreams, and its dialogue cannot be suspended."""
    monkeypatch.setattr(hold, "WAIT_S", 0.01)
    gate = Gate()
    async with serving(tmp_path) as service, await onlooker(service) as user:
        async with await leo(service) as first:
            await first.call("dream.now", STIRRED)
        [file] = await user.call("inbox.list")
        async with await leo(service, generate=gate) as peer:
            dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
            await gate.reached.wait()
            with pytest.raises(PeerError, match=r"14, .*try again when it has ended"):
                await user.call("dialogs.forget", {"id": 1})
            assert await user.call("inbox.list") == [file]
            gate.opened.set()
            await dreaming
        assert (await user.call("dialogs.forget", {"id": 1}))["files"] == 1


async def test_forgetting_suspends_a_dialogue_that_takes_long(tmp_path, monkeypatch):
    monkeypatch.setattr(hold, "WAIT_S", 0.01)
    async with (
        serving(tmp_path, gate__chance=1, gate__cooldown_s=0, **THREE) as service,
        await onlooker(service) as user,
    ):
        async with await leo(service) as first:
            await first.call("dream.now", STIRRED)
        host = SlowHost([], "generate 2")
        async with await host.connect(service.socket) as peer:
            peer.send([2, "dream.context", [STIRRED]])
            await host.reached.wait()
            assert (await user.call("dialogs.forget", {"id": 1}))["dialogs"] == 1
            host.going_on.set()
            await settled(service)
        assert service.engine.why(1)[0].reason == "resumed"


async def test_forgetting_that_removed_files_waits_for_a_dialogue_that_began_meanwhile(tmp_path, monkeypatch):
    monkeypatch.setattr(hold, "WAIT_S", 0.01)
    gate = Gate()
    async with serving(tmp_path) as service, await onlooker(service) as user:
        async with await leo(service) as first:
            await first.call("dream.now", STIRRED)
        async with await leo(service, generate=gate) as peer:
            begun, going_on, forget = threading.Event(), threading.Event(), service.inbox.forget

            def forget_late(own):
                begun.set()
                going_on.wait(20)
                return forget(own)

            service.inbox.forget = forget_late
            forgetting = asyncio.create_task(user.call("dialogs.forget", {"id": 1}))
            await until_on_loop(begun.is_set)
            dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
            await gate.reached.wait()
            going_on.set()
            await until_on_loop(lambda: service.engine.dialogues.holding.locked())
            gate.opened.set()
            assert (await dreaming)["outcome"] == "complete"
            assert (await forgetting)["files"] == 1


async def test_dialogues_grow_old_without_waiting_for_one_that_runs(tmp_path):
    """What is older than `store.keep_days` is forgotten at a tick at which no dialogue runs."""
    gate, time = Gate(), TestClock()
    async with serving(tmp_path, clock=time.clock, store__keep_days=1) as service:
        async with await leo(service) as peer:
            await peer.call("dream.now", STIRRED)
        time.pass_s(100_000)
        await service.forgetting.by_age()
        time.pass_s(100_000)
        async with await leo(service, generate=gate) as peer:
            dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
            await gate.reached.wait()
            await service.forgetting.by_age()
            assert [dialog["id"] for dialog in await service.store.recent(9)] == [2, 1]
            gate.opened.set()
            await dreaming
        await service.forgetting.by_age()
        assert [dialog["id"] for dialog in await service.store.recent(9)] == [2]


async def test_nothing_grows_old_by_a_clock_that_is_wrong_at_one_start(tmp_path):
    """The clock is years ahead, and right again at the next start. Only a day in which it stays so makes it true."""
    time = TestClock()
    ages = [0.0, 1e9, 1e9 + 3 * HOUR_S, 2 * HOUR_S, 26 * HOUR_S, -1e9, 28 * HOUR_S, 48 * HOUR_S]
    async with serving(tmp_path, clock=time.clock, store__keep_days=1) as service, await leo(service) as peer:
        await peer.call("dream.now", STIRRED)
    began = time.now
    for age in ages:
        time.now, time.ticks = began + age, time.ticks + 2 * HOUR_S
        async with serving(tmp_path, clock=time.clock, store__keep_days=1) as service:
            await service.forgetting.by_age()
            assert len(await service.store.recent(9)) == 1, age
    time.now, time.ticks = began + 76 * HOUR_S, time.ticks + 2 * HOUR_S
    async with serving(tmp_path, clock=time.clock, store__keep_days=1) as service:
        await service.forgetting.by_age()
        assert await service.store.recent(9) == []


async def test_p11_of_a_client_that_asks_to_forget_and_leaves_again_and_again_one_request_goes_on(
    tmp_path, monkeypatch
):
    async with serving(tmp_path) as service:
        async with await leo(service) as peer:
            await peer.call("dream.now", STIRRED)
            await settled(service)
        reached, going_on, asked, real = asyncio.Event(), asyncio.Event(), [], service.store.shards_of

        async def slowly(traces):
            asked.append(traces)
            reached.set()
            await going_on.wait()
            return await real(traces)

        monkeypatch.setattr(service.store, "shards_of", slowly)
        for _ in range(9):
            async with await onlooker(service) as client:
                client.send([0, 7, "dialogs.forget", [{"id": 1}]])
                await reached.wait()
                await client.call("dialogs.get", 1)  # the request before it has been read
            await until_on_loop(lambda: not service.sessions)
        going_on.set()
        async with service.delivery.paused([]):  # once all of it is forgotten
            pass
        async with await onlooker(service) as client:
            with pytest.raises(PeerError, match="no dialogue 1"):
                await client.call("dialogs.forget", {"id": 1})
        assert len(asked) == 1
