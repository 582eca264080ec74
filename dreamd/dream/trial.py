"""The trial of dreaming. Of the replies whose gates were open, chance alone decides which leo dreams of. So the next
replies of both kinds can be compared, and a difference between them comes from the dreams.

Each session has a trial of its own. Nothing here touches a disk or a clock.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from dreamd.dream.gate import Decision
from dreamd.dream.measures import join_ngrams, measure_novelty, split_words, words_and_pairs
from dreamd.dream.model import Context
from dreamd.dream.signals import signal_of

# Seconds from a decision to the next reply: until then a dream has been fed. A reply that comes earlier is left out,
# whichever way chance decided.
FED_S = 20.0
LATELY = 8  # replies, among which the words of the next one count as known
LATELY_BYTES = 1000  # of each, since a session must not keep much; a reply of leo's is shorter


class ComparedReply(Struct, frozen=True, kw_only=True):
    """The measures of the reply after one whose gates were open. A measure in [0, 1] is nil if it is not known."""

    at: float  # unix s
    client: str
    chance: float  # gate.chance at the decision, in (0, 1)
    dreamt: bool  # as chance decided
    fed: bool  # the dream had fed a line by now
    novelty: float | None  # share of its words and word pairs that the last LATELY replies lack
    quality: float | None  # as the host measured it
    distinct_pairs: float | None  # share of its word pairs that are distinct
    origin: float | None  # share of its word pairs that the origin holds
    from_dreams: float | None  # share of its word triples that dreams brought


class _Drawn(NamedTuple):
    """What chance decided after the last reply. `observed`: how the lines of the dream were observed, as it runs."""

    at_s: float
    chance: float
    dreamt: bool
    observed: Mapping[int, str]


class Trial:
    """The trial of one session: its last replies, and what chance decided after the last of them."""

    def __init__(self) -> None:
        self._lately: deque[bytes] = deque(maxlen=LATELY)
        self._drawn: _Drawn | None = None

    def draw(self, decision: Decision, now_s: float, observed: Mapping[int, str]) -> None:
        """Note what chance decided, if it did. With a chance of 0 or 1 it decides nothing."""
        chance = decision.gate.chance if decision.gate else 0.0
        if decision.reason in ("dream", "chance") and 0.0 < chance < 1.0:
            self._drawn = _Drawn(now_s, chance, decision.dream, observed)

    def spoil(self) -> None:
        """Leave the next reply out: a dream that chance did not decide comes before it."""
        self._drawn = None

    def next_reply(
        self,
        ctx: Context,
        *,
        client: str,
        at: float,
        now_s: float,
        overlap: Callable[[Sequence[str]], float],
        from_dreams: float | None,
    ) -> ComparedReply | None:
        """Return the measures of a reply, None if it is not to be compared. `overlap`: that of words with the origin.
        `from_dreams`: the share of its word triples that dreams brought, None if it is not known."""
        drawn, self._drawn = self._drawn, None
        compared = None
        if drawn is not None and now_s - drawn.at_s >= FED_S:
            tokens = split_words(ctx.reply)
            pairs = join_ngrams(tokens, 2)
            known = set[str]().union(
                *(words_and_pairs(reply.decode(errors="ignore")) for reply in self._lately)
            )
            measured = signal_of(ctx, "measured")
            compared = ComparedReply(
                at=at,
                client=client,
                chance=drawn.chance,
                dreamt=drawn.dreamt,
                fed="answered" in drawn.observed.values(),
                novelty=measure_novelty(ctx.reply, known) if tokens else None,
                quality=ctx.quality if measured is None else measured,
                distinct_pairs=len(set(pairs)) / len(pairs) if pairs else None,
                origin=overlap(tokens) if pairs else None,
                from_dreams=from_dreams,
            )
        self._lately.append(ctx.reply.encode(errors="replace")[:LATELY_BYTES])
        return compared
