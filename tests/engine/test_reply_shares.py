"""How much of the replies dreams brought: as an independent script counts it, over restarts and forgetting."""

import asyncio
import re
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dreamd.ctl.commands.demo.command import PROMPTS
from dreamd.ctl.stand_in.field import TrigramField, read_story, split_sentences
from dreamd.ctl.stand_in.leo import SENTENCES
from dreamd.store.forgetting import Asked
from dreamd.wire.parts import Parts
from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.dreaming import leo, onlooker, settled
from tests.helpers.peer import PlainPeer
from tests.helpers.trouble import Locked, impatient

FORCED = {"gate__chance": 1, "gate__cooldown_s": 0, "gate__novelty_above": -1, "gate__mode": "fixed"}
Event = tuple[str, int, str]  # what, dialogue, text


def count(origin: list[str], events: list[Event]) -> tuple[list[float | None], dict[int, int]]:
    """Return the share of each reply, and the triples of replies by dialogue: written down as the guide says it, with
    nothing of dreamd."""

    def triples(text: str) -> list[tuple[str, ...]]:
        words = [word.casefold() for word in re.findall(r"[\w']+", text)]
        return list(zip(words, words[1:], words[2:], strict=False))

    known = {triple for text in origin for triple in triples(text)}
    brought: dict[tuple[str, ...], int] = {}
    shares: list[float | None] = []
    spoken: dict[int, int] = {}
    for what, dialog, text in events:
        own = triples(text)
        if what == "line":
            brought.update({each: dialog for each in own if each not in known and each not in brought})
            continue
        dreamt = [brought[each] for each in own if each in brought]
        shares.append(len(dreamt) / len(own) if own else None)
        for dialog in dreamt:
            spoken[dialog] = spoken.get(dialog, 0) + 1
        known.update(own)
    return shares, spoken


class Recorded:
    """A stand-in field that talks and dreams, and a record of what reached it."""

    def __init__(self, seed: int) -> None:
        self.field = TrigramField(Random(seed))
        self.field.observe(read_story())
        self.events: list[Event] = []
        self.shares: list[float | None] = []

    def generate(self, seed: str, temperature: float, weight: float, *_: Any) -> str:
        return self.field.generate(seed, temperature, weight, count=SENTENCES)

    def observe(self, text: str, meta: dict[str, Any]) -> dict[str, Any]:
        if meta["turn"] == 2:  # a line that the field does not take brings nothing
            return {"taken": False}
        self.field.observe(text)
        self.events.append(("line", meta["dialog"], text))
        return {"taken": True}

    async def talk(self, service: Parts, peer: PlainPeer, prompts: list[str]) -> None:
        for prompt in prompts:
            reply = self.field.reply(prompt)
            self.field.observe(reply)
            self.events.append(("reply", 0, reply))
            ctx = {"prompt": prompt, "reply": reply, "pulse": self.field.pulse(reply)}
            self.shares.append((await peer.call("dream.context", ctx)).get("from_dreams"))
            await settled(service)


async def test_agrees_with_an_independent_count_over_a_restart(tmp_path: Path) -> None:
    host = Recorded(seed=3)
    origin = split_sentences(read_story())[:5]
    for _ in range(3):
        async with serving(tmp_path, **FORCED) as service:
            peer = await PlainPeer.connect(service.socket, generate=host.generate, observe=host.observe)
            async with peer:
                await peer.hello("leo", field="F")
                await peer.call("dream.seed", {"origin": origin})
                await host.talk(service, peer, list(PROMPTS))
        async with serving(tmp_path, **FORCED) as service, await onlooker(service) as peer:
            stats = await peer.call("stats")
    shares, spoken = count(origin, host.events)
    assert host.shares == shares
    assert sum(share is not None and share > 0 for share in shares) >= 3
    assert {each["dialog"]: each["triples"] for each in stats["speakers"]} == dict(
        sorted(spoken.items(), key=lambda item: -item[1])[:10]
    )
    assert stats["replies"]["from_dreams"] == sum(spoken.values())
    assert stats["replies"]["replies"] == sum(share is not None for share in shares)


LINES = ("one two three four", "five six seven eight", "nine ten eleven twelve", "a b c d")
ALL = {"prompt": "", "reply": "one two three four; five six seven eight"}  # 6 triples: 2 and 2 are brought


async def dreamt(service: Parts, peer: PlainPeer) -> int:
    said = iter(LINES)
    peer.hooks["generate"] = lambda *_: next(said)
    dialog: int = (await peer.call("dream.now"))["dialog"]
    await settled(service)
    return dialog


