"""Choose the parts of his dreams that reach leo: the links that widen his field, and with them his origin.

A dream is made of the words that leo says most anyway. Fed to him whole, it makes the strong links stronger and leads
the rest back to his commonest words. So a line is taken apart into links: three words in a row, by which he chooses
his next word. A link is fed if he does not have it yet, if it opens a further way, and if it does not make what he
says there much more common than it was. If a line has two words in a row of the text that he was born with, he is
told how that text goes on, if he says that too rarely: a conversation wears it down.
All figures: docs/background/diet-and-measurements.md.

Feeding a link adds one to the pairs of words in it, which he may know. A line that repeats another brings nothing
new, and his origin stops at its share, so no budget of dream words against people's words is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, Self

Ways = Mapping[str, int]
_NONE: Mapping[tuple[str, ...], Ways] = {}  # the first leos have no trigrams


class KnownToLeo:
    """The links that one field holds: leo's tables, and the links that were fed since, so that none is fed twice.

    Leo's `observe` and `refresh` replace his tables by new ones. One thread at a time may use this. `origin` is the
    text that he was born with, in his own tokens."""

    def __init__(self, origin: Sequence[str] = ()) -> None:
        self.origin: dict[tuple[str, str], tuple[str, ...]] = {}  # what follows a pair of its words
        for first, second, third in zip(origin, origin[1:], origin[2:], strict=False):
            ways = self.origin.get((first, second), ())
            self.origin[first, second] = (*ways, third) if third not in ways else ways
        self._bigrams: Mapping[str, Ways] = {}
        self._trigrams: Mapping[tuple[str, ...], Ways] = {}
        self._fed: dict[tuple[str, ...], dict[str, int]] = {}  # since, by the one or two words before
        self._counts: dict[str, int] = {}

    def now(self, leo: Any) -> Self:
        """Take leo's present tables, for one line, and return this object."""
        trigrams = getattr(leo, "trigrams", _NONE)
        if leo.bigrams is not self._bigrams or trigrams is not self._trigrams:
            self._fed.clear()
        self._bigrams, self._trigrams = leo.bigrams, trigrams
        self._counts.clear()
        return self

    def after(self, *words: str) -> Ways:
        """Return the words that follow this word or this pair of words, with their counts."""
        ways = self._bigrams.get(words[0], {}) if len(words) == 1 else self._trigrams.get(words, {})
        fed = self._fed.get(words)
        return {**ways, **{word: ways.get(word, 0) + times for word, times in fed.items()}} if fed else ways

    def count(self, word: str) -> int:
        """Return how often the word was followed by another: each time that it did not end a text."""
        if word not in self._counts:
            self._counts[word] = sum(self.after(word).values())
        return self._counts[word]

    def fed(self, tokens: Sequence[str]) -> None:
        """Note that these tokens were ingested, in this order."""
        for reach in (1, 2):
            for start in range(len(tokens) - reach):
                ways = self._fed.setdefault(tuple(tokens[start : start + reach]), {})
                word = tokens[start + reach]
                ways[word] = ways.get(word, 0) + 1

    def forget(self) -> None:
        """Forget what was ingested since leo's last `observe`: some of it was taken out again."""
        self._fed.clear()


class Chooses(Protocol):
    """The choice of the parts of a dream's line that reach leo."""

    def portions(self, tokens: Sequence[str], known: KnownToLeo) -> list[str]:
        """Return the pieces of a line that are to be fed, one by one. The list may be empty."""


class Everything:
    """A diet of every line, whole."""

    def portions(self, tokens: Sequence[str], known: KnownToLeo) -> list[str]:  # noqa: ARG002
        return [" ".join(tokens)] if tokens else []


@dataclass(frozen=True)
class Diet:
    """The diet of new links, without state. Words are leo's own tokens, punctuation marks among them.

    A word is common or rare in comparison with the mean of the words that leo would say in its place."""

    # A pair of words that leads somewhere already gets a further way, as long as what he says there is, with it, on
    # average up to so many times as common as before. A way that was gone once may be joined by one to a word twice
    # as common; one that a conversation wore down, by nearly any, since it is taken that much more rarely. With no
    # bound his vocabulary falls to 0.97 in 60 dreams alone.
    common: float = 1.5
    # A pair that leads nowhere yet: so far he goes on from its second word alone, by any of its ways. The new link
    # will be the only way on, so it must be no loss. If the second word has at most `few` ways, no link is a loss ...
    few: int = 3
    # ... if it has more, the link may lead to a word so many times as common as those ...
    common_alone: float = 1.0
    # ... and if it has more than `many`, all would be lost for one. At 16 he takes 0.54 of the links that whole
    # lines bring, at 64 0.63; with no bound his vocabulary begins to shrink.
    many: int = 64
    # If a line has two words in a row of the text that he was born with, he is told once how that text goes on there,
    # if its ways are a smaller share than this of what he says there: a conversation wears them down. 0: never. At 0.5
    # his origin comes back more strongly, and his vocabulary falls to 0.96 in 60 dreams alone.
    origin_share: float = 0.3

    def portions(self, tokens: Sequence[str], known: KnownToLeo) -> list[str]:
        """Return the new links that are wanted, of three tokens or more, since links that overlap are joined. Then come
        the links of his origin that he is to be told again."""
        pieces: list[list[str]] = []
        going_on = False
        for first, second, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
            wanted = self._widens(first, second, third, known)
            if wanted and going_on:
                pieces[-1].append(third)
            elif wanted:
                pieces.append([first, second, third])
            going_on = wanted
        return [" ".join(piece) for piece in pieces] + self._retold(tokens, known)

    def _retold(self, tokens: Sequence[str], known: KnownToLeo) -> list[str]:
        told: list[str] = []
        for pair in dict.fromkeys(pairwise(tokens)):
            own, ways = known.origin.get(pair, ()), known.after(*pair)
            if sum(ways.get(third, 0) for third in own) < self.origin_share * sum(ways.values()):
                told += (" ".join((*pair, third)) for third in own)
        return told

    def _widens(self, first: str, second: str, third: str, known: KnownToLeo) -> bool:
        def common(ways: Ways) -> float:
            """Return how common the word is, over the mean of those that `ways` leads to."""
            usual = sum(times * known.count(word) for word, times in ways.items()) / sum(ways.values())
            return known.count(third) / max(usual, 1.0)

        if ways := known.after(first, second):
            times = sum(ways.values())
            return third not in ways and (times + common(ways)) / (times + 1) <= self.common
        ways = known.after(second)
        if len(ways) <= self.few:
            return True
        return len(ways) <= self.many and common(ways) <= self.common_alone
