"""What of his dreams reaches leo: of each line the links that widen his field, and none that wear it down.

A dream is made of what leo says most anyway. Fed to him whole it makes the strong links stronger and leads the
rest back to his commonest words: after 60 dreams without a conversation his replies had 0.89 of the distinct word
pairs they had before, and 0.87 of the words. So a line is taken apart into links, three words in a row, which is
what he chooses his next word by. Of those that he does not have yet, the ones are fed that open a further way and
do not lead to a more common word than he would have come to: with them the same 60 dreams leave him all his word
pairs and words, and bring 0.6 of the links that whole lines bring. docs/leo.md has the measurement.

A link that is known is never fed again, so a line that repeats another is refused by itself, and what was taken
once is not strengthened. Hence no budget of dream words against people's is kept: it measured no better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Protocol

# Ways on from a word that are looked at, the most trodden first: in a grown field a full stop has thousands, of
# which those beyond change the mean by nothing.
WAYS = 64


class Known(Protocol):
    """What leo's field holds already, with all that was fed to it before."""

    def after(self, *words: str) -> Mapping[str, int]:
        """What follows this word, or this pair of words, and how often; empty where nothing does."""

    def count(self, word: str) -> int:
        """How often he has heard the word."""


@dataclass(frozen=True)
class Diet:
    """Without state: what is known is asked anew for each line. Words are leo's own tokens, punctuation marks
    among them. How common a word is, is compared with the mean of the words that leo would say in its place."""

    # A pair of words that leads somewhere already gets a further way, to a word up to so many times as common as
    # those he says there now. 1 takes a third less links and widens no more; from 4 on his vocabulary begins to
    # shrink, and with no bound it falls to 0.97 and less.
    common: float = 2.0
    # A pair that leads nowhere yet: so far he goes on from its second word alone, by any of its ways. The new link
    # will be the only way on, so it must be no loss: to a word no more common than those.
    common_alone: float = 1.0
    # Or the second word has at most so many ways on, so that there is little to lose.
    few: int = 3

    def portions(self, tokens: Sequence[str], known: Known) -> list[str]:
        """The pieces of a line, three tokens and more each, that are to be fed to leo one by one.

        Empty where the line has nothing for him. After they are fed, every pair and triple in them is in his field.
        """
        pieces: list[list[str]] = []
        going_on = False
        for first, second, third in zip(tokens, tokens[1:], tokens[2:], strict=False):
            wanted = self._widens(first, second, third, known)
            if wanted and going_on:
                pieces[-1].append(third)
            elif wanted:
                pieces.append([first, second, third])
            going_on = wanted
        return [" ".join(piece) for piece in pieces]

    def _widens(self, first: str, second: str, third: str, known: Known) -> bool:
        ways = known.after(first, second)
        if third in ways:
            return False
        if ways:
            return _common(third, ways, known) <= self.common
        ways = known.after(second)
        return len(ways) <= self.few or _common(third, ways, known) <= self.common_alone


def _common(word: str, ways: Mapping[str, int], known: Known) -> float:
    """How common the word is, over the mean of those that `ways` leads to."""
    trodden = nlargest(WAYS, ways.items(), key=lambda way: way[1])
    usual = sum(times * known.count(other) for other, times in trodden) / sum(times for _, times in trodden)
    return known.count(word) / max(usual, 1.0)
