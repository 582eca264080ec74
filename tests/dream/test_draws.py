"""The draws of a seed: fixed for all time, and those of numpy, with which the first dialogues were stored."""

import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dreamd.dream.draws import Draws

SEEDS = st.one_of(st.integers(0, 3), st.integers(0, (1 << 63) - 1), st.integers(0, 1 << 200))
WEIGHTS = st.lists(st.one_of(st.just(1e-6), st.floats(1e-6, 1.0)), min_size=1, max_size=320)


@pytest.mark.parametrize(
    ("seed", "numbers", "places"),
    [
        (0, [6, 4, 4, 2], [0, 3, 2]),
        (1, [3, 4, 5, 6], [1, 3, 2]),
        (2**63 - 1, [3, 2, 2, 3], [3, 2, 1]),
    ],
)
def test_the_draws_of_a_seed_never_change(seed: int, numbers: list[int], places: list[int]) -> None:
    """Stored dialogues are run again with them (P13)."""
    draws = Draws(seed)
    assert [draws.whole_number(1, 6) for _ in range(4)] == numbers
    assert draws.places([0.1, 0.2, 0.3, 0.4], 3) == places


@example(0, [(1, 1), (1, 3 << 30), (0, (1 << 32) - 1), (0, 1 << 32)], [1.0], 1)
@given(
    SEEDS,
    st.lists(
        st.tuples(st.integers(-5, 5), st.integers(0, 9) | st.integers(0, 1 << 33) | st.integers(0, 1 << 62)),
        max_size=5,
    ),
    WEIGHTS,
    st.integers(1, 6),
)
def test_draws_as_numpy_does(
    seed: int, ranges: list[tuple[int, int]], weights: list[float], count: int
) -> None:
    ours, numpys = Draws(seed), np.random.default_rng(seed)
    shares = [weight / sum(weights) for weight in weights]
    count = min(count, len(shares))
    for least, width in ranges:
        assert ours.whole_number(least, least + width) == numpys.integers(least, least + width, endpoint=True)
        assert ours.places(shares, count) == list(
            numpys.choice(len(shares), size=count, replace=False, p=shares)
        )


def test_each_number_and_place_is_as_likely_as_it_should_be() -> None:
    draws, tries = Draws(random.Random(7).getrandbits(63)), 6000
    numbers = [draws.whole_number(2, 4) for _ in range(tries)]
    assert all(abs(numbers.count(number) / tries - 1 / 3) < 0.03 for number in (2, 3, 4))
    firsts = [draws.places([0.5, 0.0, 0.5e-9, 0.25, 0.25], 2)[0] for _ in range(tries)]
    assert abs(firsts.count(0) / tries - 0.5) < 0.03
    assert 1 not in firsts


@pytest.mark.parametrize(("least", "most"), [(2, 1), (0, 1 << 64)])
def test_ranges_that_cannot_be_drawn_from_are_refused(least: int, most: int) -> None:
    """A setting may be any number, and the loop must not be held."""
    with pytest.raises(ValueError, match="can be drawn"):
        Draws(1).whole_number(least, most)


def test_weights_of_zero_alone_are_refused() -> None:
    with pytest.raises(ZeroDivisionError):
        Draws(1).places([1.0, 0.0], 2)
