"""Copies of the friend in checkpoints and exported files, and the buffer that can be made from them."""

from collections.abc import Hashable, Sequence
from math import isfinite

from msgspec import Struct
from msgspec.structs import replace

from dreamd.dream.friend import FRAGMENT_CHARS, FriendSettings, Share
from dreamd.dream.measures import clamped, words
from dreamd.dream.model import Fragment


class Copy(Struct, frozen=True, kw_only=True):
    """A fragment without its id, which only the buffer gives."""

    text: str
    weight: Share
    origin: bool = False
    dialog: int | None = None  # the dialogue it came from
    added_at: float = 0.0  # unix s


def copies_of(fragments: Sequence[Fragment]) -> list[Copy]:
    """Return copies of the fragments."""
    return [
        Copy(text=f.text, weight=f.weight, origin=f.origin, dialog=f.dialog, added_at=f.added_at)
        for f in fragments
    ]


def to_take_in(
    copies: Sequence[Copy], origin: Sequence[Fragment], settings: FriendSettings
) -> tuple[list[Copy], int]:
    """Return the next buffer, and how many copies have no place in it.

    P4: `origin` stays whole, and takes only the weights of its copies. If it is empty, the copies' own origin becomes
    the origin. The heaviest of the others fill the buffer. Each text (compared by its words) is there once, within its
    bounds.
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
    """Return the key by which texts are compared: their words, or the text itself if it has none."""
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
