"""The gate: each reason alone, and in order."""

import math
from collections.abc import Callable
from typing import Any, get_args

import msgspec
import pytest

from dreamd.dream.gate import (
    FIXED,
    REASONS,
    Decision,
    Gate,
    GateSettings,
    Reason,
    decide_to_dream,
)
from dreamd.dream.model import Context, Pulse
from dreamd.dream.signals import ENOUGH, Place, Signals

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
    return decide_to_dream(ctx, gate or GateSettings(), **{**OPEN, **world}, draw=draw)


# What alone makes each reason, in the order of decision.
CLOSED: dict[str, dict[str, Any]] = {
    "disabled": {"gate": GateSettings(enabled=False)},
    "degraded": {"degraded": True},
    "paused": {"paused_left_s": 60.0},
    "no_hooks": {"has_hooks": False},
    "busy": {"busy": True},
    "mute": {"mute_left_s": 12.0},
    "cooldown": {"cooldown_left_s": 41.0},
    "calm": {"ctx": Context()},
}


def test_the_reasons_are_a_closed_list_in_the_order_of_decision() -> None:
    assert get_args(Reason) == REASONS == (*CLOSED, "chance", "dream", "asked", "resumed")


@pytest.mark.parametrize("reason", CLOSED)
def test_each_reason_alone_closes_the_gate_without_a_draw(reason: str) -> None:
    decision = decided(**CLOSED[reason], draw=never)
    assert (decision.dream, decision.reason) == (False, reason)
    assert (decision.at, decision.client, decision.drawn) == (1000.0, "leo", None)


def test_reports_the_first_reason_that_applies() -> None:
    held: dict[str, Any] = {}
    for reason in reversed(CLOSED):
        held |= CLOSED[reason]
        assert decided(**held, draw=never).reason == reason


def test_a_decision_has_the_rest_of_a_cooldown_or_pause() -> None:
    assert decided(mute_left_s=12.0).wait_s == 12.0
    assert decided(cooldown_left_s=41.0).wait_s == 41.0
    assert (decided(paused_left_s=60.0).wait_s, decided(paused_left_s=math.inf).wait_s) == (60.0, None)
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


def test_a_decision_carries_its_numbers_and_bounds() -> None:
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


# --- ranks


def known(contexts: list[Context]) -> Signals:
    signals = Signals()
    for ctx in contexts:
        signals.add(ctx, overlap(ctx))
    return signals


def overlap(ctx: Context) -> Callable[[], float]:
    return lambda: len(ctx.reply) / 1000


def spread(n: int) -> Context:
    """Return the nth of a hundred contexts: trauma rises, novelty falls, quality goes up and down."""
    return Context(trauma_level=n / 100, pulse=Pulse(novelty=1 - n / 100), quality=n * 37 % 100 / 100)


HUNDRED = [spread(n) for n in range(100)]
NEVER_BY_THRESHOLD = {"trauma_above": 2.0, "novelty_above": 2.0, "quality_low": 2.0, "quality_high": 2.0}


@pytest.mark.parametrize("gate", ["trauma", "novelty", "quality"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.2, 0.5, 1.0])
def test_a_gate_is_open_for_its_share_of_the_last_values(gate: str, share: float) -> None:
    others = {name: 2.0 for name in NEVER_BY_THRESHOLD if not name.startswith(gate)}
    settings, signals = GateSettings(**{f"{gate}_share": share}, **others), known(HUNDRED)
    opened = [ctx for ctx in HUNDRED if decided(ctx, settings, signals=signals).reason == "dream"]
    assert len(opened) == round(100 * share)
    values = {"trauma": [c.trauma_level for c in opened], "novelty": [c.pulse.novelty for c in opened],
              "quality": [c.quality for c in opened]}[gate]  # fmt: skip
    lowest = 0.5 - share / 2 if gate == "quality" else 1 - share
    assert all(lowest - 0.011 <= value <= lowest + share + 0.011 for value in values)


def test_until_there_are_enough_contexts_the_thresholds_decide() -> None:
    for count, signal in ((ENOUGH - 1, None), (ENOUGH, "trauma")):
        contexts = [Context(trauma_level=0.6 + n / 100) for n in range(count)]
        lowest = decided(contexts[0], signals=known(contexts))
        assert lowest.reason == ("calm" if signal else "dream")  # 0.6 > 0.5, and yet the lowest of all
        assert (lowest.places or {}).get("trauma") == (
            Place(signal="trauma", value=0.6, below=0, above=count - 1, among=count - 1) if signal else None
        )


