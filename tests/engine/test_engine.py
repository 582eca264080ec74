"""The engine: decisions at once and from memory, dialogues as tasks, one friend for all, and every kind of end."""

import asyncio
import itertools
import sqlite3
from contextlib import closing

import pytest
from dreamclient.messages import DECISIONS

from tests.helpers.daemons.in_loop import TestClock, chosen, serving
from tests.helpers.dreaming import ORIGIN, STIRRED, Gate, completed, leo, onlooker, settled
from tests.helpers.peer import PeerError, PlainPeer, hearing, saying
from tests.helpers.trouble import Locked, Trouble, impatient
from tests.helpers.waiting import until_on_loop


async def reason(peer, ctx=STIRRED):
    return (await peer.call("dream.context", ctx))["reason"]


async def test_decides_by_each_reason(tmp_path):
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock, gate__chance=1, gate__enabled="false") as service,
        await leo(service) as peer,
    ):
        assert await reason(peer) == "disabled"
    said = Gate()
    async with (
        serving(tmp_path, clock=time.clock, gate__chance=1) as service,
        await onlooker(service) as other,
    ):
        assert await reason(other) == "no_hooks"
        async with await leo(service, generate=said) as peer:
            peer.send([2, "dream.context", [STIRRED]])
            await said.reached.wait()
            peer.send([2, "dream.context", [STIRRED]])
            await until_on_loop(lambda: service.engine.reasons["busy"] == 1)
            said.opened.set()
            await settled(service)
            assert await reason(peer) == "cooldown"
            time.pass_s(180)
            assert await reason(peer, {}) == "calm"
            peer.hooks["generate"] = lambda *_: ""
            assert await reason(peer) == "dream"
            await settled(service)
            assert await reason(peer) == "mute"
            async with Trouble(service.store):
                assert await reason(peer) == "degraded"
        assert service.engine.reasons == {
            "no_hooks": 1, "dream": 2, "busy": 1, "cooldown": 1, "calm": 1, "mute": 1, "degraded": 1,
        }  # fmt: skip


async def test_pauses_of_a_mute_leo_grow_and_end_when_he_speaks(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, gate__chance=1, gate__cooldown_s=0) as service:
        async with await leo(service, generate=lambda *_: "") as peer:
            for pause_s in (30, 60, 120):
                assert await reason(peer) == "dream"
                await settled(service)
                time.pass_s(pause_s - 1)
                assert await reason(peer) == "mute"
                time.pass_s(1)
            peer.hooks["generate"] = saying
            for _ in range(3):
                assert await reason(peer) == "dream"
                await settled(service)


async def test_a_lost_dialogue_does_not_make_leo_mute(tmp_path):
    async with serving(tmp_path) as service:
        gate = Gate()
        peer = await leo(service, generate=gate)
        peer.send([0, 99, "dream.now", [None]])
        await gate.reached.wait()
        await peer.close()
        await settled(service)
        assert service.engine.dialogues.outcomes == {"left": 1}
        assert service.engine.clients["leo"].mute_left_s(service.clock.monotonic()) == 0
        assert service.engine.dreamer(1) is None
        assert service.failures.counts == {"generate: connection lost": 1}


