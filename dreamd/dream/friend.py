"""The imaginary friend: a drifting, weighted buffer of fragments, and nothing else.

A friend is a value: what comes after a dialogue is another friend. The origin fades but never leaves.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated

from msgspec import Meta, Struct
from msgspec.structs import replace

from dreamd.dream.draws import Draws
from dreamd.dream.measures import (
    Profile,
    Reading,
    blend_profiles,
    clamp_text,
    cosine_of_products,
    dot_product,
    is_alike,
    nearly_alike,
    read_text,
    split_words,
)
from dreamd.dream.model import Fragment, Line
from dreamd.dream.signals import Recent

Share = Annotated[float, Meta(ge=0, le=1)]

# A dialogue opens from one to three fragments.
MOST_DRAWN = 3
# No fragment is too light to be drawn, whatever weight an imported database gives it.
LEAST_WEIGHT = 1e-6
# Characters. A paragraph up to this length is one thought. A longer one is split into its sentences.
SHORT_PARAGRAPH = 160
# Characters of an origin fragment: as many as a line may have.
FRAGMENT_CHARS = 400


class FriendSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of the friend. Weights and shares are in [0, 1]."""

    # Fragments beside the origin: some weeks of dialogues, yet all of them compared in under 1 ms.
    buffer: Annotated[int, Meta(ge=1, le=256)] = 64
    # Weight of a new fragment: heard, yet far below an origin fragment's 1.0.
    admit_weight: Share = 0.3
    # Weight that a fragment gains when it is said again.
    strengthen: Share = 0.3
    # Factor on every older weight after each dialogue that spoke.
    decay: Share = 0.99
    # The least weight of a fragment: decay never deletes.
    floor: Share = 0.05
    # The least weight of an origin fragment: it stays four times as likely as the faintest other.
    origin_floor: Share = 0.2
    # A second line of a dialogue is kept from this strength on: the highest rank of its arousal, overlap and trauma
    # among the last 256 lines, so 0.5 is the upper half.
    second_above: float = 0.5
    # The most origin fragments: bounded, because all are compared for each dialogue, and the whole friend must fit into
    # one message.
    origin_most: Annotated[int, Meta(ge=1, le=256)] = 256


class Change(Struct, frozen=True):
    """The change of the friend by one dialogue, for the store to write."""

    added: list[Fragment]
    weights: list[tuple[int, float]]  # id and new weight of each older fragment that changed
    left: list[int]  # ids


@dataclass(frozen=True)
class Friend:
    """The fragments in the order in which they came, and the id of the next one."""

    fragments: tuple[Fragment, ...] = ()
    next_id: int = 1
    # Computed values that one friend hands to the next: the readings by text, and the profile of the origin.
    _readings: dict[str, Reading] = field(default_factory=dict, repr=False, compare=False)
    _origin: Profile | None = field(default=None, repr=False, compare=False)

    def sample(self, draws: Draws) -> list[Fragment]:
        """Draw one to three different fragments, the heavier the likelier. An empty friend gives none."""
        count = min(draws.whole_number(1, MOST_DRAWN), len(self.fragments))
        if not count:
            return []
        weights = [min(1.0, max(LEAST_WEIGHT, fragment.weight)) for fragment in self.fragments]
        total = sum(weights)
        drawn = draws.places([weight / total for weight in weights], count)
        return [self.fragments[place] for place in drawn]

    def after(
        self,
        friend_lines: Sequence[Line],
        *,
        dialog: int,
        at: float,
        settings: FriendSettings,
        ranks: "Ranks | None" = None,
    ) -> tuple["Friend", Change]:
        """Return the friend after a dialogue that spoke, and the change. `at` is in unix seconds."""
        kept = {fragment.id: _fade_fragment(fragment, settings) for fragment in self.fragments}
        next_id = self.next_id
        for line in _worth_keeping(friend_lines, settings, ranks or Ranks()):
            said = self._reading(line.text)
            like = [
                fragment
                for fragment in kept.values()
                if is_alike(own := self._reading(fragment.text), said)
                or (fragment.dialog == dialog and nearly_alike(own, said))
            ]
            same = [fragment for fragment in like if self._reading(fragment.text).words == said.words]
            if same:
                weight = min(1.0, same[0].weight + settings.strengthen)
                kept[same[0].id] = replace(same[0], weight=weight)
            elif not like:
                kept[next_id] = Fragment(
                    id=next_id,
                    text=line.text,
                    weight=settings.admit_weight,
                    origin=False,
                    dialog=dialog,
                    added_at=at,
                )
                next_id += 1
        for fragment_id in _crowded_out(kept, self.next_id, settings.buffer):
            del kept[fragment_id]
        readings = {fragment.text: self._reading(fragment.text) for fragment in kept.values()}
        friend = Friend(tuple(kept.values()), next_id, readings, self.origin_profile)
        return friend, self._change_to(friend)

    @cached_property
    def origin_profile(self) -> Profile:
        """The profile of the origin as it was born: each fragment at weight 1."""
        return self._origin or blend_profiles(
            (self._reading(f.text).profile, 1.0) for f in self.fragments if f.origin
        )

    def drift(self) -> float:
        """Return the cosine distance in [0, 1] of all fragments, at their weights, from the origin. 0 without an
        origin."""
        origin = self.origin_profile
        if not origin.square:
            return 0.0
        # Origin fragments mostly have one common weight: they are summed once at that weight, and the others
        # separately.
        usual = Counter(f.weight for f in self.fragments if f.origin).most_common(1)[0][0]
        apart = blend_profiles(
            (self._reading(f.text).profile, f.weight - usual if f.origin else f.weight)
            for f in self.fragments
            if not (f.origin and f.weight == usual)
        )
        across = dot_product(apart, origin)
        square = usual * usual * origin.square + 2.0 * usual * across + apart.square
        return 1.0 - cosine_of_products(usual * origin.square + across, square, origin.square)

    def fragment_words(self) -> list[tuple[str, ...]]:
        """Return the words of each fragment."""
        return [self._reading(fragment.text).words for fragment in self.fragments]

    def _reading(self, text: str) -> Reading:
        known = self._readings.get(text)
        if known is None:
            known = self._readings[text] = read_text(text)
        return known

    def _change_to(self, friend: "Friend") -> Change:
        before = {fragment.id: fragment.weight for fragment in self.fragments}
        now = {fragment.id: fragment.weight for fragment in friend.fragments}
        return Change(
            added=[fragment for fragment in friend.fragments if fragment.id not in before],
            weights=[(id_, weight) for id_, weight in now.items() if before.get(id_, weight) != weight],
            left=[id_ for id_ in before if id_ not in now],
        )


