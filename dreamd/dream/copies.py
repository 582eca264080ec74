"""The friend outside of its buffer, in a checkpoint or an exported file, and what of it may take the buffer's place."""

from collections.abc import Sequence
from math import isfinite

from msgspec import Struct
from msgspec.structs import replace

from dreamd.dream.friend import FRAGMENT_CHARS, FriendSettings, Share
from dreamd.dream.pulse import clamped, words
from dreamd.dream.shapes import Fragment


class Copy(Struct, frozen=True, kw_only=True):
    """A fragment without its number, which is the buffer's own."""

    text: str
    weight: Share
    origin: bool = False
    dialog: int | None = None  # the dialogue it came from
    added_at: float = 0.0  # unix s


def copies_of(fragments: Sequence[Fragment]) -> list[Copy]:
    """The fragments as they are."""
    return [
        Copy(text=f.text, weight=f.weight, origin=f.origin, dialog=f.dialog, added_at=f.added_at)
        for f in fragments
    ]


def to_take_in(
    copies: Sequence[Copy], origin: Sequence[Fragment], settings: FriendSettings
) -> tuple[list[Copy], int]:
    """The next buffer, and how many copies have no place in it.

    P4: `origin` stays whole; its fragments take no more than the weights of their copies. Where it is empty, the
    copies' own origin becomes it. Of the rest the heaviest fill the buffer. Each text (compared by its words) is
    there once, in its bounds.
    """
    given: dict[tuple[str, ...], Copy] = {}
    for copy in sorted(copies, key=lambda copy: (not copy.origin, -copy.weight)):
        text = clamped(" ".join(copy.text.split()), most_chars=FRAGMENT_CHARS)
        if said := tuple(words(text)):
            given.setdefault(said, replace(copy, text=text))
    born = {tuple(words(fragment.text)): fragment for fragment in origin}
    first = [
        replace(copy, weight=given[said].weight) if said in given else copy
        for said, copy in zip(born, copies_of(list(born.values())), strict=True)
    ] or [copy for copy in given.values() if copy.origin][: settings.origin_most]
    rest = [copy for said, copy in given.items() if not copy.origin and said not in born]
    rest = sorted(rest, key=lambda copy: -copy.weight)[: settings.buffer]
    taken = [_bounded(copy, settings.origin_floor) for copy in first]
    taken += [_bounded(copy, settings.floor) for copy in sorted(rest, key=lambda copy: copy.added_at)]
    placed = {tuple(words(copy.text)) for copy in taken}
    return taken, sum(said not in placed for said in given)


def _bounded(copy: Copy, floor: float) -> Copy:
    return replace(
        copy,
        weight=min(1.0, max(floor, copy.weight)),
        added_at=copy.added_at if isfinite(copy.added_at) else 0.0,
    )
