"""Use to judge lines: how many are cut short, and how many answer the line before."""

import re
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise, product
from statistics import mean

# Sixty words on which hardly an English sentence ends. Fixed: no result depends on what the product counts.
_LIST = """
    a an the and or but nor if because than as of to in on at by for from with into about that this these those
    which who whose what when where my your his her its our their is are was were be been am do does did has have
    had will would can could must i we he
"""
FUNCTION_WORDS = frozenset(_LIST.split())
assert len(FUNCTION_WORDS) == 60


def words(line: str) -> list[str]:
    """Return the words of a line, in lower case."""
    return re.findall(r"[\w']+", line.lower())


def cut_share(lines: Sequence[str]) -> float:
    """Return the share of lines that end on a function word."""
    return mean((words(line) or [""])[-1] in FUNCTION_WORDS for line in lines)


def likeness(a: str, b: str) -> float:
    """Return the Jaccard similarity of the words of content of two lines."""
    ours, theirs = ({word for word in words(line) if word not in FUNCTION_WORDS} for line in (a, b))
    return len(ours & theirs) / max(1, len(ours | theirs))


def answers(dialogues: Iterable[Sequence[str]]) -> float:
    """Return how much more alike neighbouring lines are than lines of different dialogues."""
    dialogues = list(dialogues)
    neighbours = [likeness(a, b) for lines in dialogues for a, b in pairwise(lines)]
    others = [likeness(a, b) for one, other in combinations(dialogues, 2) for a, b in product(one, other)]
    return mean(neighbours) / mean(others)
