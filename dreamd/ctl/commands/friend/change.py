"""What a change of the friend did, as text, and how to undo it."""

from collections.abc import Mapping
from typing import Any

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.terminal.layout import format_number
from dreamd.ctl.terminal.output import command_to_copy, emit_json, emit_note, emit_text

CHANGE_S = 60.0  # a dialogue that runs is waited for, or suspended

# Keys of an answer of newer daemons -> what they count.
SAID = {
    "added_dropped": "Dropped earlier, and back now",
    "added_forgotten": "Of forgotten dialogues, and back now",
    "missing": "Forgotten since, and not back",
}


def print_change(target: Target, done: str, answer: Mapping[str, Any]) -> None:
    """Print what a restore, drop, import or reseed changed, and how to undo it."""
    if target.as_json:
        emit_json(answer)
        return
    words = (
        f"{done}: {answer['fragments']} fragments, {answer['origin']} of them origin, drift "
        f"{format_number(answer['drift'])}; {answer['kept']} stayed, {answer['added']} came, {answer['left']} went."
    )
    words += "".join(f" {what}: {answer[key]}." for key, what in SAID.items() if answer.get(key))
    if undo := answer.get("undo", "previous"):  # a daemon of 0.1.0 does not name it
        words += f" `{command_to_copy(f'friend restore {undo}')}` takes this back."
        words += f" `{command_to_copy(f'friend diff {undo}')}` shows what changed."
    elif not answer["added"]:
        words += " Nothing changed."
    if kept := answer.get("origin_kept"):
        words += f" The origin that went is kept as {kept}."
    emit_text(words)
    if skipped := answer["skipped"]:
        why = "they say the same words twice, or are more than the buffer holds"
        emit_note(f"{skipped} had no place: {why}.")
