"""A leo of one prompt (`leo.py "prompt"`) is gone before he can dream of it: he dreams when he is back."""

import asyncio
import threading

from dreamd.dream import clients
from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.dreaming import STIRRED, Gate, leo, settled
from tests.helpers.peer import PlainPeer, hearing, saying
from tests.helpers.waiting import until_on_loop


async def gone(service, peer: PlainPeer) -> None:
    """Close the peer, and wait until the daemon has seen it."""
    await peer.close()
    while service.sessions:
        await asyncio.sleep(0)
    await settled(service)


async def one_shot(service, name="leo", ctx=STIRRED) -> None:
    """Connect, offer the context (None: dream of the one that was kept), and leave before the first line."""
    asked = asyncio.Event()

    async def never(*_):
        asked.set()
        await asyncio.Event().wait()

    peer = await leo(service, name, generate=never)
    if ctx is not None:
        assert (await peer.call("dream.context", ctx))["reason"] == "dream"
    await asked.wait()
    await gone(service, peer)


async def heard(service, name="leo") -> list[str]:
    """Connect a leo of that name, and return the seeds that he is asked with."""
    seeds: list[str] = []
    async with await PlainPeer.connect(
        service.socket, generate=lambda seed, *_: (seeds.append(seed), saying())[1], observe=hearing
    ) as peer:
        await peer.hello(name)
        await settled(service)
    return seeds


