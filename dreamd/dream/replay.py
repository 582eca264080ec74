"""A stored dialogue, run again from its seed with the answers that its hooks gave (P13)."""

from collections.abc import Sequence
from typing import Any

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
    speak_dialogue,
)
from dreamd.dream.draws import Draws
from dreamd.dream.friend import Friend
from dreamd.dream.model import Answer, Context, Fragment, Line
from dreamd.dream.outcomes import Outcome


class Script(Struct, frozen=True, kw_only=True):
    """The record of a dialogue. The measures of its lines are the final ones, from the text or from a hook."""

    context: Context
    settings: DialogueSettings
    rng_seed: int
    fragments: list[Fragment]  # of the friend as he was, in his order
    recalled: list[str] | None  # None: not asked for, or not answered
    lines: list[Line]
    outcome: Outcome


class Differs(Exception):
    """The dialogue differs from the stored one. The message says where, in a line."""


def first_difference(script: Script) -> str | None:
    """Return in a line where the dialogue first differs from the stored one, or None if it does not.

    Compare its length, the speaker of each line, every prompt and parameter, and every line as it was cut.
    """
    run = speak_dialogue(
        script.context,
        Friend(tuple(script.fragments)),
        Draws(script.rng_seed),
        script.settings,
        can_recall=True,
    )
    try:
        effect = next(run)
        while True:
            match effect:
                case Generate(turn) if turn > len(script.lines):
                    # The hook call that ended it was not recorded as a line, so it ends here with the stored outcome.
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
        return _compare_end(script, stop.value.outcome, stop.value.lines)


def resume_dialogue(script: Script, *, can_recall: bool) -> tuple[Dialogue, Effect | Result]:
    """Run an interrupted dialogue from its record up to the interruption, and return it with its next effect, or its
    end. `can_recall`: its client provides `recall`, used if it was not called yet. Raise Differs."""
    begun = script.recalled is not None or bool(script.lines)
    run = speak_dialogue(
        script.context,
        Friend(tuple(script.fragments)),
        Draws(script.rng_seed),
        script.settings,
        can_recall=begun or can_recall,
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
    """Return the recorded answer to an effect. Raise Differs if the effect differs from the recorded one."""
    match effect:
        case Recall():
            return script.recalled or []
        case Generate(turn, candidate=candidate):
            line = script.lines[turn - 1]
            _compare_fields(effect, line, ("speaker", "seed", "temperature", "semantic_weight", "expert"))
            if candidate > len(line.candidates):
                raise Differs(f"line {turn}: another number of candidates")
            return _recorded_answer(line, candidate)
        case Record(line):
            _compare_fields(line, script.lines[line.turn - 1], ("text", "candidates"))
    return None


# Outcomes that come from the text of `generate`, so never while a line is observed.
_BY_TEXT = ("empty", "repeat")


def _recorded_answer(line: Line, candidate: int) -> Answer:
    """Return a candidate as the hook's answer. The chosen one has the measures of the line. Raise Differs."""
    measures = {name: getattr(line, name) for name in MEASURES}
    try:
        return Answer(text=line.candidates[candidate - 1], **measures)
    except ValueError:
        raise Differs(f"line {line.turn}: a measure that is not finite") from None


def _compare_fields(made: Generate | Line, stored: Line, names: Sequence[str]) -> None:
    for name in names:
        if getattr(made, name) != getattr(stored, name):
            raise Differs(f"line {made.turn}: another {name}")


def _compare_end(script: Script, outcome: Outcome, lines: Sequence[Any]) -> str | None:
    if len(lines) != len(script.lines):
        return f"line {len(lines) + 1}: the dialogue ended before it"
    return None if outcome == script.outcome else f"the end: {outcome} instead of {script.outcome}"
