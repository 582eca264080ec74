"""The five tests that leo's author asked for by name, against a real daemon."""

import asyncio
import random
import sqlite3
from contextlib import closing

import pytest

from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.peer import PlainPeer, hearing, saying

STIRRED = {"prompt": "hello", "reply": "I am here", "trauma_level": 0.9}
ORIGIN = {
    "origin": ["I am a small organism. I speak from the field."],
    "readme": ["Leo listens.", "Leo drifts."],
}


async def settled(service) -> None:
    """Wait until no dialogue runs."""
    while running := [task for _, task in service.engine.dialogues.running.values()]:
        await asyncio.wait(running)


async def leo(service, name="leo", **hooks) -> PlainPeer:
    peer = await PlainPeer.connect(service.socket, **({"generate": saying, "observe": hearing} | hooks))
    await peer.hello(name)
    return peer


async def test_dream_import_and_init(tmp_path):
    """Import and start create the tables, and the daemon reports that it is ready."""
    async with serving(tmp_path) as service, await leo(service) as peer:
        assert (await peer.call("status"))["state"] == "ok"
        assert await peer.call("dream.seed", ORIGIN) == 3
        assert await peer.call("dream.seed", {"origin": ["Another."], "readme": []}) == 0
        assert [f["text"] for f in await peer.call("friend.fragments")] == [
            "I am a small organism. I speak from the field.", "Leo listens.", "Leo drifts.",
        ]  # fmt: skip
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database:
        tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        columns = {row[1] for row in database.execute("PRAGMA table_info(dream_turns)")}
    assert {"dream_meta", "dream_bootstrap_fragments", "dream_dialogs", "dream_turns"} <= tables
    assert {
        "dialog_id",
        "speaker",
        "text",
        "trauma_level",
        "pulse_novelty",
        "pulse_arousal",
        "pulse_entropy",
    } <= columns


@pytest.mark.parametrize(
    ("more", "opens"),
    [
        ({"trauma_level": 0.51}, True),
        ({"trauma_level": 0.5}, False),
        ({"pulse": {"novelty": 0.71, "arousal": 0, "entropy": 0}}, True),
        ({"pulse": {"novelty": 0.7, "arousal": 1, "entropy": 1}}, False),
        ({"quality": 0.35}, True),
        ({"quality": 0.55}, True),
        ({"quality": 0.349}, False),
        ({"quality": 0.551}, False),
        ({}, False),
        ({"trauma_level": None, "pulse": None, "quality": None, "math_state": None}, False),
    ],
)
async def test_dream_respects_each_threshold_alone(tmp_path, more, opens):
    async with serving(tmp_path, gate__chance=1) as service, await leo(service) as peer:
        decision = await peer.call("dream.context", {"prompt": "p", "reply": "r"} | more)
        await settled(service)
    assert (decision["reason"], decision["dream"]) == (("dream", True) if opens else ("calm", False))


async def test_dream_respects_cooldown_and_thresholds(tmp_path):
    """By the clock there is no dream before the interval is over, and one when it is. Chance is as drawn."""
    time = TestClock()
    always = {"gate__chance": 1, "gate__mode": "fixed"}
    async with serving(tmp_path, clock=time.clock, **always) as service, await leo(service) as peer:
        assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
        await settled(service)
        assert (await peer.call("dream.context", STIRRED))["wait_s"] == 180.0
        time.pass_s(179.75)
        for _ in range(50):  # no spamming
            decision = await peer.call("dream.context", STIRRED)
            assert (decision["reason"], decision["wait_s"]) == ("cooldown", 0.25)
        time.pass_s(0.25)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
        await settled(service)
        time.now -= 86_400  # the clock jumps back a day: one interval, and no more
        assert (await peer.call("dream.context", STIRRED))["wait_s"] == 180.0
        time.pass_s(180)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
        await settled(service)
        assert len(await peer.call("dialogs.recent", 100)) == 3

    # The cooldown is kept over a restart, and by the client's name.
    async with serving(tmp_path, clock=time.clock, gate__chance=1) as service:
        async with await leo(service) as peer:
            assert (await peer.call("dream.context", STIRRED))["reason"] == "cooldown"
        async with await leo(service, "other") as other:
            assert (await other.call("dream.context", STIRRED))["reason"] == "dream"
            await settled(service)

    drawn = random.Random(7)
    async with (
        serving(tmp_path, seed=7, gate__mode="fixed", gate__cooldown_s=0, gate__chance=0.3) as service,
        await leo(service) as peer,
    ):
        first = (await peer.call("dream.context", STIRRED))["drawn"]
        assert first == drawn.random()
        await settled(service)


