"""What of his dreams reaches leo: of each line the links that widen his field, and none that wear it down.

A dream is made of what leo says most anyway. Fed to him whole it makes the strong links stronger and leads the
rest back to his commonest words: after 60 dreams without a conversation his replies had 0.93 of the distinct word
pairs they had before, and 0.88 of the words. So a line is taken apart into links, three words in a row, which is
what he chooses his next word by. Of those that he does not have yet, the ones are fed that open a further way and
do not make what he says there much more common than it was: with them the same 60 dreams leave him 1.02 of the word
pairs and 0.99 of the words, and bring 0.6 of the links that whole lines bring.
All figures: docs/background/diet-and-measurements.md.

A link that is known is never fed again, so a line that repeats another is refused by itself, and what was taken
once is not strengthened. Hence no budget of dream words against people's words is kept: nothing was left for one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


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

    # A pair of words that leads somewhere already gets a further way, as long as what he says there is, with it, on
    # average up to so many times as common as before. A way that was gone once may be joined by one to a word twice
    # as common; one that a conversation wore down, by nearly any, since it is taken that much more rarely. With no
    # bound his vocabulary falls to 0.97 in 60 dreams alone.
    common: float = 1.5
    # A pair that leads nowhere yet: so far he goes on from its second word alone, by any of its ways. The new link
    # will be the only way on, so it must be no loss. Where the second word has at most `few` ways, none is ...
    few: int = 3
    # ... where it has more, the link may lead to a word so many times as common as those ...
    common_alone: float = 1.0
    # ... and where it has more than `many`, all would be lost for one. At 16 he takes 0.54 of the links that whole
    # lines bring, at 64 0.63; with no bound his vocabulary begins to shrink.
    many: int = 64

    def portions(self, tokens: Sequence[str], known: Known) -> list[str]:
        """The pieces of a line, three tokens and more each, that are to be fed to leo one by one.

        Empty where the line has nothing for him.
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
        if ways:
            times = sum(ways.values())
            return third not in ways and (times + _common(third, ways, known)) / (times + 1) <= self.common
        ways = known.after(second)
        if not ways or len(ways) <= self.few:
            return True
        return len(ways) <= self.many and _common(third, ways, known) <= self.common_alone


def _common(word: str, ways: Mapping[str, int], known: Known) -> float:
    """How common the word is, over the mean of those that `ways` leads to."""
    usual = sum(times * known.count(other) for other, times in ways.items()) / sum(ways.values())
    return known.count(word) / max(usual, 1.0)
