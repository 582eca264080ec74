"""A dream is taken back out of the field that it was fed to, once, whatever ends in the middle of it."""

import asyncio
import errno

import pytest

from dreamd.ctl.commands.undream import _LATER
from dreamd.engine import hold
from dreamd.engine.undream import undreaming
from dreamd.engine.undream.undreaming import LOSSES, LOST
from dreamd.errors import StoreUnavailable
from dreamd.inbox import InboxBusy
from dreamd.store.undreaming.candidates import Asked
from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.dreaming import STIRRED, Gate, dreams, leo, onlooker, settled
from tests.helpers.field_host import FIELD, FieldHost
from tests.helpers.leo_field import rows_of, talk
from tests.helpers.peer import PeerError, saying
from tests.helpers.waiting import until_on_loop

THREE = {
    "dialogue__turns_min": 3,
    "dialogue__turns_max": 3,
    "dialogue__candidates": 1,
}
STEPS = [f"{when} {turn}" for turn in (3, 2, 1, 0) for when in ("before", "after")]


@pytest.fixture
def host(tmp_path):
    return FieldHost(tmp_path / "leo.sqlite3")


async def undone(service) -> None:
    await until_on_loop(lambda: not service.undreaming.waiting)


async def refusal(peer, what) -> str:
    with pytest.raises(PeerError) as refused:
        await peer.call("dialogs.undream", what)
    return refused.value.message


async def test_field_and_friend_are_what_they_were_before(tmp_path, host):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        before, friend = rows_of(host.path), service.friend.fragments
        [dialog] = await dreams(peer, 1)
        assert rows_of(host.path) != before
        assert service.friend.fragments != friend
        [told] = (await peer.call("dialogs.undream", {"id": dialog}))["dialogs"]
        assert told == {
            "id": 1, "state": "done", "why": None, "lines": 3, "unknown": [], "missing": 0,
            "fragments": len(service.friend.fragments) - len(friend) or told["fragments"], "inbox": "removed",
        }  # fmt: skip
        assert told["fragments"] > 0
        assert rows_of(host.path) == before
        assert service.friend.fragments == friend
        assert list((tmp_path / "inbox" / "dreams").glob("*.json")) == []
        found = await service.store.get(dialog)
        assert found["undone"] == "done"
        assert [(turn["undone"], turn["missing"]) for turn in found["turns"]] == [("done", 0)] * 3
        assert await refusal(peer, {"id": dialog}) == "dialogue 1 is taken back already"


@pytest.mark.parametrize("step", STEPS)
async def test_p3_a_host_that_dies_in_any_step_undoes_nothing_twice(tmp_path, host, step):
    async with serving(tmp_path, **THREE) as service:
        async with await host.connect(service.socket) as peer:
            before = rows_of(host.path)
            await dreams(peer, 1)
        host.dies_at = step
        await host.connect(service.socket)
        async with await onlooker(service) as peer:
            [told] = (await peer.call("dialogs.undream", {"id": 1}))["dialogs"]
            assert told["state"] == "waiting"
            host.dies_at = None
            async with await host.connect(service.socket):
                await undone(service)
        assert rows_of(host.path) == before
        assert (await service.store.get(1))["undone"] == "done"


@pytest.mark.parametrize("step", ["lines_to_undo", "line_undone", "finish_undream"])
@pytest.mark.parametrize("done", [False, True])
async def test_p3_a_daemon_that_stops_in_any_step_undoes_nothing_twice(
    tmp_path, host, monkeypatch, step, done
):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        before = rows_of(host.path)
        await dreams(peer, 1)
        reached, real = asyncio.Event(), getattr(service.store, step)

        async def never_returns(*arguments):
            if done:
                await real(*arguments)
            reached.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(service.store, step, never_returns)
        asked = asyncio.create_task(peer.call("dialogs.undream", {"id": 1}))
        await asyncio.wait_for(reached.wait(), 20)
        asked.add_done_callback(lambda task: task.exception())
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket):
        await undone(service)
        assert rows_of(host.path) == before
        assert (await service.store.get(1))["undone"] == "done"


