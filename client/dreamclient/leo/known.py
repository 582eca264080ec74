"""What leo knows of a word or a pair of words: what his diet asks for, from the tables that he speaks from.

They are as of his last `observe` or `refresh`, which put new ones in the place of the old; what is fed to him
meanwhile is kept here, so that it is not fed twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

Ways = Mapping[str, int]


class KnownToLeo:
    """Of one field, asked by one thread at a time."""

    def __init__(self) -> None:
        self._bigrams: Mapping[str, Ways] = {}
        self._trigrams: Mapping[tuple[str, ...], Ways] = {}
        self._fed: dict[tuple[str, ...], dict[str, int]] = {}  # since, by the one or two words before
        self._counts: dict[str, int] = {}

    def now(self, leo: Any) -> Self:
        """The same, as of now, for one line."""
        if leo.trigrams is not self._trigrams:
            self._fed.clear()
        self._bigrams, self._trigrams = leo.bigrams, leo.trigrams
        self._counts.clear()
        return self

    def after(self, *words: str) -> Ways:
        ways = self._bigrams.get(words[0], {}) if len(words) == 1 else self._trigrams.get(words, {})
        fed = self._fed.get(words)
        return {**ways, **{word: ways.get(word, 0) + times for word, times in fed.items()}} if fed else ways

    def count(self, word: str) -> int:
        """As often as something followed it: each time but at the very end of a text."""
        if word not in self._counts:
            self._counts[word] = sum(self.after(word).values())
        return self._counts[word]

    def fed(self, tokens: Sequence[str]) -> None:
        """These were ingested, one after the other."""
        for reach in (1, 2):
            for start in range(len(tokens) - reach):
                ways = self._fed.setdefault(tuple(tokens[start : start + reach]), {})
                word = tokens[start + reach]
                ways[word] = ways.get(word, 0) + 1
