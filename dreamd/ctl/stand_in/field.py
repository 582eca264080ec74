"""A small field of words: it counts what it hears, and speaks by walking its counts.

It does in little what leo does, with nothing behind it but which word followed which two, and which words
stood near each other. Nothing here prints, or touches the random numbers of others.
"""

import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import accumulate
from math import sqrt
from random import Random

from dreamd.dream import measures as pulse

_TOKEN = re.compile(r"[\w'’]+|[.,;:!?]")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")
_MARKS = frozenset(".,;:!?")
_ENDS = frozenset(".!?")
_START = "\n"  # stands before the first word of a sentence; no token is one

Near = Callable[[str], float]
Chances = Callable[[str, str], tuple[list[str], list[float]]]

NEAR_WORDS = 5  # words on each side that count as near a word: about a clause
# Of a line: enough to say something, and below the 50 at which the daemon cuts.
LEAST_WORDS, MOST_WORDS = 4, 26
LOOSE = 0.03  # weight of what followed one word beside what followed two: without it a small field recites
PULL = 200.0  # how far the words of the seed draw a walk, at a semantic weight of 1
THEMES = 24  # the rarest words of the seed, which alone draw: a long seed costs no more than a short one
BASE = 0.01  # worth of a line that is nowhere near the seed: about a tenth of one that is
WALKS = 16  # a line is the best of this many: near the seed, and no echo
LATELY = 12  # latest sentences searched for an echo: two dialogues, and what was spoken between them
LEAST_TEMPERATURE = 0.05  # below it the weights would leave the range of a float


