"""The common part of `forget` and `prune`: their options, the question before, and the printed result."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from dreamd.ctl.terminal.dialogues import count_of, count_of_lines
from dreamd.ctl.terminal.layout import fold_text

FORGET_S = 600.0  # a large database is rewritten
UNDREAM_S = 120.0  # the daemon answers after 60 s at most, and before that it may wait for the inbox
ELSEWHERE = "Backups, exports and reports that you made keep what they hold"

friend_option = click.option("--friend", is_flag=True, help="Also forget what the friend keeps of it.")
everywhere_option = click.option(
    "--everywhere", is_flag=True, help="Also forget it in checkpoints and in copies of the database."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask, if this is a terminal.")


def confirm_for_good(yes: bool, does: Callable[[], str]) -> None:
    """Ask whether to do what cannot be undone, on a terminal and without --yes. Raise click.Abort if not."""
    if not yes and sys.stdin.isatty():
        click.confirm(f"This {does()}, for good. Go on?", abort=True, err=True)


def show_gone(gone: Mapping[str, Any], what: str, columns: int, *, undone: bool = False) -> str:
    """Return the answer of `dialogs.forget` as text. `undone`: it was taken back out of leo's field before."""
    files = count_of(gone["files"], "inbox file")
    fragments = f", {count_of(count, 'fragment')}" if (count := gone["fragments"]) else ""
    first = f"Forgot {what}: {count_of_lines(gone['lines'])}, {files}{fragments}."
    elsewhere = f"{ELSEWHERE}{'' if undone else ', and so does leo what he learned of it'}."
    lines = [first, *_left_words(gone), elsewhere]
    return "\n".join(fold_text(line, columns, "  ", "") for line in lines)


def _left_words(gone: Mapping[str, Any]) -> Iterator[str]:
    if gone["replays"]:
        yield f"Other dialogues that quoted it, and cannot be replayed any more: {gone['replays']}."
    if gone["fragments_left"]:
        yield f"Fragments of it that the friend still has: {gone['fragments_left']}. --friend removes them, also later."
    if held := ", ".join(gone["checkpoints_left"]):
        yield f"Checkpoints that hold some of it: {held}. --everywhere removes it, also later."
    if held := ", ".join(gone["copies_left"]):
        yield f"Copies of the database that may hold some of it, for you to delete: {held}."
    if not gone["scrubbed"]:
        yield (
            "Another program has the database open, or the disk has no room to rewrite it. "
            "The daemon overwrites the rest when it can."
        )
