"""The measures of a text: its words, how it feels, and how near it is to another.

Every measure is in [0, 1] and never NaN, for any text: empty, a megabyte, a lone surrogate.
Each takes time linear in the text. A word is `[\\w']+`, case-folded, digits included.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from itertools import pairwise
from math import log2, sqrt

from msgspec import Struct

_WORD = re.compile(r"[\w']+")
# ASCII: a folded letter, a digit, "_" or "'" for itself, and a blank for any other character. Bytes are translated in
# half the time of a text.
_ASCII = (
    "".join(char.lower() if _WORD.fullmatch(char) else " " for char in map(chr, range(128)))
    .encode()
    .ljust(256)
)
_CLOSING = re.compile(r"[^\w'\s]*")  # the marks directly after a word: full stops, quotes, brackets

# From this Jaccard similarity of their word trigrams on, two texts say one thing twice.
REPEATS_FROM = 0.8
# From this Jaccard similarity of their word pairs on, they nearly do: a line of nine words with another last one, or
# with two others.
NEARLY_FROM = 0.6

# A word counts as repeated if it is one of this many words before it: near enough to be heard. Unlike a share of
# distinct words, this does not grow with the text.
ECHO_WORDS = 3


def split_words(text: str) -> list[str]:
    """Return the words of a text in order, case-folded."""
    if text.isascii():  # nearly always, and ten times as fast
        return text.encode().translate(_ASCII).decode().split()
    return [word.casefold() for word in _WORD.findall(text)]


def join_ngrams(tokens: Sequence[str], n: int) -> list[str]:
    """Return each n neighbouring words, joined by a space, which no word contains."""
    return list(map(" ".join, zip(*(tokens[start:] for start in range(n)), strict=False)))


def words_and_pairs(text: str) -> set[str]:
    """Return the words and word pairs of a text: in a later text these are not new."""
    tokens = split_words(text)
    return {*tokens, *join_ngrams(tokens, 2)}


def clamp_text(text: str, *, most_chars: int, most_words: int | None = None) -> str:
    """Return the text without blanks around it, cut at a word boundary to the given characters and words.

    If the first word is too long, it is cut within. Of a longer text nothing beyond the cut is looked at: a text may
    have a megabyte.
    """
    text = text.strip()
    cut = 0
    for count, word in enumerate(_WORD.finditer(text, 0, most_chars + 1)):
        if count == most_words or word.end() > most_chars:
            break
        closing = _CLOSING.match(text, word.end(), most_chars)
        assert closing is not None  # the pattern also matches an empty text
        cut = closing.end()
    else:
        if len(text) <= most_chars:
            return text
    return text[: cut or most_chars].rstrip()


def measure_novelty(text: str, lately: AbstractSet[str]) -> float:
    """Return the share of the text's distinct phrases that were not said `lately`, 0 without words."""
    own = words_and_pairs(text)
    return len(own - lately) / len(own) if own else 0.0


def measure_arousal(text: str) -> float:
    """Return 1 - (1 - capitals) (1 - exclamation) (1 - repetition), which is low only if all three are.

    capitals: the upper-case share of the letters that have a case. exclamation: marks per word, at most 1.
    repetition: the share of the words that are one of the three words before them.
    """
    tokens = split_words(text)
    upper = sum(map(str.isupper, text))
    cased = upper + sum(map(str.islower, text))
    capitals = upper / cased if cased else 0.0
    exclamation = min(1.0, (text.count("!") + text.count("！")) / max(1, len(tokens)))
    echoes = sum(word in tokens[max(0, i - ECHO_WORDS) : i] for i, word in enumerate(tokens))
    repetition = echoes / max(1, len(tokens))
    return 1.0 - (1.0 - capitals) * (1.0 - exclamation) * (1.0 - repetition)


def measure_entropy(text: str) -> float:
    """Return the Shannon entropy of the words, divided by its largest value, log2 of their number. 0 under two
    words."""
    tokens = split_words(text)
    total = len(tokens)
    if total < 2:
        return 0.0
    bits = -sum(count / total * log2(count / total) for count in Counter(tokens).values())
    return min(1.0, max(0.0, bits / log2(total)))


