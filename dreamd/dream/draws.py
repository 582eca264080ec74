"""The draws of a dialogue from its seed: those of `numpy.random.default_rng`, number for number.

A stored dialogue is run again from its seed, so these numbers must never change. numpy may change its own with a
version, and to load it costs a daemon 15 MB and its first dream 50 ms. A dialogue draws five numbers at most.

The generator is PCG64 (O'Neill 2014, pcg-random.org) with the output XSL-RR, seeded by a SeedSequence, which is
described in numpy's documentation. tests/dream/test_draws.py compares it with numpy.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, cycle, islice

_32, _64, _128 = (1 << 32) - 1, (1 << 64) - 1, (1 << 128) - 1
_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645  # of PCG64's step
# SeedSequence: four words, into which the seed is hashed, and out of which the first state is hashed.
_POOL_WORDS = 4
_SHIFT = 16
_HASH_IN, _HASH_IN_STEP = 0x43B0D7E5, 0x931E8875
_HASH_OUT, _HASH_OUT_STEP = 0x8B51F9DD, 0x58F38DED
_MIX_LEFT, _MIX_RIGHT = 0xCA01F9DD, 0x4973F715


class Draws:
    """A generator of random numbers. `seed`: a whole number, 0 or more."""

    def __init__(self, seed: int) -> None:
        high, low, stream_high, stream_low = _first_state(seed)
        self._step = (((stream_high << 64 | stream_low) << 1) | 1) & _128
        self._state = (self._step + (high << 64 | low)) * _MULTIPLIER + self._step & _128
        self._half: int | None = None  # the upper half of the last 64 bits, if only the lower one was used

    def whole_number(self, least: int, most: int) -> int:
        """Return one of the numbers from `least` to `most`, each as likely (Lemire 2019). Raise ValueError if there are
        none, or more than 2**64."""
        count = most - least + 1
        if not 0 < count <= 1 << 64:
            raise ValueError(f"no number from {least} to {most} can be drawn")
        if count == 1:
            return least
        bits, draw = (32, self._bits_32) if count <= 1 << 32 else (64, self._bits_64)
        product = draw() * count
        while product % (1 << bits) < (1 << bits) % count:
            product = draw() * count
        return least + (product >> bits)

    def places(self, weights: Sequence[float], count: int) -> list[int]:
        """Return the places of so many weights that are above zero, each place once, the heavier the likelier."""
        left, found = list(weights), dict[int, None]()
        while len(found) < count:
            draws = [self._fraction() for _ in range(count - len(found))]
            for place in found:
                left[place] = 0.0
            sums = list(accumulate(left))
            shares = [part / sums[-1] for part in sums]
            found.update((bisect_right(shares, draw), None) for draw in draws)
        return list(found)

    def _fraction(self) -> float:
        """Return a number in [0, 1)."""
        return (self._bits_64() >> 11) * 2.0**-53

    def _bits_32(self) -> int:
        if self._half is not None:
            half, self._half = self._half, None
            return half
        bits = self._bits_64()
        self._half = bits >> 32
        return bits & _32

    def _bits_64(self) -> int:
        self._state = state = self._state * _MULTIPLIER + self._step & _128
        folded, turn = (state >> 64 ^ state) & _64, state >> 122
        return (folded >> turn | folded << (64 - turn)) & _64


def _first_state(seed: int) -> Iterator[int]:
    """Return the four 64-bit words that a SeedSequence makes of a seed."""
    words = [seed >> shift & _32 for shift in range(0, max(1, seed.bit_length()), 32)]
    hash_in = _hashing(_HASH_IN, _HASH_IN_STEP)
    pool = [hash_in(word) for word in [*words, *[0] * _POOL_WORDS][:_POOL_WORDS]]
    pairs = [(one, other) for one in range(_POOL_WORDS) for other in range(_POOL_WORDS) if one != other]
    for one, other in pairs:
        pool[other] = _mixed(pool[other], hash_in(pool[one]))
    for word in words[_POOL_WORDS:]:
        for place in range(_POOL_WORDS):
            pool[place] = _mixed(pool[place], hash_in(word))
    hash_out = _hashing(_HASH_OUT, _HASH_OUT_STEP)
    halves = [hash_out(word) for word in islice(cycle(pool), 8)]
    return (low | high << 32 for low, high in zip(halves[::2], halves[1::2], strict=True))


def _hashing(start: int, step: int) -> Callable[[int], int]:
    """Return a hash of 32-bit words that is another one at each call."""
    key = start

    def hash_word(word: int) -> int:
        nonlocal key
        word ^= key
        key = key * step & _32
        word = word * key & _32
        return word ^ word >> _SHIFT

    return hash_word


def _mixed(one: int, other: int) -> int:
    word = _MIX_LEFT * one - _MIX_RIGHT * other & _32
    return word ^ word >> _SHIFT