async def test_dream_generates_internal_dialog(tmp_path):
    """Predictable hooks give three or four lines, recorded first and observed in order. The friend learns from them."""
    lines = iter(
        [
            "The river speaks!",
            "I hear the river speak of snow",
            "snow on the dark river",
            "LIGHT and more light",
        ]
    )
    recorded: list[int] = []

    def observe(text, meta):
        with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database:
            rows = database.execute(
                "SELECT text FROM dream_turns WHERE dialog_id = ?", (meta["dialog"],)
            ).fetchall()
        assert rows[-1] == (text,)  # P2: recorded before observed
        recorded.append(len(rows))

    async with serving(tmp_path, dialogue__candidates=1) as service:
        async with await leo(service, generate=lambda *_: next(lines), observe=observe) as peer:
            await peer.call("dream.seed", ORIGIN)
            ended = await peer.call("dream.now", STIRRED)
            dialog = await peer.call("dialogs.get", ended["dialog"])
            fragments = {f["text"]: f for f in await peer.call("friend.fragments")}
    observed = [(meta["speaker"], text) for method, [text, meta] in _only(peer, "observe")]
    assert ended["outcome"] == "complete"
    assert len(observed) == ended["lines"] in (3, 4)
    assert observed == [(turn["speaker"], turn["text"]) for turn in dialog["turns"]]
    assert [speaker for speaker, _ in observed] == ["leo", "friend", "leo", "friend"][: len(observed)]
    assert recorded == list(range(1, len(observed) + 1))
    learned = [text for text, fragment in fragments.items() if not fragment["origin"]]
    assert learned
    assert set(learned) <= {text for speaker, text in observed if speaker == "friend"}
    assert all(fragments[text]["weight"] == 0.3 for text in learned)
    assert all(fragment["weight"] == 0.99 for fragment in fragments.values() if fragment["origin"])


def _only(peer, method):
    return [asked for asked in peer.asked if asked[0] == method]


@pytest.mark.parametrize("hook", ["generate", "observe"])
async def test_dream_fails_silently_on_errors(tmp_path, hook, capfd):
    """P10, P14: an error of a hook ends its dialogue, is raised nowhere else, and is counted with its type."""

    def fail(*_):
        raise TypeError("secret words")

    async with serving(tmp_path, gate__chance=1) as service, await leo(service, **{hook: fail}) as peer:
        await peer.call("dream.seed", ORIGIN)
        assert (await peer.call("dream.context", STIRRED))["reason"] == "dream"
        await settled(service)
        status = await peer.call("status")
        [dialog] = await peer.call("dialogs.recent")
    assert status["failures"] == {f"{hook}: TypeError": 1}
    assert [error["type"] for error in status["last_errors"]] == ["TypeError"]
    assert status["dialogues"] == {"hook_error": 1}
    assert (dialog["outcome"], dialog["lines"]) == ("hook_error", 0 if hook == "generate" else 1)
    assert "secret" not in str(status) + str(capfd.readouterr())


async def test_dream_bootstrap_drift(tmp_path):
    """P4: after many dreams new fragments are in, old ones have faded, and the origin is there, at its floor."""
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        before = await peer.call("friend.fragments")
        for _ in range(150):
            await peer.call("dream.now", STIRRED)
        after = await peer.call("friend.fragments")
        drift = await peer.call("friend.drift", 200)
        assert await peer.call("friend.drift", 5, drift[4]["id"]) == drift[5:10]
        recent = await peer.call("dialogs.recent", 200)
        assert await peer.call("dialogs.recent", 5.0, float(recent[4]["id"])) == recent[5:10]
    origin = [f for f in after if f["origin"]]
    learned = sorted((f for f in after if not f["origin"]), key=lambda f: f["id"])
    assert {f["text"] for f in origin} == {f["text"] for f in before}
    assert all(0.2 <= f["weight"] < 0.25 for f in origin)
    assert len(learned) == 64
    assert learned[-1]["weight"] == 0.3
    assert learned[0]["weight"] < learned[-1]["weight"]
    assert drift[-1]["drift"] < drift[0]["drift"] <= 1.0
