"""A leo of one prompt (`leo.py "prompt"`) is gone before he can dream of it: he dreams when he is back."""

import asyncio

from dreamd import engine as engine_module
from tests.daemon.test_dreaming import STIRRED, leo, settled
from tests.helpers.peer import PlainPeer, hearing, saying
from tests.helpers.service import serving


async def gone(service, peer: PlainPeer) -> None:
    """The peer leaves, and the daemon has seen it."""
    await peer.close()
    while service.sessions:
        await asyncio.sleep(0)
    await settled(service)


async def one_shot(service, name="leo", ctx=STIRRED) -> None:
    """Connects, tells of its reply, and is gone before it has said a line."""
    asked = asyncio.Event()

    async def never(*_):
        asked.set()
        await asyncio.Event().wait()

    peer = await leo(service, name, generate=never)
    assert (await peer.call("dream.context", ctx))["reason"] == "dream"
    await asked.wait()
    await gone(service, peer)


async def heard(service, name="leo") -> list[str]:
    """What a leo of that name is asked to dream from, when he connects."""
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
        assert service.engine.outcomes["lost"] == 1
        assert service.engine.outcomes["complete"] == 1


async def test_he_dreams_of_it_once(tmp_path):
    async with serving(tmp_path, gate__chance=1, gate__cooldown_s=0) as service:
        await one_shot(service)
        assert await heard(service)
        assert await heard(service) == []


async def test_it_is_his_latest_reply_that_he_dreams_of_and_nobody_elses(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service:
        await one_shot(service, ctx=STIRRED | {"prompt": "first"})
        async with await PlainPeer.connect(service.socket) as peer:  # without hooks: kept from dreaming too
            await peer.hello("leo")
            assert (await peer.call("dream.context", STIRRED | {"prompt": "second"}))["reason"] == "no_hooks"
        assert await heard(service, "someone else") == []
        seeds = await heard(service)
        assert "second" in seeds[0]
        assert "first" not in seeds[0]


async def test_a_leo_without_hooks_who_is_back_without_hooks_keeps_it(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service:
        await one_shot(service)
        async with await PlainPeer.connect(service.socket) as peer:
            await peer.hello("leo")
        assert service.engine._undreamt["leo"][1] == service.engine.decisions[0].drawn
        assert await heard(service)


async def test_the_draw_that_was_for_it_stands(tmp_path):
    """He was lucky once; a second draw would leave him with chance squared."""
    async with serving(tmp_path, gate__chance=1) as service:
        await one_shot(service)
        drawn = service.engine.decisions[0].drawn
        service.engine._chance.seed(4)
        before = service.engine._chance.getstate()
        service.engine._begin = lambda *_: (99, None)  # what a dialogue draws is its own affair
        await heard(service)
        assert service.engine.decisions[-1].drawn == drawn
        assert service.engine._chance.getstate() == before


async def test_for_a_context_that_was_never_drawn_for_the_chance_is_drawn(tmp_path):
    async with serving(tmp_path, gate__chance=0) as service:
        async with await PlainPeer.connect(service.socket) as peer:
            await peer.hello("leo")
            await peer.call("dream.context", STIRRED)
        assert await heard(service) == []
        assert service.engine.decisions[-1].reason == "chance"


async def test_a_no_of_the_gate_stays_a_no(tmp_path):
    async with serving(tmp_path, gate__chance=0) as service:
        peer = await leo(service)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "chance"
        await gone(service, peer)
        assert await heard(service) == []


async def test_it_is_weighed_anew_when_he_is_back(tmp_path):
    async with serving(tmp_path, gate__chance=1) as service:
        await one_shot(service)
        service.engine.cooldown.charge("leo", service.engine._clock.wall())
        assert await heard(service) == []
        assert service.engine.decisions[-1].reason == "cooldown"


async def test_a_dialogue_that_spoke_is_a_dream_that_was_had(tmp_path):
    asked = asyncio.Event()

    async def once(*_, said=[]):  # noqa: B006
        said.append(1)
        if len(said) == 1:
            return saying()
        asked.set()
        return await asyncio.Event().wait()

    async with serving(tmp_path, gate__chance=1, gate__cooldown_s=0) as service:
        peer = await leo(service, generate=once)
        await peer.call("dream.context", STIRRED)
        await asked.wait()
        await gone(service, peer)
        assert await heard(service) == []


async def test_a_dream_that_was_asked_for_is_not_repeated(tmp_path):
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


async def test_names_are_few(tmp_path, monkeypatch):
    """P11: the oldest of too many is dropped."""
    monkeypatch.setattr(engine_module, "UNDREAMT", 2)
    async with serving(tmp_path, gate__chance=1) as service:
        for name in ("a", "b", "a", "c"):
            async with await PlainPeer.connect(service.socket) as peer:
                await peer.hello(name)
                await peer.call("dream.context", STIRRED)
        assert list(service.engine._undreamt) == ["a", "c"]