def _fade_fragment(fragment: Fragment, settings: FriendSettings) -> Fragment:
    floor = settings.origin_floor if fragment.origin else settings.floor
    return replace(fragment, weight=min(1.0, max(floor, fragment.weight * settings.decay)))


class Ranks:
    """The measures of the last lines, among which a line is ranked."""

    def __init__(self, lines: Iterable[Sequence[float | None]] = ()) -> None:
        """Take lines in the order in which they were said, each as its arousal, overlap and trauma."""
        values: tuple[list[float], ...] = ([], [], [])
        for line in lines:
            for column, value in zip(values, line, strict=True):
                if value is not None:
                    column.append(value)
        self._recent = [Recent(column) for column in values]

    def strength(self, line: Line) -> float:
        """Return the highest rank of a varying measure, or the highest measure while there are too few lines."""
        own = line.arousal, line.overlap, line.trauma
        if not all(recent.enough for recent in self._recent):
            return max(own)
        ranks = [recent.rank(value) for recent, value in zip(self._recent, own, strict=True) if recent.varies]
        return max(ranks, default=0.0)


def _worth_keeping(lines: Sequence[Line], settings: FriendSettings, ranks: Ranks) -> list[Line]:
    """Return the strongest line, and the second if it is strong enough."""
    ranked = sorted(lines, key=ranks.strength, reverse=True)
    return ranked[:1] + [line for line in ranked[1:2] if ranks.strength(line) >= settings.second_above]


def _crowded_out(kept: dict[int, Fragment], first_new_id: int, buffer: int) -> list[int]:
    """Return the ids of fragments beyond the bound: the lightest first, of equal weight the oldest, new ones last. The
    origin always stays."""
    learned = sorted(
        (fragment for fragment in kept.values() if not fragment.origin),
        key=lambda fragment: (fragment.id >= first_new_id, fragment.weight, fragment.id),
    )
    return [fragment.id for fragment in learned[: max(0, len(learned) - buffer)]]


# 256 fragments of 400 characters are 100,000. To split a MiB would hold up all sessions for half a second.
ORIGIN_CHARS = 128 * 1024

_PARAGRAPHS = r"\n\s*\n"
_SENTENCES = r"(?<=[.!?…])\s+|(?<=[。！？])"


def split_origin(origin: list[str], readme: list[str], most: int) -> list[str]:
    """Return the fragments that leo is born with: short paragraphs and sentences, each once, his own text first.

    Blank ones are dropped, those over 400 characters are cut at a word, and the first `most` are kept. Of all texts
    together ORIGIN_CHARS are read.
    """
    found: dict[tuple[str, ...], str] = {}
    left = ORIGIN_CHARS
    for text in [*origin, *readme]:
        read = text if len(text) <= left else text[:left].rpartition(" ")[0] or text[:left]
        for thought in _split_thoughts(read):
            if len(found) == most:
                return list(found.values())
            if said := tuple(split_words(thought)):
                found.setdefault(said, thought)
        left -= min(left, len(text))
    return list(found.values())


def _split_thoughts(text: str) -> Iterator[str]:
    for paragraph in re.split(_PARAGRAPHS, text):
        line = " ".join(paragraph.split())
        for part in [line] if len(line) <= SHORT_PARAGRAPH else re.split(_SENTENCES, line):
            yield clamp_text(part, most_chars=FRAGMENT_CHARS)
