"""How a dream bends leo's choice of words, through the one thing of his that can: `token_boosts`.

A boost b multiplies the count of a word by 1 + b wherever it may come next. Real leo's `generate_reply` knows no
semantic weight, so the weight acts here: words that keep company with those of the seed come sooner.
"""

import math
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dreamclient.leo.database import IN_TURN_S, opened
from dreamclient.leo.names import plain_expert

# What the word most tied to the seed gains at semantic weight 1: ×13. Leo's own boosts reach ×1.3, which at the
# 0.3-0.6 that a dream asks for moves nothing that could be measured: docs/leo.md has what this moves.
SEMANTIC_GAIN = 12.0
WOUNDED_GAIN = 1.0  # ×2 for the word that hurts most
WOUNDED_WORDS = 24
SEED_WORDS = 64  # that look for their neighbours; a seed has about a hundred


def boosts(leo: Any, path: Path | None, seed: Iterable[str], weight: float, expert: Any) -> dict[str, float]:
    """Towards the neighbours of the seed's words at semantic `weight`, and, wounded, towards what hurts."""
    found = {word: weight * SEMANTIC_GAIN * tie for word, tie in neighbours(leo.co_occur, seed).items()}
    if path is not None and plain_expert(expert) == "wounded":
        for word, hurt in wounds(path).items():
            found[word] = found.get(word, 0.0) + WOUNDED_GAIN * hurt
    return found


def neighbours(co_occur: Mapping[str, Mapping[str, int]], seed: Iterable[str]) -> dict[str, float]:
    """How closely each word is tied to the words of `seed`, the closest being 1.

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


def wounds(path: Path) -> dict[str, float]:
    """Leo's wounded words, the worst being 1, in both cases that he writes them; none where he keeps none."""
    rows: list[Any] = []
    with suppress(sqlite3.OperationalError), opened(path, "ro", IN_TURN_S) as connection:
        rows = connection.execute(
            "SELECT token, weight FROM trauma_tokens ORDER BY weight DESC LIMIT ?", (WOUNDED_WORDS,)
        ).fetchall()
    most = rows[0]["weight"] if rows else 0.0
    if most <= 0:
        return {}
    return {
        form: row["weight"] / most for row in rows for form in (row["token"], str(row["token"]).capitalize())
    }
