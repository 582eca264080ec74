"""The friend outside of its buffer, in a checkpoint or an exported file, and what of it may take the buffer's place."""

from collections.abc import Hashable, Sequence
from math import isfinite

from msgspec import Struct
from msgspec.structs import replace

from dreamd.dream.friend import FRAGMENT_CHARS, FriendSettings, Share
from dreamd.dream.measures import clamped, words
from dreamd.dream.model import Fragment


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
    given: dict[Hashable, Copy] = {}
    for copy in sorted(copies, key=lambda copy: (not copy.origin, -copy.weight)):
        if copy.text.strip():
            given.setdefault(_key(copy.text), copy)
    first = [_weighed(copy, given.get(_key(copy.text))) for copy in copies_of(origin)] or [
        copy for copy in given.values() if copy.origin
    ][: settings.origin_most]
    born = {_key(copy.text) for copy in first}
    rest = [copy for key, copy in given.items() if not copy.origin and key not in born]
    heaviest = sorted(rest, key=lambda copy: -copy.weight)[: settings.buffer]
    taken = [_bounded(copy, settings.origin_floor) for copy in first]
    taken += [_bounded(copy, settings.floor) for copy in sorted(heaviest, key=lambda copy: copy.added_at)]
    return taken, len(given.keys() - {_key(copy.text) for copy in taken})


def _key(text: str) -> Hashable:
    """What makes two texts the same one: their words, where they have any."""
    return tuple(words(text)) or text


def _weighed(copy: Copy, by: Copy | None) -> Copy:
    return copy if by is None else replace(copy, weight=by.weight)


def _bounded(copy: Copy, floor: float) -> Copy:
    return replace(
        copy,
        text=copy.text if len(copy.text) <= FRAGMENT_CHARS else clamped(copy.text, most_chars=FRAGMENT_CHARS),
        weight=min(1.0, max(floor, copy.weight)),
        added_at=copy.added_at if isfinite(copy.added_at) else 0.0,
    )
