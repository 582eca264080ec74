"""The gates over the wire: ranks among the signals of a client name, across connections and restarts."""

import random
import sqlite3
from contextlib import closing

import msgpack

from dreamd.dream.signals import ENOUGH, RANKED
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import ORIGIN, leo

NEVER = {"gate__chance": 0}  # what counts is whether the gates call for a dream


def wounded(trauma: float, **more: object) -> dict:
    return {"prompt": "p", "reply": "r", "trauma_level": trauma} | more


async def told(peer, contexts) -> list[dict]:
    return [await peer.call("dream.context", ctx) for ctx in contexts]


async def test_an_always_wounded_leo_dreams_only_of_his_worst_replies(tmp_path):
    rng = random.Random(3)
    contexts = [wounded(0.6 + 0.4 * rng.random()) for _ in range(200)]
    async with serving(tmp_path, **NEVER) as service, await leo(service) as peer:
        decisions = await told(peer, contexts)
    first, later = decisions[: ENOUGH - 1], decisions[ENOUGH - 1 :]
    assert {decision["reason"] for decision in first} == {"chance"}  # all above 0.5
    opened = [decision for decision in later if decision["reason"] == "chance"]
    assert 0.1 <= len(opened) / len(later) <= 0.3
    assert min(decision["trauma"] for decision in opened) > 0.85
    place = later[-1]["places"]["trauma"]
    values = [ctx["trauma_level"] for ctx in contexts]
    assert (place["below"], place["among"]) == (sum(value < values[-1] for value in values), 199)


async def test_overlap_opens_the_gate_if_trauma_does_not_vary(tmp_path):
    def replies(n: int) -> str:
        return " ".join(["I am a small organism"] * (n % 8) + [f"word{n} after word"] * (8 - n % 8))

    async with serving(tmp_path, **NEVER) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        decisions = await told(peer, (wounded(0.97, reply=replies(n)) for n in range(80)))
    opened = [n for n, decision in enumerate(decisions) if n >= ENOUGH and decision["reason"] == "chance"]
    assert {n % 8 for n in opened} <= {6, 7}
    assert len(opened) >= 5
    assert decisions[79]["places"]["trauma"]["signal"] == "overlap"


async def test_ranks_are_kept_by_name_over_connections_and_restarts(tmp_path):
    """After a stop all ranks are there. After a crash those are there that were told before the last dialogue."""
    async with serving(tmp_path, **NEVER) as service:
        async with await leo(service) as peer:
            await told(peer, (wounded(n / 40) for n in range(40)))
        async with await leo(service) as again, await leo(service, "another") as other:
            [decision] = await told(again, [wounded(0.5)])
            assert decision["places"]["trauma"]["among"] == 40
            [decision] = await told(other, [wounded(0.9)])
            assert (decision["reason"], decision.get("places")) == ("chance", None)
    async with serving(tmp_path, **NEVER) as service, await leo(service) as peer:
        [decision] = await told(peer, [wounded(0.5)])
        assert (decision["places"]["trauma"]["among"], decision["places"]["trauma"]["below"]) == (41, 20)
        await peer.call("dream.now", wounded(0.5))
        with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database:
            rows = dict(database.execute("SELECT client, recent FROM dream_signals"))
    kept = {client: msgpack.unpackb(recent) for client, recent in rows.items()}
    assert kept["leo"]["trauma"] == [*(n / 40 for n in range(40)), 0.5, 0.5]
    assert kept["another"]["trauma"] == [0.9]


async def test_the_ranks_of_invented_names_are_bounded(tmp_path):
    for start in (0, 100):
        async with serving(tmp_path, **NEVER) as service:
            for number in range(start, start + 100):
                async with await leo(service, f"leo-{number}") as peer:
                    await told(peer, [wounded(0.9)])
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database:
        [(count,)] = database.execute("SELECT count(*) FROM dream_signals")
        longest = database.execute("SELECT max(length(recent)) FROM dream_signals").fetchone()[0]
    assert count == 64
    assert longest < 6 * 9 * RANKED


async def test_ranks_that_cannot_be_read_are_ignored(tmp_path):
    async with serving(tmp_path, **NEVER) as service, await leo(service) as peer:
        await told(peer, (wounded(n / 40) for n in range(40)))
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database, database:
        recent = msgpack.packb({"trauma": [float("nan")] * 40})
        database.execute("UPDATE dream_signals SET recent = ?", (recent,))
    async with serving(tmp_path, **NEVER) as service, await leo(service) as peer:
        [decision] = await told(peer, [wounded(0.9)])
    assert (decision["reason"], decision.get("places")) == ("chance", None)