async def test_a_forgotten_dialogue_speaks_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path, gate__enabled="false", dialogue__candidates=1) as service:
        async with await leo(service) as peer:
            dialog = await dreamt(service, peer)
            assert (await peer.call("dream.context", ALL))["from_dreams"] == pytest.approx(4 / 6)
            await peer.call("dialogs.forget", {"id": dialog})
            assert (await peer.call("dream.context", ALL))["from_dreams"] == 0.0
            assert "from_dreams" not in await peer.call("dream.context", {"reply": "two words"})
        await service.engine.keep_heard()
        stats = await service.store.stats()
        assert stats["replies"] == {"replies": 2, "triples": 12, "from_dreams": 4}
        assert stats["speakers"] == []
    async with serving(tmp_path, gate__enabled="false") as service, await leo(service) as peer:
        assert (await peer.call("dream.context", ALL))["from_dreams"] == 0.0


async def test_a_forgotten_dialogue_speaks_no_more_though_the_one_who_asked_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, gate__enabled="false", dialogue__candidates=1) as service:
        reached, going_on, forget = asyncio.Event(), asyncio.Event(), service.store.forget

        async def slowly(*arguments: Any) -> Any:
            reached.set()
            await going_on.wait()
            return await forget(*arguments)

        monkeypatch.setattr(service.store, "forget", slowly)
        async with await leo(service) as peer:
            forgetting = asyncio.create_task(service.forgetting.forget(Asked(id=await dreamt(service, peer))))
            await reached.wait()
            forgetting.cancel()
            await asyncio.wait([forgetting])
            going_on.set()
            async with service.delivery.paused([]):  # once all of it is forgotten
                pass
            assert await service.store.recent(9) == []
            assert (await peer.call("dream.context", ALL))["from_dreams"] == 0.0


async def test_a_dialogue_that_is_forgotten_while_it_is_loaded_speaks_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, gate__enabled="false", dialogue__candidates=1) as service:
        async with await leo(service) as peer:
            dialog = await dreamt(service, peer)
            shares, said_triples = service.engine.reply_shares, service.store.said_triples

            async def beside_a_forget() -> Any:
                await peer.call("dialogs.forget", {"id": dialog})
                return await said_triples()

            monkeypatch.setattr(service.store, "said_triples", beside_a_forget)
            shares._words = None
            await shares.load()
            assert (await peer.call("dream.context", ALL))["from_dreams"] == 0.0


async def test_what_was_taken_back_speaks_no_more(tmp_path: Path) -> None:
    async with serving(tmp_path, dialogue__candidates=1) as service, await leo(service) as peer:
        dialog = await dreamt(service, peer)
        service.engine.reply_shares.take_back({dialog})
        assert (await peer.call("dream.context", ALL))["from_dreams"] == 0.0


async def test_writes_at_the_tick_what_is_new_and_nothing_twice(tmp_path: Path) -> None:
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock, gate__enabled="false", dialogue__candidates=1) as service,
        await leo(service) as peer,
    ):
        await dreamt(service, peer)
        await peer.call("dream.context", ALL)
        time.pass_s(86_400)
        await peer.call("dream.context", ALL)
        lock = Locked(tmp_path)
        await impatient(service.store)
        lock.begin()
        for _ in range(2):  # at the second time the store is in trouble, so it is not tried
            await service.engine.reply_shares.save()
        lock.end()
        await service.store.probe()
        assert (await service.store.stats())["reply_days"] == {}
        await peer.call("dream.context", ALL)
        for _ in range(2):
            await service.engine.reply_shares.save()
        days = (await service.store.stats())["reply_days"]
        assert [(day["replies"], day["from_dreams"]) for day in days.values()] == [(1, 4), (2, 8)]
        assert len(await service.store.said_triples()) == 1


async def test_a_reply_to_an_earlier_daemon_is_an_earlier_one(tmp_path: Path) -> None:
    async with serving(tmp_path, gate__enabled="false") as service, await leo(service) as peer:
        await peer.call("dream.context", ALL)
        lock = Locked(tmp_path)
        await impatient(service.store)
        lock.begin()
        await service.engine.reply_shares.save()  # what was refused is written at the end
        assert service.failures.counts == {"store: locked": 1}
        lock.end()
        await service.store.probe()
    async with (
        serving(tmp_path, gate__enabled="false", dialogue__candidates=1) as service,
        await leo(service) as peer,
    ):
        await dreamt(service, peer)
        assert (await peer.call("dream.context", ALL))["from_dreams"] == 0.0


async def test_counts_nothing_before_it_is_loaded(tmp_path: Path) -> None:
    async with serving(tmp_path) as service, await leo(service) as peer:
        service.engine.reply_shares._words = None
        assert "from_dreams" not in await peer.call("dream.context", ALL)
        assert service.engine.reply_shares.of_line("leo", 1, "one two three") is None
        service.engine.pending.wake()
        await service.engine.pending.attempt()
        assert (await peer.call("dream.context", ALL))["from_dreams"] == 0.0