async def test_without_leo_it_waits_for_him_over_a_restart(tmp_path, host):
    async with serving(tmp_path, **THREE) as service:
        before = rows_of(host.path)
        async with await host.connect(service.socket) as peer:
            await dreams(peer, 2)
        async with await onlooker(service) as peer:
            told = await peer.call("dialogs.undream", {"since": 0.0})
            assert [(one["id"], one["state"], one["why"]) for one in told["dialogs"]] == [
                (2, "waiting", "leo is not running"), (1, "waiting", "leo is not running"),
            ]  # fmt: skip
            assert (await peer.call("status"))["undreams"] == 2
    async with serving(tmp_path, **THREE) as service, await onlooker(service) as peer:
        assert (await peer.call("status"))["undreams"] == 2
        async with await host.connect(service.socket, field="another field"):
            assert host.asked == []
        async with await host.connect(service.socket):
            await undone(service)
        assert rows_of(host.path) == before


async def test_refuses_what_cannot_be_taken_back_and_says_why(tmp_path, host):
    async with serving(tmp_path, **THREE) as service, await onlooker(service) as peer:
        assert await refusal(peer, {"id": 9}) == "no dialogue 9; `dreamctl recent` lists them"
        hooks = {"generate": saying, "observe": lambda *_: {"taken": False}}
        async with await host.connect(service.socket, **hooks) as leo:
            await dreams(leo, 1)
        hooks["observe"] = lambda *_: {"taken": True}
        async with await host.connect(service.socket, **hooks) as leo:
            await dreams(leo, 1)
        async with await host.connect(service.socket) as leo:
            await dreams(leo, 1)
        assert "not fed to leo" in await refusal(peer, {"id": 1})
        assert "was not kept, since leo's client did not say it" in await refusal(peer, {"id": 2})
        async with await host.connect(service.socket, **hooks) as leo:
            assert "has no hook `unobserve`" in await refusal(peer, {"id": 3})
            told = await peer.call("dialogs.undream", {"since": 0.0})
            assert ([one["id"] for one in told["left"]], told["dialogs"]) == ([3, 2, 1], [])
            async with await host.connect(service.socket, name="a newer one"):
                told = await peer.call("dialogs.undream", {"since": 0.0, "dry_run": True})
                assert told["dialogs"] == [{"id": 3}]


async def test_a_line_whose_observe_was_never_answered_is_named(tmp_path, host):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        host.observes = False
        await dreams(peer, 1)
        [told] = (await peer.call("dialogs.undream", {"id": 1}))["dialogs"]
        assert (told["lines"], told["unknown"], told["state"]) == (0, [1], "done")
        text = (await service.store.get(1))["turns"][0]["text"]
        assert [what for what, _ in host.asked] == [text, None]


async def test_waits_for_a_dream_in_progress_and_no_dream_begins_beside_it(tmp_path, host):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as leo:
        await dreams(leo, 1)
        generating, taking_back = Gate(), Gate(lambda *_: None)
        leo.hooks |= {"generate": generating, "unobserve": taking_back}
        async with await onlooker(service) as peer, await onlooker(service) as another:
            dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
            await generating.reached.wait()
            asked = asyncio.create_task(peer.call("dialogs.undream", {"id": 1}))
            await until_on_loop(service.engine.dialogues.holding.locked)
            assert await refusal(another, {"id": 2}) == "dialogue 2 has not ended; take it back then"
            assert service.undreaming.working == {}
            generating.opened.set()
            await dreaming
            await taking_back.reached.wait()
            with pytest.raises(PeerError, match="is being changed"):
                await another.call("dream.now", STIRRED)
            async with await host.connect(service.socket) as second:  # that feeds this field
                assert (await second.call("dream.context", STIRRED))["reason"] == "busy"
            taking_back.opened.set()
            assert (await asked)["dialogs"][0]["state"] == "done"
            await another.call("dream.now", STIRRED)


async def test_a_hook_that_fails_is_counted_and_asked_again_after_a_pause(tmp_path, host):
    clock = TestClock()
    async with (
        serving(tmp_path, clock=clock.clock, **THREE) as service,
        await host.connect(service.socket) as peer,
    ):
        await dreams(peer, 2)
        host.raises = OSError("the text of a line")
        [told] = (await peer.call("dialogs.undream", {"id": 1}))["dialogs"]
        assert (told["state"], told["why"]) == ("waiting", "unobserve: OSError")
        assert service.failures.counts == {"unobserve: OSError": 1}
        host.raises = None
        service.undreaming.wake()
        assert service.undreaming.working == {}
        clock.pass_s(10)
        service.undreaming.wake()
        await undone(service)