async def test_a_leo_who_left_too_early_dreams_when_he_is_back(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service:
        await one_shot(service)
        seeds = await heard(service)
        assert "hello" in seeds[0]
        assert service.engine.dialogues.outcomes["left"] == 1
        assert service.engine.dialogues.outcomes["complete"] == 1


async def test_a_kept_context_is_dreamt_of_once(tmp_path):
    async with serving(tmp_path, gate__chance=1, gate__cooldown_s=0) as service:
        await one_shot(service)
        assert await heard(service)
        assert await heard(service) == []


async def test_a_name_keeps_only_its_own_latest_context(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service:
        await one_shot(service, ctx=STIRRED | {"prompt": "first"})
        async with await PlainPeer.connect(service.socket) as peer:  # without hooks: kept from dreaming too
            await peer.hello("leo")
            assert (await peer.call("dream.context", STIRRED | {"prompt": "second"}))["reason"] == "no_hooks"
        assert await heard(service, "someone else") == []
        seeds = await heard(service)
        assert "second" in seeds[0]
        assert "first" not in seeds[0]


async def test_keeps_the_context_of_a_leo_that_returns_without_hooks(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service:
        await one_shot(service)
        async with await PlainPeer.connect(service.socket) as peer:
            await peer.hello("leo")
        assert service.engine.clients["leo"]._kept.drawn == service.engine.decisions.newest(1)[0].drawn
        assert await heard(service)


async def test_a_kept_context_keeps_its_draw(tmp_path):
    """He has passed the draw once. A second one would square his chance."""
    async with serving(tmp_path, gate__chance=1) as service:
        await one_shot(service)
        drawn = service.engine.decisions.newest(1)[0].drawn
        service.engine._chance.seed(4)
        before = service.engine._chance.getstate()
        service.engine.dialogues.begin = lambda *_: (99, None)  # what a dialogue draws is its own affair
        await heard(service)
        assert service.engine.decisions.newest(1)[0].drawn == drawn
        assert service.engine._chance.getstate() == before


async def test_draws_for_a_kept_context_without_a_draw(tmp_path):
    async with serving(tmp_path, gate__chance=0) as service:
        async with await PlainPeer.connect(service.socket) as peer:
            await peer.hello("leo")
            await peer.call("dream.context", STIRRED)
        assert await heard(service) == []
        assert service.engine.decisions.newest(1)[0].reason == "chance"


async def test_a_refused_context_is_not_kept(tmp_path):
    async with serving(tmp_path, gate__chance=0) as service:
        peer = await leo(service)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "chance"
        await gone(service, peer)
        assert await heard(service) == []


async def test_a_kept_context_is_decided_again(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service:
        await one_shot(service)
        service.engine.clients.charged("leo", service.engine._clock.wall(), ())
        assert await heard(service) == []
        assert service.engine.decisions.newest(1)[0].reason == "cooldown"


async def test_a_dialogue_that_spoke_is_not_repeated(tmp_path):
    asked = asyncio.Event()

    async def once(*_, said=[]):  # noqa: B006
        said.append(1)
        if len(said) <= 2:  # the candidates of the first line
            return saying()
        asked.set()
        return await asyncio.Event().wait()

    async with serving(tmp_path, gate__chance=1, gate__cooldown_s=0) as service:
        peer = await leo(service, generate=once)
        await peer.call("dream.context", STIRRED)
        await asked.wait()
        await gone(service, peer)
        assert await heard(service) == []


async def test_does_not_repeat_a_dream_that_was_asked_for(tmp_path):
    asked = asyncio.Event()

    async def never(*_):
        asked.set()
        await asyncio.Event().wait()

    async with serving(tmp_path, gate__chance=1) as service:
        peer = await leo(service, generate=never)
        call = asyncio.create_task(peer.call("dream.now", STIRRED))
        await asked.wait()
        await gone(service, peer)
        call.cancel()
        assert await heard(service) == []


async def test_a_context_that_crashes_its_client_is_delivered_once_more_and_then_paused(
    tmp_path,
):
    """Otherwise a supervised leo whose hook crashes him would crash at each start."""
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, gate__chance=1) as service:
        await one_shot(service)
        await one_shot(service, ctx=None)
        assert await heard(service) == []
        assert service.engine.dialogues.outcomes["left"] == 2
        await one_shot(service)
        assert await heard(service) == []
        peer = await leo(service)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "mute"
        time.pass_s(clients.MUTE_FIRST_S)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
        await settled(service)
        assert service.engine.clients["leo"].lost == 0
        await peer.close()


async def test_a_context_of_a_client_without_hooks_is_delivered_once(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service:
        async with await PlainPeer.connect(service.socket) as peer:
            await peer.hello("leo")
            await peer.call("dream.context", STIRRED)
        await one_shot(service, ctx=None)
        assert await heard(service) == []


async def test_a_kept_context_expires_after_a_day(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, gate__chance=1) as service:
        await one_shot(service)
        time.pass_s(clients.KEPT_S)
        assert await heard(service) == []


async def test_p11_bounds_the_names_of_absent_clients(tmp_path, monkeypatch):
    """P11: the names and their kept contexts are bounded, in memory and in the database."""
    monkeypatch.setattr(clients, "ABSENT", 2)
    async with serving(tmp_path, gate__chance=1) as service:
        async with await PlainPeer.connect(service.socket, generate=saying, observe=hearing) as peer:
            for name in ("a", "b", "c", "d", "e"):
                await peer.hello(name)
                assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
                await settled(service)
        for name in ("f", "g", "h"):
            async with await PlainPeer.connect(service.socket) as peer:
                await peer.hello(name)
                await peer.call("dream.context", STIRRED)
        while service.sessions:
            await asyncio.sleep(0)
        assert set(service.engine.clients._named) == {"d", "e"}
        assert set((await service.store.load()).last_run) == {"c", "d", "e"}


async def test_a_mute_clients_pause_belongs_to_its_name(tmp_path):
    """Otherwise a leo with a process for each prompt would dream each time."""

    def wrong(*_):
        raise ValueError

    async with serving(tmp_path, gate__chance=1) as service:
        peer = await leo(service, generate=wrong)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
        await settled(service)
        await gone(service, peer)
        peer = await leo(service)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "mute"
        await gone(service, peer)


async def test_one_cooldown_for_all_sessions_of_a_name_from_the_decision_on(tmp_path):
    gate = Gate()
    async with serving(tmp_path, gate__chance=1) as service:
        first, second = await leo(service, generate=gate), await leo(service)
        assert (await first.call("dream.context", STIRRED))["reason"] == "dream"
        await gate.reached.wait()
        assert (await second.call("dream.context", STIRRED))["reason"] == "busy"
        gate.opened.set()
        await settled(service)
        assert (await second.call("dream.context", STIRRED))["reason"] == "cooldown"
        await first.close()
        await second.close()


async def test_a_dialogue_keeps_the_name_of_its_beginning(tmp_path):
    gate = Gate()
    async with serving(tmp_path, gate__chance=1) as service, await leo(service, generate=gate) as peer:
        await peer.call("dream.context", STIRRED)
        await gate.reached.wait()
        renamed = asyncio.create_task(peer.hello("someone"))
        decided = asyncio.create_task(peer.call("dream.context", STIRRED))
        await until_on_loop(lambda: service.engine.reasons["busy"])
        gate.opened.set()
        await asyncio.gather(renamed, decided)
        await settled(service)
        assert (await service.store.load()).last_run.keys() == {"leo"}
        assert (await service.store.recent(1))[0]["client"] == "leo"
        assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
        await settled(service)


async def test_a_returning_client_is_not_busy_with_its_lost_dialogue(tmp_path):
    """The end of the dialogue may still wait for the disk."""
    hold = threading.Event()
    async with serving(tmp_path, gate__chance=1, gate__cooldown_s=0) as service:
        peer = await leo(service)
        hung = asyncio.create_task(service.store._read(lambda _: hold.wait(20)))
        assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
        await peer.close()
        await until_on_loop(lambda: not service.sessions)
        async with await leo(service) as back:
            assert (await back.call("dream.context", STIRRED))["reason"] == "dream"
            hold.set()
            await hung
            await settled(service)
    assert service.engine.dialogues.outcomes["left"] == 1
