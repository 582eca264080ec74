"""Each reason of the gate in words, from the gate's own decisions."""

from collections.abc import Sequence
from functools import partial

import msgspec
import pytest

from dreamd.ctl.terminal.decisions import in_words
from dreamd.dream.gate import REASONS, GateSettings, decide_to_dream
from dreamd.dream.model import Context, Pulse
from dreamd.dream.signals import Signals

MIDDLING = Context(trauma_level=0.31, pulse=Pulse(novelty=0.12), quality=0.5)
CALM = Context(trauma_level=0.31, pulse=Pulse(novelty=0.12), quality=0.78)
STIRRED = Context(trauma_level=0.9, pulse=Pulse(novelty=0.95), quality=0.78)


NEAR, FLAT = Context(trauma_level=1.0, reply="x" * 79), Context(pulse=Pulse(novelty=0.9))
YES = "opened the gate, and the dice said yes: 0.25, which is below 0.3"
INSTEAD = "(in place of {}, which does not vary) " + YES
PREDICTED = Context(quality=1.0, math_state={"quality": 0.5})


def decided(
    ctx: Context = CALM,
    settings: GateSettings | None = None,
    ranked: Sequence[Context] = (),
    **changes: object,
) -> dict:
    def overlap(of: Context = ctx) -> float:
        return len(f"{of.prompt} {of.reply}") / 100

    signals = Signals()
    for other in [*ranked, ctx] if ranked else ():
        signals.add(other, partial(overlap, other))
    said = {
        "at": 1.0,
        "client": "leo",
        "has_hooks": True,
        "busy": False,
        "mute_left_s": 0.0,
        "cooldown_left_s": 0.0,
        "degraded": False,
        "draw": lambda: 0.25,
        "signals": signals,
        "overlap": overlap,
    }
    return msgspec.to_builtins(decide_to_dream(ctx, settings or GateSettings(), **(said | changes)))


CASES = [
    (
        decided(has_hooks=False) | {"from_dreams": 0.0421},
        "no_hooks: this session provides no generate or no observe; 4.2 % of the reply came from dreams",
    ),
    (
        decided(has_hooks=False) | {"from_dreams": 0.0},
        "no_hooks: this session provides no generate or no observe",
    ),
    (decided(settings=GateSettings(enabled=False)), "disabled: gate.enabled is false"),
    (decided(degraded=True), "degraded: no dream can be kept now; `dreamctl status` says why"),
    (decided(has_hooks=False), "no_hooks: this session provides no generate or no observe"),
    (decided(busy=True), "busy: a dialogue of this name was running, or the friend was being changed"),
    (
        decided(mute_left_s=25.4),
        "mute: the last dialogue said nothing (`dreamctl doctor` says why); asked again in 25 s",
    ),
    (decided(cooldown_left_s=41.2), "cooldown: 41 s of 180 left"),
    (
        decided(),
        "calm: nothing called for a dream, since trauma 0.31 ≤ 0.5, novelty 0.12 ≤ 0.7, quality 0.78 outside 0.35-0.55",
    ),
    (decided(Context()), "calm: nothing called for a dream, since no measures were given"),
    (
        decided(STIRRED, draw=lambda: 0.84),
        "chance: trauma 0.9 > 0.5, novelty 0.95 > 0.7 opened the gate, but the dice said no: 0.84, needed below 0.3",
    ),
    (
        decided(MIDDLING),
        "dream: quality 0.5 within 0.35-0.55 opened the gate, and the dice said yes: 0.25, which is below 0.3",
    ),
    (
        decided(Context(trauma_level=0.915), ranked=[Context(trauma_level=n / 100) for n in range(100)]),
        f"dream: trauma 0.92: more wounded than after 92 of his last 100 replies {YES}",
    ),
    (
        decided(Context(trauma_level=0.205), ranked=[Context(trauma_level=n / 100) for n in range(100)]),
        "calm: nothing called for a dream, since trauma 0.2: less wounded than after 79 of his last 100 replies",
    ),
    (
        decided(NEAR, ranked=[Context(trauma_level=1.0, reply="x" * n) for n in range(80)]),
        f"dream: overlap 0.8: nearer to the origin than after 79 of his last 80 replies {INSTEAD.format('trauma')}",
    ),
    (
        decided(FLAT, ranked=[FLAT] * 80),
        "calm: nothing called for a dream, since novelty 0.9 does not vary, so it decides nothing",
    ),
    (
        decided(PREDICTED, ranked=[Context(quality=1.0, math_state={"quality": n / 80}) for n in range(80)]),
        f"dream: measured 0.5: better than after 40 of his last 80 replies {INSTEAD.format('quality')}",
    ),
    ({"reason": "asked", "dream": True}, "asked: a dream was asked for, past all gates"),
    ({"reason": "paused", "dream": False, "at": 0.0}, "paused: until `dreamctl resume`"),
    ({"reason": "resumed", "dream": True}, "resumed: a dream that was interrupted goes on"),
]


@pytest.mark.parametrize(("decision", "words"), CASES)
def test_each_decision_in_words(decision: dict, words: str) -> None:
    assert in_words(decision) == words


def test_every_reason_of_the_gate_has_words() -> None:
    assert {decision["reason"] for decision, _ in CASES} == {*REASONS, "asked"}


def test_leaves_out_what_another_version_does_not_send() -> None:
    assert in_words({"reason": "cooldown", "wait_s": 3.0}) == "cooldown: 3 s left"
    assert (
        in_words({"reason": "dream", "drawn": 0.1})
        == "dream: a measure opened the gate, and the dice said yes: 0.10"
    )
    assert in_words({"reason": "moonlight"}) == "moonlight"
    assert in_words({}) == "?"