async def test_a_host_that_is_lost_again_and_again_is_asked_again_only_by_the_user(tmp_path, host):
    """The host may die of the call, and a supervisor that restarts leo would let him die without end."""
    clock = TestClock()
    async with serving(tmp_path, clock=clock.clock, **THREE) as service, await onlooker(service) as peer:
        async with await host.connect(service.socket) as leo:
            before = rows_of(host.path)
            await dreams(leo, 1)
        await peer.call("dialogs.undream", {"id": 1})
        host.dies_at = "before 3"
        for lives in range(6):
            async with await host.connect(service.socket):
                await until_on_loop(lambda: not service.undreaming.working)
                assert len(host.asked) == min(lives + 1, LOSSES)
            clock.pass_s(1000)
        host.dies_at = None
        async with await host.connect(service.socket):
            assert service.undreaming.working == {}
            assert service.undreaming._why_waiting(FIELD) == LOST
            assert LOST in _LATER
            [told] = (await peer.call("dialogs.undream", {"id": 1}))["dialogs"]
            assert told["state"] == "done"
        assert rows_of(host.path) == before


async def test_one_request_does_not_disturb_another_that_waits_for_the_same_dialogue(tmp_path, host):
    """Dialogue 1 fails at once, while the first request waits for dialogue 2, which is in another field."""
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as first:
        await dreams(first, 1)
        slow, other = Gate(lambda *_: None), FieldHost(tmp_path / "other.sqlite3")
        async with await other.connect(service.socket, name="other", field="another field") as second:
            await dreams(second, 1)
            second.hooks["unobserve"] = slow
            host.raises = OSError()
            both = asyncio.create_task(service.undreaming.undream(Asked(since=0.0)))
            await slow.reached.wait()
            await until_on_loop(lambda: service.undreaming._failed)
            host.raises, stuck = None, Gate(lambda *_: None)
            first.hooks["unobserve"] = stuck
            one = asyncio.create_task(service.undreaming.undream(Asked(id=1)))
            await stuck.reached.wait()
            slow.opened.set()
            assert [(each["id"], each["state"]) for each in (await both)["dialogs"]] == [
                (2, "done"),
                (1, "waiting"),
            ]
            stuck.opened.set()
            assert [each["state"] for each in (await one)["dialogs"]] == ["done"]
            assert service.undreaming._ends == {}


async def test_an_acknowledged_file_stays_and_a_missing_count_is_said(tmp_path, host):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        await dreams(peer, 1)
        await settled(service)
        await peer.call("inbox.ack", (await service.store.get(1))["trace_id"])
        host.run("DELETE FROM co_occurrence WHERE count = 2")
        talk(host.path, "somebody else talks")
        [told] = (await peer.call("dialogs.undream", {"id": 1}))["dialogs"]
        assert told["inbox"] == "acknowledged"
        assert told["missing"] > 0
        assert len(list((tmp_path / "inbox" / "dreams" / "done").glob("*.json"))) == 1


async def test_a_waiting_dialogue_may_be_forgotten_and_waits_no_longer_than_for_leo(tmp_path, host):
    async with serving(tmp_path, **THREE) as service:
        async with await host.connect(service.socket) as peer:
            await dreams(peer, 2)
        async with await onlooker(service) as peer:
            await peer.call("dialogs.undream", {"since": 0.0})
            await peer.call("dialogs.forget", {"id": 2})
        async with await host.connect(service.socket):
            await undone(service)
        assert {meta["dialog"] for what, meta in host.asked if what is not None} == {1}
        assert (await service.store.get(1))["undone"] == "done"
        assert service.failures.counts == {}


