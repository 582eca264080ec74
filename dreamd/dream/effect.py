"""The effect of dreams on the next reply, with what chance alone would make of it.

docs/background/effect.md has the method. numpy is imported inside the functions.
"""

from collections.abc import Sequence
from math import ceil, inf
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from dreamd.dream.trial import ComparedReply

if TYPE_CHECKING:
    from numpy import floating
    from numpy.random import Generator
    from numpy.typing import NDArray

    Numbers = NDArray[floating[Any]]

MEASURES = ("novelty", "quality", "distinct_pairs", "origin", "from_dreams")
FAMILY_WISE = 0.05  # of trials without any effect, this share reports one (Holm, over the measures)
LOW, HIGH = 0.025, 0.975  # the ends of an interval
DRAWS, RESAMPLES = 1000, 1000
CHUNK = 125  # draws at a time, so that 10,000 replies take 5 MB
# A difference of half a standard deviation is found in 80 % of trials (two-sided, 5 %, one measure) if
# n p (1 - p) >= ((1.960 + 0.842) / 0.5)^2, with p the chance of a dream: 126 replies at 0.5, 150 at 0.3.
ENOUGH = ((1.960 + 0.842) / 0.5) ** 2


class Difference(Struct, frozen=True, kw_only=True):
    """One measure of the replies after a dream and without one. `low` to `high`: the 95 % interval of the difference.

    What cannot be said of so few replies is nil.
    """

    measure: str
    replies: int  # that have the measure
    dreamt: float | None  # mean
    without: float | None
    difference: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None  # the share of draws of chance that differ as much
    p_holm: float | None = None  # the same, for all measures together
    differs: bool = False


class Effect(Struct, frozen=True, kw_only=True):
    """The result of a trial. It has enough replies from `needed` on."""

    replies: int
    dreamt: int
    fed: int  # of those: after a dream that fed a line
    needed: int
    since: float | None  # unix s
    until: float | None
    differences: list[Difference]

    @property
    def enough(self) -> bool:
        """True if the trial can be judged."""
        return self.replies >= self.needed


def compare_replies(replies: Sequence[ComparedReply], chance: float = 0.5, seed: int = 1) -> Effect:
    """Return the effect of dreams on these replies. Equal replies and seeds give equal results. `chance`: that of the
    replies to come, in (0, 1)."""
    needed = replies_needed([reply.chance for reply in replies] or [chance])
    dreamt = [reply for reply in replies if reply.dreamt]
    return Effect(
        replies=len(replies),
        dreamt=len(dreamt),
        fed=sum(reply.fed for reply in dreamt),
        needed=needed,
        since=min((reply.at for reply in replies), default=None),
        until=max((reply.at for reply in replies), default=None),
        differences=_differences(replies, needed, seed) if replies else [],
    )


def replies_needed(chances: Sequence[float]) -> int:
    """Return how many replies a trial with these chances needs, rounded to tens."""
    spread = [chance * (1 - chance) for chance in chances]
    return round(ceil(ENOUGH * len(spread) / sum(spread)), -1)


def _differences(replies: Sequence[ComparedReply], needed: int, seed: int) -> list[Difference]:
    import numpy as np

    trial = _Trial(
        np.array([[_number(reply, name) for name in MEASURES] for reply in replies]),
        np.array([reply.chance for reply in replies]),
        np.array([reply.dreamt for reply in replies]),
    )
    rng = np.random.default_rng(seed)
    dreamt, without = trial.means()
    difference = dreamt - without
    # A hair less than the difference, because sums in another order differ in their last digits.
    as_much = np.abs(trial.by_chance(rng)) >= np.abs(difference) * (1 - 1e-5) - 1e-7
    low, high = np.quantile(trial.resampled(rng), (LOW, HIGH), axis=0)
    p = [
        (1 + int(as_much[:, m].sum())) / (1 + DRAWS) if trial.counts[m] >= needed else None
        for m in range(len(MEASURES))
    ]
    adjusted = adjust_by_holm(p)
    return [
        Difference(
            measure=name,
            replies=int(trial.counts[m]),
            dreamt=_known(dreamt[m]),
            without=_known(without[m]),
            difference=_known(difference[m]),
            low=_known(low[m]) if p[m] is not None else None,
            high=_known(high[m]) if p[m] is not None else None,
            p=p[m],
            p_holm=adjusted[m],
            differs=(adjusted[m] or 0.0) <= FAMILY_WISE and p[m] is not None,
        )
        for m, name in enumerate(MEASURES)
    ]


