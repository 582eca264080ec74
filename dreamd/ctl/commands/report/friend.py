"""The friend on the page: what he is made of, what came to him and what left."""

from collections.abc import Mapping, Sequence
from typing import Any

from dreamd.ctl.commands.report.charts import escape_text, html_table
from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.layout import format_span

HEAVIEST = 12  # fragments that are shown at once; the others are folded
LATELY = 8  # fragments that came, and that left

Row = Mapping[str, Any]

_HEADING = "<h2>The friend</h2>"


def friend_section(fragments: Sequence[Row], left: Sequence[Row], now: float) -> str:
    """Return the friend as HTML. `fragments`: the heaviest first. `left`: those that left him, the last first."""
    if not fragments:
        return f"{_HEADING}<p>The friend is empty. The first leo that connects brings his origin.</p>"
    origin = sum(bool(fragment["origin"]) for fragment in fragments)
    came = sorted(
        (fragment for fragment in fragments if fragment["dialog"] is not None),
        key=lambda fragment: (-fragment["added_at"], -fragment["id"]),
    )
    rest = fragments[HEAVIEST:]
    folded = (
        f"<details><summary>The other {len(rest)}</summary>{_table(rest, now, 'The other fragments')}</details>"
        if rest
        else ""
    )
    return "".join(
        [
            _HEADING,
            f"<p>He is made of {count_of(len(fragments), 'fragment')}, {origin} of them origin, which never leaves.",
            " The heavier one is, the likelier a dream begins from it.</p>",
            _table(fragments[:HEAVIEST], now, "The heaviest fragments"),
            folded,
            "<h3>Came lately</h3>",
            _sayings(came[:LATELY], now) if came else "<p>Nothing has come from a dream yet.</p>",
            "<h3>Left lately</h3>",
            _sayings(left[:LATELY], now) if left else "<p>Nothing has left.</p>",
        ]
    )


def _table(fragments: Sequence[Row], now: float, about: str) -> str:
    rows = [(f"{each['weight']:.2f}", _age(each, now), _source(each), each["text"]) for each in fragments]
    return html_table(("weight", "age", "from", "fragment"), rows, about)


def _sayings(fragments: Sequence[Row], now: float) -> str:
    """Return fragments as a list, each with its source and when it came or left."""
    told = []
    for each in fragments:
        at = each.get("left_at") or each["added_at"]
        when = f", {format_span(max(0.0, now - at))} ago" if at else ""
        told.append(f"<li>{escape_text(each['text'])} <small>{_source(each)}{when}</small></li>")
    return f"<ul>{''.join(told)}</ul>"


def _age(fragment: Row, now: float) -> str:
    return format_span(max(0.0, now - fragment["added_at"])) if fragment["added_at"] else "-"


def _source(fragment: Row) -> str:
    if fragment["origin"]:
        return "origin"
    return "brought" if fragment["dialog"] is None else f"dream {fragment['dialog']}"