async def test_a_refused_request_takes_no_file(tmp_path, host, monkeypatch):
    monkeypatch.setattr(hold, "WAIT_S", 0.01)
    gate = Gate()
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        await dreams(peer, 1)
        await settled(service)
        async with await leo(
            service, name="other", generate=gate
        ) as other:  # without a field: not to be suspended
            dreaming = asyncio.create_task(other.call("dream.now", STIRRED))
            await gate.reached.wait()
            assert "cannot be suspended" in await refusal(peer, {"id": 1})
            gate.opened.set()
            await dreaming
        assert (await service.store.get(1))["undone"] is None
        [waiting, _] = await peer.call("inbox.list")
        assert waiting["trace_id"] == (await service.store.get(1))["trace_id"]


async def test_p5_a_file_that_could_not_be_taken_back_is_taken_by_the_next_daemon(tmp_path, host):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        before = rows_of(host.path)
        await dreams(peer, 1)
        await settled(service)

        def busy(_):
            raise InboxBusy(errno.EAGAIN, "the inbox is busy")

        service.inbox.take_back = busy
        assert "the inbox is busy" in await refusal(peer, {"id": 1})
        await service.undreaming.load()
        assert service.failures.counts["inbox: InboxBusy"] >= 1
        assert (service.undreaming.waiting, len(await peer.call("inbox.list"))) == ({}, 1)
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        await undone(service)
        await until_on_loop(lambda: rows_of(host.path) == before)
        assert await peer.call("inbox.list") == []


async def test_tells_its_subscribers(tmp_path, host):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        await dreams(peer, 1)
        await peer.call("events.subscribe")
        await peer.call("dialogs.undream", {"id": 1})
        _, [event] = peer.told.get_nowait()
        trace_id = (await service.store.get(1))["trace_id"]
        known = {"type": "dialog.undone", "dialog": 1, "trace_id": trace_id}
        assert event == known | {"at": event["at"], "lines": 3, "unknown": [], "missing": 0}


async def test_is_noted_though_the_one_who_asked_has_gone(tmp_path, host, monkeypatch):
    async with serving(tmp_path, **THREE) as service:
        async with await host.connect(service.socket) as peer:
            await dreams(peer, 1)
        reached, going_on, ask = asyncio.Event(), asyncio.Event(), service.store.ask_undream

        async def slowly(*arguments):
            reached.set()
            await going_on.wait()
            return await ask(*arguments)

        monkeypatch.setattr(service.store, "ask_undream", slowly)
        asking = asyncio.create_task(service.undreaming.undream(Asked(id=1)))
        await reached.wait()
        asking.cancel()
        going_on.set()
        await asyncio.wait([asking])
        assert service.undreaming.waiting == {}
        await service.undreaming.load()
        assert list(service.undreaming.waiting) == [1]


async def test_a_restore_says_that_what_was_taken_back_comes_back(tmp_path, host):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        await dreams(peer, 1)
        await peer.call("friend.checkpoint", "then")
        [told] = (await peer.call("dialogs.undream", {"id": 1}))["dialogs"]
        answer = await peer.call("friend.restore", "then")
        assert answer["added_dropped"] == answer["added"] == told["fragments"] > 0


async def test_friend_changes_when_no_other_leo_dreams(tmp_path, host):
    gate = Gate()
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        await dreams(peer, 1)
        async with await leo(service, name="other", generate=gate) as other:
            dreaming = asyncio.create_task(other.call("dream.now", STIRRED))
            await gate.reached.wait()
            asking = asyncio.create_task(peer.call("dialogs.undream", {"id": 1}))
            await until_on_loop(service.engine.dialogues.holding.locked)
            gate.opened.set()
            assert (await dreaming)["outcome"] == "complete"
            [told] = (await asking)["dialogs"]
            assert told["state"] == "done"


async def test_a_dialogue_that_waits_and_is_forgotten_is_not_taken_back_any_more(tmp_path, host):
    async with serving(tmp_path, **THREE) as service:
        async with await host.connect(service.socket) as peer:
            await dreams(peer, 2)
        async with await onlooker(service) as peer:
            for number in (1, 2):
                await peer.call("dialogs.undream", {"id": number})
            await peer.call("dialogs.forget", {"id": 2})
            assert (await peer.call("status"))["undreams"] == 1
        async with await host.connect(service.socket):
            await undone(service)
        assert {meta["dialog"] for _, meta in host.asked} == {1}
        assert service.failures.counts == {}