async def test_the_last_256_decisions_are_kept(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        for _ in range(DECISIONS + 10):
            peer.send([2, "dream.context", [{}]])
        assert len(await peer.call("why", 1000)) == DECISIONS
        assert [d["session"] for d in await peer.call("why", 2)] == [1, 1]
        assert service.engine.reasons == {"no_hooks": DECISIONS + 10}


async def test_dream_now_uses_the_hooks_of_the_caller_or_of_another_session(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock) as service, await onlooker(service) as asker:
        with pytest.raises(PeerError, match="leo is not running: no session provides") as caught:
            await asker.call("dream.now")
        assert caught.value.code == 13
        async with await leo(service, "first") as first, await leo(service, "second") as second:
            await second.call("dream.context", {"prompt": "an earlier one", "reply": ""})
            time.ticks, time.now = time.ticks + 1, time.now - 3600  # the clock is set back
            await first.call("dream.context", {"prompt": "the latest of all", "reply": ""})
            await asker.call("dream.now")  # the one who spoke last, on his latest context
            assert first.asked[0][1][0].startswith("the latest of all")
            assert second.asked == []
            await asker.call("dream.now", None, 3)
            assert second.asked
            for number, what in ((9, "no session 9"), (1, "no generate and observe in session 1")):
                with pytest.raises(PeerError, match=what) as caught:
                    await asker.call("dream.now", None, number)
                assert caught.value.code == 13
            asked = [d["session"] for d in await asker.call("why") if d["reason"] == "asked"]
            assert asked == [3, 2]


async def test_one_dialogue_a_session_and_the_idle_one_is_found(tmp_path):
    gate = Gate()
    async with serving(tmp_path) as service, await onlooker(service) as asker:
        async with await leo(service, generate=gate) as busy, await leo(service) as idle:
            dreaming = asyncio.create_task(busy.call("dream.now", STIRRED))
            await gate.reached.wait()
            with pytest.raises(PeerError, match="session 2 is dreaming already; try again later") as caught:
                await asker.call("dream.now", None, 2)
            assert caught.value.code == 14
            await asker.call("dream.now", STIRRED)
            assert idle.asked
            gate.opened.set()
            assert (await dreaming)["outcome"] == "complete"


async def test_a_dialogue_goes_on_when_who_asked_for_it_has_gone(tmp_path):
    gate = Gate()
    async with (
        serving(tmp_path) as service,
        await leo(service, generate=gate),
        await onlooker(service) as other,
    ):
        asker = await onlooker(service)
        asker.send([0, 1, "dream.now", [STIRRED]])
        await gate.reached.wait()
        await asker.close()
        gate.opened.set()
        await settled(service)
        assert [d["outcome"] for d in await other.call("dialogs.recent")] == ["complete"]


async def test_begins_no_dream_that_cannot_be_stored(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        async with Trouble(service.store):
            with pytest.raises(PeerError, match="no dream can be kept now: locked") as caught:
                await peer.call("dream.now", STIRRED)
            assert caught.value.code == 10


async def test_loads_a_database_that_could_not_be_opened_at_the_start(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await peer.call("dream.now", STIRRED)
    (tmp_path / "dream.sqlite3").rename(tmp_path / "aside")
    (tmp_path / "dream.sqlite3").symlink_to("disk/dream.sqlite3")  # not mounted yet
    async with serving(tmp_path) as service, await leo(service) as peer:
        assert service.engine.unavailable_reason is not None
        assert await reason(peer) == "degraded"
        with pytest.raises(PeerError, match="no dream can be kept now"):
            await peer.call("dream.now", STIRRED)
        (tmp_path / "disk").mkdir()
        (tmp_path / "aside").rename(tmp_path / "disk" / "dream.sqlite3")
        assert await service.store.probe() is None
        with pytest.raises(PeerError, match="no dream can be kept now: starting"):
            await peer.call("dream.now", STIRRED)
        await completed(service)
        assert service.friend.seeded
        assert (await peer.call("dream.now", STIRRED))["dialog"] == 2


async def test_p11_a_seed_is_stored_though_its_sender_has_gone(tmp_path):
    """In an earlier version the origin was stored, but not in memory, and no later dream could finish."""
    async with serving(tmp_path) as service, await leo(service) as peer:
        other = await onlooker(service)
        other.send([0, 9, "dream.seed", [ORIGIN]])
        await other.writer.drain()
        await other.close()
        await until_on_loop(lambda: service.friend.seeded)
        assert (await peer.call("dream.now", STIRRED))["outcome"] == "complete"
        fragments = await peer.call("friend.fragments")
        assert sum(f["origin"] for f in fragments) == 3
        assert service.failures.counts == {}
        assert service.friend._changes == set()


async def test_the_first_seed_that_is_not_empty_wins_also_when_all_come_at_once(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        assert await peer.call("dream.seed", {}) == 0
        assert await peer.call("dream.seed", {"origin": ["", " \n "]}) == 0
        assert not service.friend.seeded
        seeds = [peer.call("dream.seed", {"origin": [f"Origin {n}."]}) for n in range(10)]
        assert await asyncio.gather(*seeds) == [1] + [0] * 9
        assert [f["text"] for f in await peer.call("friend.fragments")] == ["Origin 0."]


async def test_fifty_sessions_dream_at_once_and_the_friend_learns_from_each(tmp_path):
    """Each client hears only its own lines, in order. All lines are on disk and in the inbox."""
    count, calls = 50, itertools.count()

    def generate(*_):
        return f"line number {next(calls)} of the long night {next(calls)}"

    async with serving(tmp_path, friend__buffer=256) as service:
        await (first := await onlooker(service)).call("dream.seed", ORIGIN)
        peers = [await leo(service, f"leo{n}", generate=generate) for n in range(count)]
        ended = await asyncio.gather(*(peer.call("dream.now", STIRRED) for peer in peers))
        await settled(service)
        dialogs = {d["id"]: d for d in await first.call("dialogs.recent", 100)}
        fragments = await first.call("friend.fragments")
        for peer, end in zip(peers, ended, strict=True):
            dialog = await first.call("dialogs.get", end["dialog"])
            heard = [text for method, [text, *_] in peer.asked if method == "observe"]
            assert heard == [turn["text"] for turn in dialog["turns"]]
            assert dialog["client"] == f"leo{peers.index(peer)}"
            await peer.close()
        assert [end["outcome"] for end in ended] == ["complete"] * count
        assert len(dialogs) == count
        assert len(list((tmp_path / "inbox" / "dreams").glob("*.json"))) == count
        learned = [f for f in fragments if not f["origin"]]
        assert {f["dialog"] for f in learned} == set(dialogs)
        assert len({f["id"] for f in fragments}) == len(fragments)
        assert service.failures.counts == {}
        with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database:
            kept = dict(database.execute("SELECT id, weight FROM dream_bootstrap_fragments"))
        assert kept == {f["id"]: f["weight"] for f in fragments}
        await first.close()


@pytest.mark.parametrize("hook", ["generate", "observe"])
async def test_end_interrupts_dialogues_and_keeps_their_lines(tmp_path, hook):
    asked = itertools.count(1)

    async def second(*arguments):
        if next(asked) == 2:
            reached.set()
            await asyncio.Event().wait()
        return saying() if hook == "generate" else None

    reached = asyncio.Event()
    async with serving(tmp_path, dialogue__candidates=1) as service:
        peer = await PlainPeer.connect(
            service.socket, **({"generate": saying, "observe": hearing} | {hook: second})
        )
        await peer.hello()
        peer.send([0, 99, "dream.now", [STIRRED]])
        await reached.wait()
    lines = 1 if hook == "generate" else 2
    await peer.close()
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database:
        assert database.execute("SELECT outcome, episodes_count FROM dream_dialogs").fetchall() == [
            ("left", lines)
        ]
    assert len(list((tmp_path / "inbox" / "dreams").glob("*.json"))) == 1


async def test_end_answers_callers_that_wait_for_a_dream(tmp_path):
    gate = Gate()
    async with serving(tmp_path) as service:
        peer, asker = await leo(service, generate=gate), await onlooker(service)
        dreaming = asyncio.create_task(asker.call("dream.now", STIRRED))
        await gate.reached.wait()
    assert await dreaming == {"dialog": 1, "outcome": "left", "lines": 0}
    await peer.close()
    await asker.close()


async def test_activity_in_a_few_words(tmp_path):
    gate = Gate()
    async with serving(tmp_path) as service:
        assert service.engine.doing == "waiting for leo"
        async with await leo(service, generate=gate) as peer:
            assert service.engine.doing == "1 connected"
            dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
            await gate.reached.wait()
            assert service.engine.doing == "dreaming with session 1"
            async with Trouble(service.store):
                assert service.engine.doing == "degraded: locked"
            gate.opened.set()
            await dreaming


async def test_settings_change_with_the_next_decision_but_for_those_that_need_a_restart(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        assert service.engine.change_settings(chosen(gate__enabled="false", log__level="debug")) == ["log"]
        assert await reason(peer) == "disabled"
        assert service.engine.settings.log.level == "warning"
        assert service.engine.change_settings(chosen()) == []
        assert await reason(peer, {}) == "calm"


async def test_begins_no_dialogue_while_it_ends(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service, await leo(service) as peer:
        await service.engine.close()
        assert await reason(peer) == "degraded"
        with pytest.raises(PeerError, match="no dream can be kept now: stopping"):
            await peer.call("dream.now", STIRRED)


async def test_signals_that_could_not_be_stored_are_stored_later(tmp_path):
    async with serving(tmp_path, gate__chance=0) as service, await leo(service) as peer:
        await peer.call("dream.context", STIRRED)
        await impatient(service.store)
        lock = Locked(tmp_path)
        lock.begin()
        service.engine.decisions._uncounted.clear()  # else these are tried first, and the store is known as locked
        service.engine.reply_shares._days.clear()
        await service.engine.keep_heard()
        assert service.failures.counts == {"store: locked": 1}
        lock.end()
        await service.store.probe()
        await service.engine.keep_heard()
    async with serving(tmp_path) as service:
        assert len(service.engine.clients["leo"].signals.recent["trauma"]) == 1
