"""P13: a stored dialogue, run again with the same answers, goes the same way; one that was changed does not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from dreamd.dream.dialogue import DialogueSettings, Ended, Generate, Recall, speak_dialogue
from dreamd.dream.draws import Draws
from dreamd.dream.friend import Friend
from dreamd.dream.model import Answer, Context, Fragment, LineMetrics, Pulse
from dreamd.dream.outcomes import OUTCOMES
from dreamd.dream.replay import Differs, Script, first_difference, resume_dialogue

FRIEND = Friend(
    tuple(
        Fragment(id=n, text=f"fragment number {n}", weight=0.1 * n, origin=n < 4, dialog=None, added_at=0.0)
        for n in range(1, 9)
    ),
    next_id=9,
)
CONTEXT = Context(
    prompt="hello", reply="here I am", pulse=Pulse(0.4, 0.5, 0.6), trauma_level=0.8, expert="creative"
)
SETTINGS = DialogueSettings(max_tokens=6)


def spoken(
    seed: int, end_at: int = 0, outcome: str = "lost", empty_at: int = 0, at_observe: bool = False
) -> Script:
    """Run a dialogue whose lines differ, with an end made for it, and keep what the store keeps."""
    run = speak_dialogue(CONTEXT, FRIEND, Draws(seed), SETTINGS, can_recall=seed % 2 == 0)
    recalled: list[str] = []
    try:
        effect = next(run)
        while True:
            match effect:
                case Recall():
                    recalled = [f"I remember {seed}"]
                    effect = run.send(recalled)
                case Generate(turn) if turn == end_at and not at_observe:
                    effect = run.throw(Ended(outcome))
                case Generate(turn, candidate=candidate):
                    said = (
                        ""
                        if turn == empty_at
                        else f"line {turn} of {seed} says a new thing and more than it may, {candidate}"
                    )
                    effect = run.send(Answer(text=said, arousal=0.25) if turn % 2 else Answer(text=said))
                case effect if type(effect).__name__ == "Observe" and effect.line.turn == end_at:
                    effect = run.throw(Ended(outcome))
                case effect if type(effect).__name__ == "Observe":
                    effect = run.send(LineMetrics(entropy=0.1 * effect.line.turn))
                case _:
                    effect = run.send(None)
    except StopIteration as stop:
        result = stop.value
    return Script(
        context=CONTEXT, settings=SETTINGS, rng_seed=seed, fragments=list(FRIEND.fragments), recalled=recalled,
        lines=result.lines, outcome=result.outcome,
    )  # fmt: skip


def difference(script: Script) -> str | None:
    return first_difference(script)


@given(seed=st.integers(0, 2**63 - 1))
def test_replays_every_line(seed):
    assert difference(spoken(seed)) is None


@pytest.mark.parametrize("outcome", [o for o in OUTCOMES if o not in ("complete", "empty", "repeat")])
@pytest.mark.parametrize("at_observe", [False, True])
@pytest.mark.parametrize("end_at", [1, 2, 3])
def test_replays_every_early_end(outcome, at_observe, end_at):
    script = spoken(5, end_at=end_at, outcome=outcome, at_observe=at_observe)
    assert script.outcome == outcome
    assert difference(script) is None


def test_replays_an_end_by_an_empty_line():
    script = spoken(6, empty_at=2)
    assert (script.outcome, len(script.lines)) == ("empty", 1)
    assert difference(script) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", "another"), ("temperature", 0.1), ("semantic_weight", 0.1), ("expert", "x"), ("speaker", "friend"),
        ("text", "line 1 of 7 sais"), ("candidates", ("another thing",) * 2),
    ],
)  # fmt: skip
def test_names_a_changed_byte(field, value):
    script = spoken(7)
    changed = [replace(script.lines[0], **{field: value}), *script.lines[1:]]
    found = difference(
        Script(**{name: getattr(script, name) for name in script.__struct_fields__} | {"lines": changed})
    )
    assert found == f"line 1: another {'text' if field == 'candidates' else field}"


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_names_a_measure_that_another_program_spoilt(value):
    script = spoken(7)
    fields = {name: getattr(script, name) for name in script.__struct_fields__}
    changed = Script(**fields | {"lines": [replace(script.lines[0], trauma=value), *script.lines[1:]]})
    assert difference(changed) == "line 1: a measure that is not finite"
    with pytest.raises(Differs, match="line 1: a measure"):
        resume_dialogue(changed, can_recall=False)


def test_names_another_length_or_end():
    script = spoken(8)
    fields = {name: getattr(script, name) for name in script.__struct_fields__}
    short = Script(**fields | {"lines": script.lines[:-1]})
    assert difference(short) == f"line {len(script.lines)}: asked for, though the dialogue was complete"
    long = Script(
        **fields | {"lines": [*script.lines, replace(script.lines[-1], turn=len(script.lines) + 1)]}
    )
    assert difference(long) == f"line {len(script.lines) + 1}: the dialogue ended before it"
    other = Script(**fields | {"outcome": "repeat"})
    assert difference(other) == "the end: complete instead of repeat"
