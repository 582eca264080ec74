"""Fragments of the friend as text."""

from collections.abc import Mapping, Sequence
from typing import Any

from dreamd.ctl.terminal.bars import draw_bar
from dreamd.ctl.terminal.layout import fold_text, format_moment, format_number, format_span
from dreamd.ctl.terminal.output import command_to_copy

NARROW = 60  # columns; with fewer, a fragment is shown without its bar and its age

Row = Mapping[str, Any]


def show_fragments(
    fragments: Sequence[Row],
    columns: int,
    now: float,
    *,
    most: int = 0,
    plain: bool = False,
    changed_at: float | None = None,
) -> str:
    """Return the first `most` fragments of a `friend.fragments` answer as text, or all if it is 0. `changed_at`: when a
    command changed the friend last."""
    if not fragments:
        return fold_text("The friend is empty: the first leo that connects brings his origin.", columns)
    shown = fragments[: most or None]
    digits = max(len(str(fragment["id"])) for fragment in shown)
    lines = [_show_fragment(fragment, digits, columns, now, plain) for fragment in shown]
    origin = sum(fragment["origin"] for fragment in fragments)
    rest = f"; {len(fragments) - len(shown)} more with -n 0" if len(shown) < len(fragments) else ""
    about = [f"{len(fragments)} fragments, {origin} of them origin{rest}."]
    if changed_at is not None:
        undo = command_to_copy("friend restore previous")
        about.append(
            f"Last changed by a command: {format_moment(changed_at, now)}. `{undo}` takes that back."
        )
    return "\n".join([*lines, "", *(fold_text(words, columns) for words in about)])


def source_of(fragment: Row) -> str:
    """Return where a fragment came from, in a word or two."""
    if fragment["origin"]:
        return "origin"
    return f"from {fragment['dialog']}" if fragment["dialog"] else "brought"


def _show_fragment(fragment: Row, digits: int, columns: int, now: float, plain: bool) -> str:
    number, source = f"{fragment['id']:>{digits}}", source_of(fragment)
    if columns < NARROW:
        label = f"{number}  {format_number(fragment['weight'])}  {source}  "
    else:
        age = (
            " ".join(format_span(max(0.0, now - fragment["added_at"])).split()[:2])
            if fragment["added_at"]
            else "-"
        )
        weight = f"{format_number(fragment['weight'])} {draw_bar(fragment['weight'], 6, plain)}"
        label = f"{number}  {weight}  {source:<9}  {age:>7}  "
    return fold_text(fragment["text"], columns, " " * min(len(label), columns // 2), label)
