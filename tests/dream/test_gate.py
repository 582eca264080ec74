"""The gate: each reason alone, and in order."""

from typing import Any, get_args

import msgspec
import pytest

from dreamd.dream.gate import (
    REASONS,
    Decision,
    GateSettings,
    Reason,
    decide,
)
from dreamd.dream.shapes import Context, Pulse

STIRRED = Context(trauma_level=0.9)
OPEN = {
    "at": 1000.0,
    "client": "leo",
    "has_hooks": True,
    "busy": False,
    "mute_left_s": 0.0,
    "cooldown_left_s": 0.0,
    "degraded": False,
}


def never() -> float:
    raise AssertionError("drawn although something before said no")


def decided(ctx: Context = STIRRED, gate: GateSettings | None = None, **world: Any) -> Decision:
    draw = world.pop("draw", lambda: 0.0)
    return decide(ctx, gate or GateSettings(), **{**OPEN, **world}, draw=draw)


# What alone makes each reason, in the order of decision.
CLOSED: dict[str, dict[str, Any]] = {
    "disabled": {"gate": GateSettings(enabled=False)},
    "degraded": {"degraded": True},
    "no_hooks": {"has_hooks": False},
    "busy": {"busy": True},
    "mute": {"mute_left_s": 12.0},
    "cooldown": {"cooldown_left_s": 41.0},
    "calm": {"ctx": Context()},
}


def test_the_reasons_are_a_closed_list_in_the_order_of_decision() -> None:
    assert get_args(Reason) == REASONS == (*CLOSED, "chance", "dream", "asked")


@pytest.mark.parametrize("reason", CLOSED)
def test_each_reason_alone_closes_the_gate_and_nothing_is_drawn(reason: str) -> None:
    decision = decided(**CLOSED[reason], draw=never)
    assert (decision.dream, decision.reason) == (False, reason)
    assert (decision.at, decision.client, decision.drawn) == (1000.0, "leo", None)


def test_the_first_reason_that_holds_is_the_one_told() -> None:
    held: dict[str, Any] = {}
    for reason in reversed(CLOSED):
        held |= CLOSED[reason]
        assert decided(**held, draw=never).reason == reason


def test_a_decision_says_how_long_is_left() -> None:
    assert decided(mute_left_s=12.0).wait_s == 12.0
    assert decided(cooldown_left_s=41.0).wait_s == 41.0
    assert decided().wait_s is None


@pytest.mark.parametrize(
    ("ctx", "stirred"),
    [
        (Context(trauma_level=0.5), False),
        (Context(trauma_level=0.501), True),
        (Context(pulse=Pulse(novelty=0.7)), False),
        (Context(pulse=Pulse(novelty=0.701)), True),
        (Context(pulse=Pulse(arousal=1.0, entropy=1.0)), False),
        (Context(quality=0.349), False),
        (Context(quality=0.35), True),
        (Context(quality=0.55), True),
        (Context(quality=0.551), False),
        (Context(math_state={"trauma": 1.0}), False),
        (Context(), False),
    ],
)
def test_each_gate_alone_opens_at_its_threshold(ctx: Context, stirred: bool) -> None:
    assert decided(ctx).reason == ("dream" if stirred else "calm")


def test_thresholds_beyond_the_range_mean_always_or_never() -> None:
    always = GateSettings(trauma_above=-1.0)
    never_ever = GateSettings(trauma_above=2.0, novelty_above=2.0, quality_low=2.0)
    everything = Context(trauma_level=1.0, pulse=Pulse(novelty=1.0), quality=0.5)
    assert decided(Context(trauma_level=0.0), always).reason == "dream"
    assert decided(everything, never_ever).reason == "calm"


@pytest.mark.parametrize(
    ("chance", "drawn", "reason"),
    [(0.3, 0.299, "dream"), (0.3, 0.3, "chance"), (1.0, 0.999, "dream"), (0.0, 0.0, "chance")],
)
def test_a_dream_comes_when_the_draw_is_below_the_chance(chance: float, drawn: float, reason: str) -> None:
    gate = GateSettings(chance=chance)
    decision = decided(gate=gate, draw=lambda: drawn)
    assert (decision.reason, decision.drawn, decision.dream) == (reason, drawn, reason == "dream")


def test_a_decision_carries_the_numbers_that_made_it_and_what_they_were_held_against() -> None:
    ctx = Context(trauma_level=0.31, pulse=Pulse(novelty=0.12), quality=0.78)
    told = msgspec.to_builtins(decided(ctx))
    gate = told.pop("gate")
    assert told == {
        "at": 1000.0,
        "dream": False,
        "reason": "calm",
        "client": "leo",
        "trauma": 0.31,
        "novelty": 0.12,
        "quality": 0.78,
    }
    assert (gate["trauma_above"], gate["novelty_above"]) == (0.5, 0.7)
    assert (gate["quality_low"], gate["quality_high"]) == (0.35, 0.55)
    assert msgspec.convert({**told, "gate": gate}, Decision) == decided(ctx)


@pytest.mark.parametrize("wrong", [{"cooldown_s": -1}, {"chanse": 1}, {"enabled": "yes"}])
def test_settings_refuse_what_they_do_not_know(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, GateSettings)
