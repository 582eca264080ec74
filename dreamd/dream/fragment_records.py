"""Copies of the friend in checkpoints and exported files, and the buffer that can be made from them."""

from collections.abc import Hashable, Sequence
from math import isfinite

from msgspec import Struct
from msgspec.structs import replace

from dreamd.dream.friend import FRAGMENT_CHARS, FriendSettings, Share
from dreamd.dream.measures import clamp_text, split_words
from dreamd.dream.model import Fragment


class FragmentRecord(Struct, frozen=True, kw_only=True):
    """A fragment without its id, which only the buffer gives."""

    text: str
    weight: Share
    origin: bool = False
    dialog: int | None = None  # the dialogue it came from
    added_at: float = 0.0  # unix s


def to_records(fragments: Sequence[Fragment]) -> list[FragmentRecord]:
    """Return copies of the fragments."""
    return [
        FragmentRecord(text=f.text, weight=f.weight, origin=f.origin, dialog=f.dialog, added_at=f.added_at)
        for f in fragments
    ]


def merge_records(
    copies: Sequence[FragmentRecord], origin: Sequence[Fragment], settings: FriendSettings
) -> tuple[list[FragmentRecord], int]:
    """Return the next buffer, and how many copies have no place in it.

    P4: `origin` stays whole, and takes only the weights of its copies. If it is empty, the copies' own origin becomes
    the origin. The heaviest of the others fill the buffer. Each text (compared by its words) is there once, within its
    bounds.
    """
    given: dict[Hashable, FragmentRecord] = {}
    for copy in sorted(copies, key=lambda copy: (not copy.origin, -copy.weight)):
        if copy.text.strip():
            given.setdefault(_text_key(copy.text), copy)
    first = [_take_weight(copy, given.get(_text_key(copy.text))) for copy in to_records(origin)] or [
        copy for copy in given.values() if copy.origin
    ][: settings.origin_most]
    born = {_text_key(copy.text) for copy in first}
    rest = [copy for key, copy in given.items() if not copy.origin and key not in born]
    heaviest = sorted(rest, key=lambda copy: -copy.weight)[: settings.buffer]
    taken = [_clamp_record(copy, settings.origin_floor) for copy in first]
    taken += [
        _clamp_record(copy, settings.floor) for copy in sorted(heaviest, key=lambda copy: copy.added_at)
    ]
    return taken, len(given.keys() - {_text_key(copy.text) for copy in taken})


def _text_key(text: str) -> Hashable:
    """Return the key by which texts are compared: their words, or the text itself if it has none."""
    return tuple(split_words(text)) or text


def _take_weight(copy: FragmentRecord, by: FragmentRecord | None) -> FragmentRecord:
    return copy if by is None else replace(copy, weight=by.weight)


def _clamp_record(copy: FragmentRecord, floor: float) -> FragmentRecord:
    return replace(
        copy,
        text=copy.text
        if len(copy.text) <= FRAGMENT_CHARS
        else clamp_text(copy.text, most_chars=FRAGMENT_CHARS),
        weight=min(1.0, max(floor, copy.weight)),
        added_at=copy.added_at if isfinite(copy.added_at) else 0.0,
    )