def test_fixed_mode_never_ranks() -> None:
    decision = decided(HUNDRED[55], GateSettings(mode="fixed"), signals=known(HUNDRED))
    assert (decision.reason, decision.places) == ("dream", None)  # trauma 0.55 > 0.5
    assert decision.gate == GateSettings(mode="fixed", **FIXED)


@pytest.mark.parametrize(
    ("gate", "threshold"),
    [("trauma", "trauma_above"), ("novelty", "novelty_above"), ("quality", "quality_low"), ("quality", "quality_high")],
)  # fmt: skip
def test_a_threshold_that_was_set_makes_its_gate_fixed(gate: str, threshold: str) -> None:
    settings = GateSettings(**{threshold: FIXED[threshold]})  # even at its default
    decision = decided(HUNDRED[50], settings, signals=known(HUNDRED))
    assert decision.places is not None
    assert decision.places.keys() == {"trauma", "novelty", "quality"} - {gate}
    assert decision.gate is not None
    held = {name: getattr(decision.gate, name) for name in FIXED}
    assert held == {name: FIXED[name] if name.startswith(gate) else None for name in FIXED}


def test_a_signal_that_does_not_vary_opens_no_gate() -> None:
    flat = [Context(trauma_level=0.95, pulse=Pulse(novelty=0.9), quality=0.5) for _ in range(50)]
    decision = decided(flat[0], signals=known(flat), draw=never)
    assert decision.reason == "calm"
    assert [place.varies for place in (decision.places or {}).values()] == [False] * 3


def test_the_overlap_with_the_origin_opens_the_gate_of_a_trauma_that_does_not_vary() -> None:
    flat = [Context(trauma_level=0.95, reply="x" * 10 * n) for n in range(50)]
    signals = known(flat)
    found = [decided(ctx, signals=signals, overlap=overlap(ctx)) for ctx in flat]
    assert [decision.reason for decision in found] == ["calm"] * 40 + ["dream"] * 10
    assert {place.signal for decision in found for place in (decision.places or {}).values()} == {"overlap"}


def test_a_decision_by_rank_says_where_each_signal_stands() -> None:
    told = msgspec.to_builtins(decided(HUNDRED[90], signals=known(HUNDRED)))
    assert told["places"]["trauma"] == {
        "signal": "trauma", "value": 0.9, "below": 90, "above": 9, "among": 99, "open": True,
    }  # fmt: skip
    assert "open" not in told["places"]["novelty"]
    assert told["gate"]["trauma_above"] is None
    assert msgspec.convert(told, Decision) == decided(HUNDRED[90], signals=known(HUNDRED))


def test_ties_share_their_middle_rank() -> None:
    """Thirty of a hundred are at the top: more than the highest fifth, and all are open. Half of them is too many."""
    for at_the_top, reason in ((30, "dream"), (50, "calm")):
        contexts = [Context(trauma_level=1.0 if n < at_the_top else n / 200) for n in range(100)]
        assert decided(contexts[0], signals=known(contexts)).reason == reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"cooldown_s": -1},
        {"chanse": 1},
        {"enabled": "yes"},
        {"mode": "off"},
        {"trauma_share": 1.1},
        {"chance": 30},
    ],
)
def test_settings_refuse_unknown_keys(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, GateSettings)


def decided_by(gate: Gate, *, is_new: bool = True, has_hooks: bool = True) -> Decision:
    return gate.decide(
        Context(prompt="a", reply="b", trauma_level=0.9),
        "leo",
        at=1000.0,
        now_s=1000.0,
        is_new=is_new,
        has_hooks=has_hooks,
        busy=False,
        degraded=False,
        draw=lambda: 0.0,
        overlap=lambda: 0.0,
    )


def test_ranks_each_context_once_and_none_of_a_client_that_cannot_dream() -> None:
    gate = Gate(GateSettings())
    ranked = gate.clients["leo"].signals.recent["trauma"]
    decided_by(gate, has_hooks=False)
    assert len(ranked) == 0
    decided_by(gate)
    decided_by(gate, is_new=False)  # delivered again
    assert len(ranked) == 1


def test_one_dialogue_of_a_name_whatever_the_number_of_its_sessions() -> None:
    gate = Gate(GateSettings(cooldown_s=0))
    gate.clients["leo"].begin(7, 0.0)
    assert decided_by(gate).reason == "busy"
    gate.clients.end("leo", 7)
    assert decided_by(gate).reason == "dream"