class Profile(Struct, frozen=True, dict=True):
    """The weight of each word pair in a text, or in several weighted texts, and the sum of the squares."""

    counts: dict[str, float]
    square: float

    @cached_property
    def pairs(self) -> frozenset[tuple[str, ...]]:
        """The word pairs as tuples: to look up a text's pairs among them, it need not be joined."""
        return frozenset(tuple(pair.split(" ")) for pair in self.counts)


def bigram_profile(text: str) -> Profile:
    """Return the word pairs of a text with their counts. A single word counts as itself."""
    tokens = split_words(text)
    return _normalized_profile(Counter(join_ngrams(tokens, 2) or tokens))


def blend_profiles(weighted: Iterable[tuple[Profile, float]]) -> Profile:
    """Return the sum of profiles, each times its weight."""
    counts: dict[str, float] = {}
    for part, weight in weighted:
        for gram, count in part.counts.items():
            counts[gram] = counts.get(gram, 0.0) + weight * count
    return _normalized_profile(counts)


def _normalized_profile(counts: dict[str, float] | Counter[str]) -> Profile:
    return Profile(dict(counts), sum(count * count for count in counts.values()))


def dot_product(a: Profile, b: Profile) -> float:
    """Return the dot product of two profiles."""
    few, many = sorted((a.counts, b.counts), key=len)
    return sum(count * many.get(gram, 0.0) for gram, count in few.items())


def cosine_of_products(product: float, square_a: float, square_b: float) -> float:
    """Return the cosine in [0, 1] of two profiles from their dot product and their squares: 1 if they are equal, 0 if
    they have nothing in common or one is empty."""
    length = sqrt(max(0.0, square_a * square_b))  # one root, so that a profile gives exactly 1 with itself
    return min(1.0, max(0.0, product / length)) if length else 0.0


def measure_overlap(text: str, origin: Profile) -> float:
    """Return the share of a text's word pairs that the origin holds, 0 without words. The origin's size does not
    matter."""
    return words_overlap(split_words(text), origin)


def words_overlap(words: Sequence[str], origin: Profile) -> float:
    """Return what `measure_overlap` returns for the text of these words."""
    pairs = pairwise(words) if len(words) > 1 else zip(words, strict=True)
    return sum(map(origin.pairs.__contains__, pairs)) / max(1, len(words) - 1)


class ContextWords:
    """The words of a prompt and of its `reply`, each split once. Their overlap with the origin takes longer than all
    other measures of a context: it is computed if it is asked for, and once."""

    __slots__ = ("_measure", "_overlap", "_prompt", "reply")

    def __init__(self, prompt: str, reply: str, measure: Callable[[Sequence[str]], float]) -> None:
        """`measure`: it returns the overlap of words with the origin."""
        self.reply = split_words(reply)
        self._prompt = prompt
        self._measure = measure
        self._overlap: float | None = None

    def overlap(self) -> float:
        """Return the overlap of the prompt, and of the reply behind it, with the origin."""
        if self._overlap is None:
            self._overlap = self._measure(split_words(self._prompt) + self.reply)
        return self._overlap


class Reading(Struct, frozen=True):
    """The computed parts of a text by which it is compared."""

    words: tuple[str, ...]
    trigrams: frozenset[str]
    profile: Profile


def read_text(text: str) -> Reading:
    """Return the reading of a text. A text without words is compared by its marks, so that "..." is not "!!!"."""
    tokens = split_words(text) or text.split()
    return Reading(tuple(tokens), frozenset(join_ngrams(tokens, 3)), bigram_profile(text))


def is_alike(a: Reading, b: Reading) -> bool:
    """Return whether two texts say one thing: trigram Jaccard >= 0.8, or under three words equal words."""
    if not (a.trigrams and b.trigrams):
        return a.words == b.words
    common = len(a.trigrams & b.trigrams)
    return common >= REPEATS_FROM * (len(a.trigrams) + len(b.trigrams) - common)


def nearly_alike(a: Reading, b: Reading) -> bool:
    """Return whether two texts say nearly one thing: most of all their word pairs are in both."""
    mine, others = a.profile.counts.keys(), b.profile.counts.keys()
    return len(mine & others) >= NEARLY_FROM * max(1, len(mine | others))


def repeats_text(a: str, b: str) -> bool:
    """Return whether one text repeats the other."""
    return is_alike(read_text(a), read_text(b))
