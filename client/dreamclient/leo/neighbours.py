"""How a seed bends leo's choice of words, through the one thing of his that can: `token_boosts`.

A boost b multiplies the count of a word by 1 + b wherever it may come next. Real leo's `generate_reply` knows no
semantic weight, so the weight acts here: words that keep company with those of the seed come sooner.
"""

import math
from collections.abc import Iterable, Mapping

# What the word most tied to the seed gains at semantic weight 1: ×13. Leo's own boosts reach ×1.3, which at the
# 0.3-0.6 that a dream asks for moves nothing that could be measured:
# docs/background/diet-and-measurements.md has what this moves.
SEMANTIC_GAIN = 12.0
SEED_WORDS = 64  # that look for their neighbours; a seed has about a hundred


def boosts(co_occur: Mapping[str, Mapping[str, int]], seed: Iterable[str], weight: float) -> dict[str, float]:
    """Return the boosts towards the neighbours of the seed's words at semantic `weight`."""
    return {word: weight * SEMANTIC_GAIN * tie for word, tie in neighbours(co_occur, seed).items()}


def neighbours(co_occur: Mapping[str, Mapping[str, int]], seed: Iterable[str]) -> dict[str, float]:
    """Return how closely each word is tied to the words of `seed`, the closest being 1.

    The tie is the share of the seed word's company, over how many words the neighbour keeps company with: else
    articles, which are everyone's neighbours, would win. The root keeps the second closest in sight.
    """
    words = list(dict.fromkeys(word for word in seed if word in co_occur and word.isalpha()))[:SEED_WORDS]
    ties: dict[str, float] = {}
    for word in words:
        row = co_occur[word]
        whole = sum(row.values())
        for other, count in row.items():
            if other.isalpha():
                ties[other] = ties.get(other, 0.0) + count / whole / (len(co_occur.get(other, ())) or 1)
    most = max(ties.values(), default=0.0)
    return {word: math.sqrt(tie / most) for word, tie in ties.items()} if most else {}
