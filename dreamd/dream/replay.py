"""A stored dialogue, run again from its seed with the answers that its hooks gave (P13)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dreamd.dream.dialogue import (
    DialogueSettings,
    Ended,
    Generate,
    Observe,
    Outcome,
    Recall,
    Record,
    dialogue,
)
from dreamd.dream.friend import Friend
from dreamd.dream.shapes import Answer, Context, Fragment, Line

if TYPE_CHECKING:
    import numpy as np


class Script(Struct, frozen=True, kw_only=True):
    """What was kept of a dialogue. The measures of its lines are the final ones, whoever told them."""

    context: Context
    settings: DialogueSettings
    rng_seed: int
    fragments: list[Fragment]  # of the friend as it was, in its order
    recalled: list[str]
    lines: list[Line]
    outcome: Outcome


def first_difference(script: Script, rng: "np.random.Generator") -> str | None:  # noqa: C901 - one case an effect
    """Where the dialogue goes another way than it was stored, in a line; None where it is the same throughout.

    Compares how long it is, whom each line is asked of, every prompt and parameter, and every line as it was cut.
    `rng` is made from the script's `rng_seed`.
    """
    run = dialogue(script.context, Friend(tuple(script.fragments)), rng, script.settings, can_recall=True)
    try:
        effect = next(run)
        while True:
            match effect:
                case Recall():
                    effect = run.send(script.recalled)
                case Generate(turn) if turn > len(script.lines):
                    # What ended it was not kept as a line: it ends here, in the same way.
                    if script.outcome == "complete":
                        return f"line {turn}: asked for, though the dialogue was complete"
                    effect = run.throw(Ended(script.outcome))
                case Generate(turn, candidate=candidate):
                    line = script.lines[turn - 1]
                    if found := _compare(
                        effect, line, ("speaker", "seed", "temperature", "semantic_weight", "expert")
                    ):
                        return found
                    effect = run.send(_answer(line, candidate))
                case Record(line):
                    if found := _compare(line, script.lines[line.turn - 1], ("text", "candidates")):
                        return found
                    effect = run.send(None)
                case Observe(line) if line.turn == len(script.lines) and script.outcome not in (
                    "complete",
                    *_BY_TEXT,
                ):
                    effect = run.throw(Ended(script.outcome))
                case _:
                    effect = run.send(None)
    except StopIteration as stop:
        return _end(script, stop.value.outcome, stop.value.lines)


# These end a dialogue at what `generate` said, so never while a line is observed.
_BY_TEXT = ("empty", "repeat")
_MEASURES = ("novelty", "arousal", "entropy", "trauma", "overlap", "quality")


def _answer(line: Line, candidate: int) -> Answer:
    """Return the candidate as the hook gave it; the measures of the one that was taken are those of the line."""
    return Answer(text=line.candidates[candidate - 1], **{name: getattr(line, name) for name in _MEASURES})


def _compare(made: Generate | Line, stored: Line, names: Sequence[str]) -> str | None:
    for name in names:
        if getattr(made, name) != getattr(stored, name):
            return f"line {made.turn}: another {name}"
    return None


def _end(script: Script, outcome: Outcome, lines: Sequence[Any]) -> str | None:
    if len(lines) != len(script.lines):
        return f"line {len(lines) + 1}: the dialogue ended before it"
    return None if outcome == script.outcome else f"the end: {outcome} instead of {script.outcome}"