def adjust_by_holm(p: Sequence[float | None]) -> list[float | None]:
    """Return p values for all measures together, by Holm's method. Measures without one do not count."""
    known = sorted((value, m) for m, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    least = 0.0
    for place, (value, m) in enumerate(known):
        least = adjusted[m] = min(1.0, max(least, (len(known) - place) * value))
    return adjusted


class _Trial:
    """The replies of a trial as arrays: `values`, nan if missing (replies x measures), `chance`, `dreamt`.

    A reply weighs as much as it was unlikely, so that a change of gate.chance in between does not favour a time.
    """

    def __init__(self, values: "Numbers", chance: "Numbers", dreamt: "Numbers") -> None:
        import numpy as np

        there = ~np.isnan(values)
        self.counts = there.sum(axis=0)
        self._chance, self._dreamt = chance.astype(np.float32), dreamt.astype(bool)
        known = np.where(there, values, 0.0)
        self._centre = known.sum(axis=0) / np.maximum(1, self.counts)
        # Sums of numbers around 0 keep their digits.
        both = np.hstack([np.where(there, values - self._centre, 0.0), there])
        self._columns = both.shape[1]
        self._weighted = np.hstack([both / chance[:, np.newaxis], both / (1 - chance)[:, np.newaxis]])

    def means(self) -> tuple["Numbers", "Numbers"]:
        """Return the mean of each measure after a dream, and without one."""
        import numpy as np

        one = np.ones((1, len(self._chance)))
        sums = one @ self._of_arms()
        return self._mean_of(sums[:, : self._columns])[0], self._mean_of(sums[:, self._columns :])[0]

    def by_chance(self, rng: "Generator") -> "Numbers":
        """Return differences if dreams had no effect and chance had drawn again (draws x measures)."""
        import numpy as np

        weighted = self._weighted.astype(np.float32)
        total = self._weighted.sum(axis=0)
        total[: self._columns] = 0.0
        sign = np.repeat([1.0, -1.0], self._columns)  # those not dreamt of are all but those dreamt of
        found = []
        for _ in range(0, DRAWS, CHUNK):
            drawn = rng.random((CHUNK, len(self._chance)), np.float32) < self._chance
            found.append(self._differences(total + sign * (drawn.astype(np.float32) @ weighted)))
        differences: Numbers = np.nan_to_num(np.concatenate(found))
        return differences

    def resampled(self, rng: "Generator") -> "Numbers":
        """Return differences in other samples of such replies (resamples x measures), by a Bayesian bootstrap."""
        import numpy as np

        of_arms = self._of_arms().astype(np.float32)
        found = []
        for _ in range(0, RESAMPLES, CHUNK):
            weights = rng.standard_exponential((CHUNK, len(self._chance)), np.float32)
            found.append(self._differences(weights @ of_arms))
        return np.concatenate(found)

    def _of_arms(self) -> "Numbers":
        """Return the weighted columns, those after a dream and those without one, with 0 in the replies of the other
        arm."""
        import numpy as np

        arms = np.repeat(np.stack([self._dreamt, ~self._dreamt], axis=1), self._columns, axis=1)
        return np.where(arms, self._weighted, 0.0)

    def _differences(self, sums: "Numbers") -> "Numbers":
        """Return differences of means from sums of the weighted columns (rows x columns of both arms)."""
        return self._mean_of(sums[:, : self._columns]) - self._mean_of(sums[:, self._columns :])

    def _mean_of(self, sums: "Numbers") -> "Numbers":
        import numpy as np

        total, weight = np.hsplit(sums, 2)
        # Less than one reply: none, but for the last digits of a sum.
        means: Numbers = total / np.where(weight > 0.5, weight, np.nan) + self._centre
        return means


def _number(reply: ComparedReply, name: str) -> float:
    value: float | None = getattr(reply, name)
    return float("nan") if value is None else value


def _known(value: Any) -> float | None:
    number = float(value)
    return number if -inf < number < inf else None