async def test_a_dialogue_that_was_forgotten_before_it_was_taken_up_is_not_taken_back(tmp_path, host):
    """As if `forget` had ended between the note in the store and the list in memory."""
    async with serving(tmp_path, **THREE) as service:
        service.undreaming.waiting[7] = "dream-7", FIELD
        async with await host.connect(service.socket):
            await undone(service)
        assert host.asked == []
        assert service.failures.counts == {}


async def test_a_dialogue_is_held_until_each_request_that_forgets_it_has_ended(tmp_path):
    async with serving(tmp_path) as service, service.undreaming.forgetting([1]):
        with pytest.raises(StoreUnavailable):
            async with service.undreaming.forgetting([1]):
                raise StoreUnavailable("locked", "the database is locked")
        assert 1 in service.undreaming._held
    assert service.undreaming._held == {}


async def test_what_waits_is_taken_up_later_if_the_database_fails(tmp_path, monkeypatch):
    async with serving(tmp_path) as service:
        service.undreaming._loaded = False

        async def fails():
            raise StoreUnavailable("locked", "the database is locked")

        monkeypatch.setattr(service.store, "waiting_undreams", fails)
        await service.undreaming.load()
        monkeypatch.undo()
        assert not service.undreaming._loaded
        await service.undreaming.load()
        assert service.undreaming._loaded


async def test_a_dialogue_in_work_is_taken_back_to_its_end_before_it_is_forgotten(tmp_path, host):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        await dreams(peer, 2)
        await settled(service)
        taking_back = Gate(lambda *_: {"undone": True, "missing": 0})
        peer.hooks["unobserve"] = taking_back
        async with await onlooker(service) as first, await onlooker(service) as second:
            taking = asyncio.create_task(first.call("dialogs.undream", {"since": 0.0}))
            await taking_back.reached.wait()
            forgetting = asyncio.create_task(second.call("dialogs.forget", {"before": 1e11}))
            await until_on_loop(lambda: service.undreaming._ends.get(2, [])[1:])
            taking_back.opened.set()
            assert (await forgetting)["dialogs"] == 2
            told = {one["id"]: one for one in (await taking)["dialogs"]}
        assert (told[2]["state"], told[2]["lines"]) == ("done", 3)
        assert (told[1]["state"], told[1]["why"]) == ("waiting", "it was forgotten meanwhile")
        assert service.undreaming.waiting == {}
        assert service.failures.counts == {}


async def test_a_dialogue_that_is_taken_back_too_slowly_is_not_forgotten_meanwhile(
    tmp_path, host, monkeypatch
):
    monkeypatch.setattr(undreaming, "HOLD_S", 0.01)
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        await dreams(peer, 1)
        await settled(service)
        peer.hooks["unobserve"] = taking_back = Gate(lambda *_: {"undone": True, "missing": 0})
        async with await onlooker(service) as first, await onlooker(service) as second:
            asking = asyncio.create_task(first.call("dialogs.undream", {"id": 1}))
            await taking_back.reached.wait()
            with pytest.raises(
                PeerError, match="dialogue 1 is being taken back; try again when that is done"
            ):
                await second.call("dialogs.forget", {"id": 1})
            taking_back.opened.set()
            assert (await asking)["dialogs"][0]["state"] == "done"
            assert (await second.call("dialogs.forget", {"id": 1}))["dialogs"] == 1


@pytest.mark.parametrize(
    ("missing", "state", "counted"),
    [(2.0, "done", 6), (1.5, "waiting", 0), ((1 << 63) - 1, "waiting", 0), ((1 << 64) - 1, "waiting", 0)],
)
async def test_a_count_of_what_was_missing_is_whole_and_fits_into_the_database(
    tmp_path, host, missing, state, counted
):
    async with serving(tmp_path, **THREE) as service, await host.connect(service.socket) as peer:
        await dreams(peer, 1)
        await settled(service)
        peer.hooks["unobserve"] = lambda *_: {"missing": missing}
        async with await onlooker(service) as other:
            [told] = (await other.call("dialogs.undream", {"id": 1}))["dialogs"]
        assert (told["state"], told["missing"]) == (state, counted)
        reasons = {"unobserve: wrong answer"} if state == "waiting" else set()
        assert service.failures.counts.keys() == reasons
