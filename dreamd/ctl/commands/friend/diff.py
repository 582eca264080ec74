"""`friend diff`: what came into the friend, what went, and whose weight changed."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from dreamclient.messages import Code, Method
from msgspec import Struct
from msgspec.structs import asdict

from dreamd.ctl.commands.friend.fragments import source_of
from dreamd.ctl.daemon.completers import complete_friends
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.dialogue_argument import resolve_dialogue
from dreamd.ctl.daemon.source import Source, refused_error
from dreamd.ctl.terminal.layout import fold_text, terminal_width
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_json, json_option

NOW = "now"
MOST = 20  # fragments of each kind that are shown if the user names no number
NARROW = 60  # columns; with fewer, a fragment is shown without its source
ALL = 1000  # checkpoints: more than there can be

Row = Mapping[str, Any]


class Friend(Struct):
    """The friend at one moment: at a checkpoint, before a dialogue, or now."""

    checkpoint: str | None = None
    dialog: int | None = None
    fragments: list[dict[str, Any]] = []

    @property
    def name(self) -> str:
        """The moment in words."""
        if self.dialog is not None:
            return f"before dialogue {self.dialog}"
        return NOW if self.checkpoint is None else f"at {self.checkpoint}"


class Difference(Struct):
    """The difference between two friends. `forgotten`: fragments of the first or the second whose text is gone."""

    came: list[Row]
    went: list[Row]
    changed: list[Row]  # with `before` and `after`, the largest change first
    same: int
    forgotten: int


@click.command(short_help="Compare the friend at two moments.")
@click.argument("first", metavar="[A]", default="last", shell_complete=complete_friends)
@click.argument("second", metavar="[B]", default=NOW, shell_complete=complete_friends)
@click.option(
    "-n",
    "count",
    type=Count(0),
    help="How many of each, 0 for all.  [default: 20, and all with --json]",
)
@json_option
@click.pass_obj
def diff(target: Target, first: str, second: str, count: int | None) -> None:
    """Show what came into the friend from A to B, what went, and whose weight changed.

    A and B are each the name of a checkpoint, a dialogue (its number, the beginning of its trace id, or `last`), or
    `now`. A dialogue stands for the friend before it. Without A and B: what the last dialogue changed.

    \b
    dreamctl friend diff                    since the last dialogue began
    dreamctl friend diff 7                  since dialogue 7 began
    dreamctl friend diff tuesday            since the checkpoint tuesday
    dreamctl friend diff previous           the last change by a command
    dreamctl friend diff tuesday 7
    """
    with target.dreams() as dreams:
        a, b = read_friend(dreams, first), read_friend(dreams, second)
    found = compare_friends(a.fragments, b.fragments)
    if target.as_json:
        moments = [{"checkpoint": each.checkpoint, "dialog": each.dialog} for each in (a, b)]
        for kind in (found.came, found.went, found.changed):
            del kind[count or len(kind) :]
        emit_json({"a": moments[0], "b": moments[1], **asdict(found)})
    else:
        columns = terminal_width()
        click.echo(fold_text(f"The friend {a.name} (A) and {b.name} (B)", columns) + "\n")
        click.echo(show_difference(found, columns, MOST if count is None else count))


def read_friend(dreams: Source, asked: str) -> Friend:
    """Return the friend at the moment that the user named. Raise Refused if there is none."""
    if asked == NOW:
        return Friend(fragments=dreams.call(Method.FRAGMENTS))
    if asked in {each["name"] for each in dreams.call(Method.CHECKPOINTS, ALL)}:
        return Friend(checkpoint=asked, fragments=dreams.call(Method.FRAGMENTS, asked))
    # Each trace id begins with `dream-`.
    if not (asked.isdecimal() or asked == "last" or asked.startswith("d")):
        what = f"{asked!r} is no checkpoint (`dreamctl friend checkpoint` lists them), no dialogue, and not `now`"
        raise refused_error(Code.NOT_FOUND, what)
    number = resolve_dialogue(dreams, asked)
    return Friend(dialog=number, fragments=dreams.call(Method.FRAGMENTS, None, number))


def compare_friends(a: Sequence[Row], b: Sequence[Row]) -> Difference:
    """Compare fragments by text and by whether they are origin. Those of which the text is gone are only counted."""
    first, second = (
        {(each["text"], each["origin"]): each for each in side if each["text"]} for side in (a, b)
    )
    both = [(first[key], second[key]) for key in first.keys() & second.keys()]
    changed = [
        {"text": then["text"], "origin": then["origin"], "dialog": then["dialog"], "before": then["weight"],
         "after": now["weight"]}
        for then, now in both
        if then["weight"] != now["weight"]
    ]  # fmt: skip
    return Difference(
        came=[each for key, each in second.items() if key not in first],
        went=[each for key, each in first.items() if key not in second],
        changed=sorted(changed, key=lambda each: (-abs(each["after"] - each["before"]), each["text"])),
        same=len(both) - len(changed),
        forgotten=sum(not each["text"] for each in (*a, *b)),
    )


def show_difference(found: Difference, columns: int, most: int) -> str:
    """Return a difference as text, of each kind the first `most` fragments, or all if it is 0."""
    lines: list[str] = []
    for sign, kind in (("+", found.came), ("-", found.went), ("~", found.changed)):
        lines += [_show_fragment(sign, each, columns) for each in kind[: most or None]]
        if rest := len(kind[most or len(kind) :]):
            lines.append(f"{sign} {rest} more with -n 0")
    lines += [""] if lines else []
    return "\n".join([*lines, fold_text(" ".join(_sentences(found)), columns)])


def _show_fragment(sign: str, fragment: Row, columns: int) -> str:
    changed = "after" in fragment
    weight = (
        f"{fragment['before']:.3f} to {fragment['after']:.3f}" if changed else f"{fragment['weight']:.3f}"
    )
    source = f"  {source_of(fragment):<9}" if columns >= NARROW else ""
    label = f"{sign} {weight}{source}  "
    return fold_text(fragment["text"], columns, " " * min(len(label), columns // 2), label)


def _sentences(found: Difference) -> Iterator[str]:
    if not (found.came or found.went or found.changed):
        yield "Nothing differs."
    else:
        changed = f"{len(found.changed)} changed in weight"
        yield f"{len(found.came)} came, {len(found.went)} went, {changed}, {found.same} stayed as they were."
    if found.forgotten:
        yield f"Forgotten since: {found.forgotten}."
