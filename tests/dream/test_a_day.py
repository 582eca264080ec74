"""Check the number of dreams a day against the formula of docs/reference/settings.md."""

import random
from math import ceil
from statistics import mean

import pytest

from dreamd.dream.clients import ClientState
from dreamd.dream.gate import GateSettings, decide_to_dream
from dreamd.dream.model import Context, Pulse
from dreamd.dream.signals import ENOUGH, Signals

REPLIES, EVERY_S = 200, 60.0


def expected(share: float, settings: GateSettings) -> float:
    """Return the expected number of dreams a day: each takes its own reply, those before the gates open and those
    within the cooldown."""
    likely = share * settings.chance
    within = max(0, ceil(settings.cooldown_s / EVERY_S) - 1)
    return REPLIES * likely / (1 + likely * within)


def dreams_of_a_day(settings: GateSettings, rng: random.Random) -> tuple[int, float]:
    """Return how many dreams a leo with a full history has, and for which share of the replies the gates are open."""
    named, signals = ClientState(), Signals()
    dreams = opened = asked = 0
    for number in range(ENOUGH + REPLIES):
        now_s = number * EVERY_S
        ctx = Context(trauma_level=1.0, pulse=Pulse(novelty=rng.random()), quality=rng.random())
        signals.add(ctx, lambda: 0.0)
        decision = decide_to_dream(
            ctx,
            settings,
            at=now_s,
            client="leo",
            has_hooks=True,
            busy=False,
            mute_left_s=0.0,
            cooldown_left_s=named.cooldown_left_s(now_s, settings.cooldown_s),
            degraded=False,
            draw=rng.random,
            signals=signals,
        )
        if number < ENOUGH:
            continue
        asked += decision.reason in ("calm", "chance", "dream")
        opened += decision.reason in ("chance", "dream")
        if decision.dream:
            named.last_run_s = now_s
            dreams += 1
    return dreams, opened / asked


@pytest.mark.parametrize(("chance", "cooldown_s"), [(0.3, 180.0), (1.0, 180.0), (0.1, 0.0)])
def test_a_day_has_as_many_dreams_as_the_formula_says(chance: float, cooldown_s: float) -> None:
    settings = GateSettings(chance=chance, cooldown_s=cooldown_s)
    days = [dreams_of_a_day(settings, random.Random(seed)) for seed in range(40)]
    share = mean(share for _, share in days)
    assert 0.3 <= share <= 0.42  # of two signals that vary, a fifth each, and what they have in common
    assert mean(dreams for dreams, _ in days) == pytest.approx(expected(share, settings), rel=0.1)