def read_story() -> str:
    """Return the text that the demo is fed with if no other is given."""
    return files("dreamd.ctl.stand_in").joinpath("story.txt").read_text("utf-8")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each as one line. A blank line ends a sentence too."""
    return [line for line in (" ".join(part.split()) for part in _SENTENCE.split(text)) if line]


class TrigramField:
    """Counts of words. Equal texts and an equal `rng` give equal lines."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._after_two: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._after_one: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._near: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._count: Counter[str] = Counter()
        self._written: dict[str, str] = {}  # a token -> how it is written within a sentence
        self._heard: set[tuple[str, ...]] = set()
        self._lately: deque[frozenset[str]] = deque(maxlen=LATELY)

    @property
    def vocabulary(self) -> int:
        """The number of different words that it has heard."""
        return len(self._count.keys() - _MARKS)

    def observe(self, text: str) -> None:
        """Count the words of a text, and which stood near which."""
        heard: list[str] = []
        for sentence in split_sentences(text):
            written = _TOKEN.findall(sentence)
            tokens = _fold_tokens(written)
            words = [token for token in tokens if token not in _MARKS]
            if not words:
                continue
            if tokens[-1] not in _ENDS:
                tokens.append(".")
            self._keep_writing(written)
            self._heard.add(tuple(tokens))
            self._count.update(tokens)
            for a, b, c in _token_steps(tokens):
                self._after_two[a, b][c] += 1
                self._after_one[b][c] += 1
            for at, word in enumerate(words):
                for other in words[at + 1 : at + 1 + NEAR_WORDS]:
                    self._near[word][other] += 1
                    self._near[other][word] += 1
            heard.append(sentence)
        self._lately.extend(pulse.read_text(sentence).trigrams for sentence in heard[-LATELY:])

    def pulse(self, text: str) -> dict[str, float]:
        """Return how a text feels, each measure in [0, 1]. Novelty is the share of its steps, from two words to the
        next, that this field has not heard yet. Arousal and entropy are measured as the daemon does."""
        steps = [
            step
            for sentence in split_sentences(text)
            for step in _token_steps(_fold_tokens(_TOKEN.findall(sentence)))
        ]
        new = sum(c not in self._after_two.get((a, b), ()) for a, b, c in steps)
        return {
            "novelty": new / max(1, len(steps)),
            "arousal": pulse.measure_arousal(text),
            "entropy": pulse.measure_entropy(text),
        }

    def generate(
        self, seed: str, temperature: float = 0.8, semantic_weight: float = 0.5, *, count: int = 1
    ) -> str:
        """Return at most `count` sentences, drawn towards the words of `seed`. An empty field returns "".

        `temperature`: above 1 rare words get likelier, near 0 only the most frequent are left.
        `semantic_weight`: how much words near those of the seed are preferred, 0 for not at all.
        """
        if not self._count:
            return ""
        near = self._nearness(seed if semantic_weight > 0 else "")
        heat, pull = max(temperature, LEAST_TEMPERATURE), PULL * semantic_weight
        # Every walk begins with the same words.
        chances = cache(lambda a, b: self._chances(a, b, near, heat, pull))
        walks = [self._walk(chances) for _ in range(WALKS)]
        walks.sort(key=lambda walk: -self._worth(walk, near))
        lines = list(dict.fromkeys(map(self._spelled, walks)))[:count]
        # Of several it is unknown which the daemon chooses: the chosen ones are observed later.
        if count == 1:
            self._lately.append(pulse.read_text(lines[0]).trigrams)
        return " ".join(lines)

    def reply(self, prompt: str) -> str:
        """Return an answer to `prompt`. Neither is observed yet, so that their novelty can still be measured."""
        return self.generate(prompt, temperature=0.8, semantic_weight=0.9)

    # walking

    def _nearness(self, seed: str) -> Near:
        """Return a function from a word to how much it belongs to the seed: it is in the seed, or stood near its words
        often for its frequency. The rarer a word of the seed, the more it counts."""
        known = {word: 1 / sqrt(self._count[word]) for word in pulse.split_words(seed) if word in self._near}
        themes = dict(sorted(known.items(), key=lambda item: -item[1])[:THEMES])

        @cache
        def near(word: str) -> float:
            company = self._near.get(word)
            if not themes or not company:
                return 0.0
            met = sum(weight * company[theme] for theme, weight in themes.items()) / self._count[word]
            return (met + themes.get(word, 0.0)) / len(themes)

        return near

    def _walk(self, chances: Chances) -> list[str]:
        """Walk from the start of a sentence to its end. If no end comes in time, cut at the last mark."""
        tokens: list[str] = []
        a = b = _START
        said = whole = 0
        while said < MOST_WORDS and len(tokens) < 2 * MOST_WORDS:
            words, sums = chances(a, b)
            [c] = self._rng.choices(words, cum_weights=sums)
            said += c not in _MARKS
            if c in _MARKS and said >= LEAST_WORDS:
                whole = len(tokens)
            tokens.append(c)
            if c not in _ENDS:
                a, b = b, c
            elif said >= LEAST_WORDS:
                return tokens
            else:
                a = b = _START
        return [*tokens[: whole or len(tokens)], "."]

    def _chances(
        self, a: str, b: str, near: Near, temperature: float, pull: float
    ) -> tuple[list[str], list[float]]:
        """Return the words that followed `a b`, and with a small weight those that followed `b`, and the sums of their
        chances."""
        loose = self._after_one[b]
        total = loose.total()
        weights = {word: LOOSE * count / total for word, count in loose.items()}
        for word, count in self._after_two.get((a, b), loose).items():
            weights[word] += count
        most = max(weights.values())
        chances = [
            (weight / most) ** (1 / temperature) * (1 + pull * near(word)) for word, weight in weights.items()
        ]
        return list(weights), list(accumulate(chances))

    # choosing and spelling

    def _worth(self, walk: Sequence[str], near: Near) -> float:
        """Return how near a walk is to the seed: less if it echoes an earlier line, 0 if it quotes a heard sentence."""
        if tuple(walk) in self._heard:
            return 0.0
        own = pulse.read_text(self._spelled(walk)).trigrams
        echo = max((len(own & said) for said in self._lately), default=0) / max(1, len(own))
        belonging = sum(map(near, dict.fromkeys(walk))) / len(walk)
        return (1 - echo) * (BASE + belonging)

    def _keep_writing(self, tokens: Sequence[str]) -> None:
        """Keep how words are written. The first capital of a sentence does not count, nor do words in capitals."""
        for before, token in zip([".", *tokens], tokens, strict=False):
            if before in _ENDS or (len(token) > 1 and token.isupper()):
                self._written.setdefault(token.casefold(), token.lower())
            else:
                self._written[token.casefold()] = token

    def _spelled(self, tokens: Iterable[str]) -> str:
        line = ""
        for token in tokens:
            word = self._written.get(token, token)
            if not line or line[-1] in _ENDS:
                word = word[0].upper() + word[1:]
            line += word if token in _MARKS else f" {word}"
        return line.strip()


def _fold_tokens(tokens: Iterable[str]) -> list[str]:
    return [token.casefold() for token in tokens]


def _token_steps(tokens: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Return each token of a sentence with the two before it."""
    path = [_START, _START, *tokens]
    return zip(path, path[1:], tokens, strict=False)
