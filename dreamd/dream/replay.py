"""A stored dialogue, run again from its seed with the answers that its hooks gave (P13)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dreamclient.messages import MEASURES
from msgspec import Struct

from dreamd.dream.dialogue import (
    Dialogue,
    DialogueSettings,
    Effect,
    Ended,
    Generate,
    Observe,
    Recall,
    Record,
    Result,
    dialogue,
)
from dreamd.dream.friend import Friend
from dreamd.dream.model import Answer, Context, Fragment, Line
from dreamd.dream.outcomes import Outcome

if TYPE_CHECKING:
    import numpy as np


class Script(Struct, frozen=True, kw_only=True):
    """What was kept of a dialogue. The measures of its lines are the final ones, whoever told them."""

    context: Context
    settings: DialogueSettings
    rng_seed: int
    fragments: list[Fragment]  # of the friend as it was, in its order
    recalled: list[str] | None  # None: it was not asked for, or not answered
    lines: list[Line]
    outcome: Outcome


class Differs(Exception):
    """The dialogue goes another way than it was stored; says where, in a line."""


def first_difference(script: Script, rng: "np.random.Generator") -> str | None:
    """Return where the dialogue goes another way than it was stored, in a line; None if it is the same throughout.

    Compares how long it is, whom each line is asked of, every prompt and parameter, and every line as it was cut.
    `rng` is made from the script's `rng_seed`.
    """
    run = dialogue(script.context, Friend(tuple(script.fragments)), rng, script.settings, can_recall=True)
    try:
        effect = next(run)
        while True:
            match effect:
                case Generate(turn) if turn > len(script.lines):
                    # What ended it was not kept as a line: it ends here, in the same way.
                    if script.outcome == "complete":
                        return f"line {turn}: asked for, though the dialogue was complete"
                    effect = run.throw(Ended(script.outcome))
                case Observe(line) if line.turn == len(script.lines) and script.outcome not in (
                    "complete",
                    *_BY_TEXT,
                ):
                    effect = run.throw(Ended(script.outcome))
                case _:
                    effect = run.send(_kept_answer(script, effect))
    except Differs as differs:
        return str(differs)
    except StopIteration as stop:
        return _end(script, stop.value.outcome, stop.value.lines)


def resumed(
    script: Script, rng: "np.random.Generator", *, can_recall: bool
) -> tuple[Dialogue, Effect | Result]:
    """Run a dialogue that was interrupted up to where it was, without asking for anything again. Return it with what it
    wants next, or with its end. `can_recall`: whether its client recalls, if it has not yet. Raises Differs."""
    begun = script.recalled is not None or bool(script.lines)
    run = dialogue(
        script.context, Friend(tuple(script.fragments)), rng, script.settings, can_recall=begun or can_recall
    )
    try:
        effect = next(run)
        while not (isinstance(effect, Generate) and effect.turn > len(script.lines)):
            if isinstance(effect, Recall) and not begun:
                break
            effect = run.send(_kept_answer(script, effect))
    except StopIteration as stop:
        end: Result = stop.value
        if len(end.lines) != len(script.lines):
            raise Differs(f"line {len(end.lines) + 1}: the dialogue ended before it") from None
        return run, end
    return run, effect


def _kept_answer(script: Script, effect: Effect) -> Any:
    """Return what the effect was answered with. Raises Differs if it is not what was asked then."""
    match effect:
        case Recall():
            return script.recalled or []
        case Generate(turn, candidate=candidate):
            line = script.lines[turn - 1]
            _compare(effect, line, ("speaker", "seed", "temperature", "semantic_weight", "expert"))
            if candidate > len(line.candidates):
                raise Differs(f"line {turn}: another number of candidates")
            return _answer(line, candidate)
        case Record(line):
            _compare(line, script.lines[line.turn - 1], ("text", "candidates"))
    return None


# These end a dialogue at what `generate` said, so never while a line is observed.
_BY_TEXT = ("empty", "repeat")


def _answer(line: Line, candidate: int) -> Answer:
    """Return the candidate as the hook gave it; the measures of the one that was taken are those of the line."""
    return Answer(text=line.candidates[candidate - 1], **{name: getattr(line, name) for name in MEASURES})


def _compare(made: Generate | Line, stored: Line, names: Sequence[str]) -> None:
    for name in names:
        if getattr(made, name) != getattr(stored, name):
            raise Differs(f"line {made.turn}: another {name}")


def _end(script: Script, outcome: Outcome, lines: Sequence[Any]) -> str | None:
    if len(lines) != len(script.lines):
        return f"line {len(lines) + 1}: the dialogue ended before it"
    return None if outcome == script.outcome else f"the end: {outcome} instead of {script.outcome}"
