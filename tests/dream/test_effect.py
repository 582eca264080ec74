"""The effect: found if it is there, seldom if it is not, and in figures that a reader can compute."""

from collections.abc import Callable
from statistics import mean

import numpy as np
import pytest
from msgspec.structs import replace

from dreamd.dream.effect import MEASURES, adjust_by_holm, compare_replies, replies_needed
from dreamd.dream.trial import ComparedReply

Chance = Callable[[int], float]


def trial(
    seed: int, count: int, chance: Chance = lambda _: 0.5, effect: float = 0.0, drift: float = 0.0
) -> list[ComparedReply]:
    """Return the replies of a simulated leo: each resembles the one before, and dreams change the novelty of the next
    one by `effect` standard deviations. `drift`: of novelty, from the first to the last reply."""
    rng = np.random.default_rng(seed)
    replies, mood = [], rng.normal(size=len(MEASURES))
    for number in range(count):
        mood = 0.5 * mood + 0.75**0.5 * rng.normal(size=len(MEASURES))
        dreamt = bool(rng.random() < chance(number))
        values = 0.5 + 0.1 * mood
        values[0] += 0.1 * effect * dreamt + drift * number / count
        measures = dict(zip(MEASURES, values.tolist(), strict=True))
        replies.append(
            ComparedReply(
                at=60.0 * number, client="leo", chance=chance(number), dreamt=dreamt, fed=dreamt, **measures
            )
        )
    return replies


def test_reports_no_effect_where_there_is_none() -> None:
    """5 % of the trials may; the full size is 400."""
    reported = [
        seed for seed in range(60) if any(d.differs for d in compare_replies(trial(seed, 130)).differences)
    ]
    assert len(reported) <= 60 * 30 / 400, reported


def test_finds_half_a_standard_deviation() -> None:
    found = [
        seed for seed in range(20) if compare_replies(trial(seed, 260, effect=0.5)).differences[0].differs
    ]
    assert len(found) >= 16, found


def test_the_figures_are_the_means_of_both_arms() -> None:
    replies = trial(3, 140)
    effect = compare_replies(replies)
    assert effect == compare_replies(replies)
    assert (effect.replies, effect.since, effect.until, effect.enough) == (140, 0.0, 139 * 60.0, True)
    for difference in effect.differences:
        arms = [
            mean(getattr(reply, difference.measure) for reply in replies if reply.dreamt is arm)
            for arm in (True, False)
        ]
        assert (difference.dreamt, difference.without) == pytest.approx(tuple(arms))
        assert difference.difference == pytest.approx(arms[0] - arms[1])
        assert difference.low is not None
        assert difference.high is not None
        assert difference.low < arms[0] - arms[1] < difference.high
        assert 0 < (difference.p or 0) <= (difference.p_holm or 0) <= 1


def test_a_change_of_chance_favours_no_time() -> None:
    """He grows newer by the time, and dreams mostly later: a plain difference of means would be 0.3."""
    replies = trial(5, 600, lambda number: 0.1 if number < 300 else 0.9, drift=1.0)
    plain = mean(r.novelty or 0 for r in replies if r.dreamt) - mean(
        r.novelty or 0 for r in replies if not r.dreamt
    )
    difference = compare_replies(replies).differences[0]
    assert plain > 0.3
    assert abs(difference.difference or 0) < 0.1
    assert not difference.differs


def test_says_how_many_are_needed_and_judges_nothing_before() -> None:
    assert [replies_needed([chance] * 9) for chance in (0.5, 0.3, 0.1)] == [130, 150, 350]
    assert (compare_replies([]).needed, compare_replies([], 0.3).needed) == (130, 150)
    few = compare_replies(trial(1, 34))
    assert not few.enough
    assert all((d.p, d.low, d.high, d.differs) == (None, None, None, False) for d in few.differences)
    assert compare_replies([]).differences == []


def test_judges_each_measure_by_the_replies_that_have_it() -> None:
    replies = [
        replace(reply, from_dreams=None, quality=None if number % 2 else reply.quality, origin=0.1)
        for number, reply in enumerate(trial(2, 140))
    ]
    found = {difference.measure: difference for difference in compare_replies(replies).differences}
    assert [found[name].replies for name in MEASURES] == [140, 70, 140, 140, 0]
    assert (found["from_dreams"].difference, found["from_dreams"].p) == (None, None)
    assert found["quality"].p is None
    assert (found["origin"].difference, found["origin"].p) == (pytest.approx(0.0), 1.0)


@pytest.mark.parametrize(
    ("p", "holm"),
    [
        ([0.01, 0.04, 0.03, 0.005, 0.5], [0.04, 0.09, 0.09, 0.025, 0.5]),
        ([0.3, None, 0.3], [0.6, None, 0.6]),
        ([None], [None]),
        ([0.9, 0.8], [1.0, 1.0]),
    ],
)
def test_holm(p: list[float | None], holm: list[float | None]) -> None:
    assert adjust_by_holm(p) == [None if value is None else pytest.approx(value) for value in holm]
