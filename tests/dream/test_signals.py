"""The ranks of signals: among how many values, and the replacement of a signal that does not vary."""

import math
import random
import sys
from collections.abc import Callable

import msgspec
import pytest

from dreamd.dream.model import Context, Pulse
from dreamd.dream.signals import ENOUGH, RANKED, SIGNALS, Place, Recent, Signals


def nowhere() -> float:
    raise AssertionError("the overlap was asked for")


def by_length(ctx: Context) -> Callable[[], float]:
    return lambda: len(f"{ctx.prompt} {ctx.reply}") / 100


def context(trauma=None, novelty=None, quality=None, measured=None, reply=""):
    state = None if measured is None else {"quality": measured}
    return Context(
        trauma_level=trauma, pulse=Pulse(novelty=novelty), quality=quality, math_state=state, reply=reply
    )


def told(*contexts: Context, overlap=lambda _: nowhere) -> Signals:
    signals = Signals()
    for ctx in contexts:
        signals.add(ctx, overlap(ctx))
    return signals


# --- the last values


def test_values_are_counted_below_and_above_and_equals_share_their_middle_rank() -> None:
    recent = Recent([0.1, 0.3, 0.3, 0.3, 0.8])
    assert recent.beside(0.3) == (1, 1)
    assert recent.beside(0.8) == (4, 0)
    assert recent.beside(0.2) == (1, 4)
    assert Place(signal="trauma", value=0.3, below=1, above=1, among=4).rank == 0.5
    assert Place(signal="trauma", value=0.8, below=4, above=0, among=4).rank == pytest.approx(0.9)


def test_drops_the_oldest_of_too_many_values() -> None:
    rng = random.Random(1)
    values = [rng.choice([0.0, 0.5, rng.random()]) for _ in range(3 * RANKED)]
    recent = Recent()
    for value in values:
        recent.add(value)
    last = values[-RANKED:]
    assert recent.values() == last
    for value in (0.0, 0.25, 0.5, 1.0):
        assert recent.beside(value) == (sum(v < value for v in last), sum(v > value for v in last))
    again = Recent(values)
    assert (again.values(), again.beside(0.5)) == (last, recent.beside(0.5))


@pytest.mark.parametrize(
    ("values", "varies"),
    [
        ([], False),
        ([0.9] * 100, False),
        ([0.9] * 90 + [0.1] * 10, False),  # a tenth on one side
        ([0.9] * 88 + [0.1] * 12, True),
        ([0.93 + 0.0007 * n for n in range(100)], False),
        ([0.85 + 0.0015 * n for n in range(100)], True),
        ([0.0, 1.0] * 15, True),
    ],
)
def test_a_signal_varies_if_the_middle_of_its_values_does(values: list[float], varies: bool) -> None:
    assert Recent(values).varies is varies


# --- what a context tells


def test_a_signal_that_is_not_told_has_no_place_and_is_not_counted() -> None:
    signals = told(*(context(novelty=n / 40) for n in range(40)))
    assert {name: len(recent) for name, recent in signals.recent.items()} == {
        name: 40 if name == "novelty" else 0 for name in SIGNALS
    }
    assert signals.place(context(), "novelty", nowhere) is None
    assert signals.place(context(trauma=0.5), "trauma", nowhere) is None


def test_a_rank_needs_enough_values() -> None:
    few = [context(novelty=n / ENOUGH) for n in range(ENOUGH - 1)]
    assert told(*few).place(few[-1], "novelty", nowhere) is None
    last = context(novelty=0.5)
    assert told(*few, last).place(last, "novelty", nowhere) == Place(
        signal="novelty", value=0.5, below=15, above=13, among=ENOUGH - 1
    )


def test_the_overlap_with_the_origin_stands_in_the_place_of_trauma_that_does_not_vary() -> None:
    flat = [context(trauma=0.95, reply="x" * n) for n in range(50)]
    signals = told(*flat, overlap=by_length)
    assert signals.place(flat[40], "trauma", by_length(flat[40])) == Place(
        signal="overlap", value=0.41, below=40, above=9, among=49
    )
    same = told(*(context(trauma=0.95, reply="x") for _ in range(50)), overlap=by_length)
    place = same.place(flat[1], "trauma", by_length(flat[1]))
    assert place == Place(signal="trauma", value=0.95, below=0, above=0, among=49, varies=False)


def test_does_not_compute_the_overlap_if_trauma_varies_or_is_missing() -> None:
    moving = [context(trauma=n / 200) for n in range(200)]
    signals = told(*moving[:ENOUGH], *moving[100:130], overlap=by_length)
    assert len(signals.recent["overlap"]) == ENOUGH - 1  # until it was known that trauma varies
    signals.add(moving[7], nowhere)
    told(*(context(novelty=0.5) for _ in range(50)))
    place = signals.place(moving[7], "trauma", nowhere)
    assert place is not None
    assert (place.signal, place.below) == ("trauma", 7)


def test_the_measured_quality_stands_in_the_place_of_a_predicted_one_that_does_not_vary() -> None:
    flat = [context(quality=1.0, measured=n / 50) for n in range(50)]
    assert told(*flat).place(flat[10], "quality", nowhere) == Place(
        signal="measured", value=0.2, below=10, above=39, among=49
    )
    moving = [context(quality=n / 50, measured=0.5) for n in range(50)]
    place = told(*moving).place(moving[10], "quality", nowhere)
    assert place is not None
    assert (place.signal, place.value) == ("quality", 0.2)
    silent = [context(quality=1.0) for _ in range(50)]
    place = told(*silent).place(silent[0], "quality", nowhere)
    assert place is not None
    assert (place.signal, place.varies) == ("quality", False)


@pytest.mark.parametrize("measured", [True, -3, 7.5])
def test_a_measured_quality_is_in_range(measured: float) -> None:
    signals = told(context(measured=measured))
    [value] = signals.recent["measured"].values()
    assert 0.0 <= value <= 1.0


# --- what is kept


def test_keeps_no_context_whose_overlap_was_asked_for() -> None:
    ctx = context(trauma=0.9, reply="the rain is near")
    before = sys.getrefcount(ctx)
    signals = told(ctx, overlap=by_length)
    assert signals.recent["overlap"].values() == [0.17]
    assert sys.getrefcount(ctx) == before


def test_stored_values_rank_as_before() -> None:
    contexts = [context(trauma=0.95, novelty=math.sin(n) ** 2, reply="x" * (n % 50)) for n in range(400)]
    signals = told(*contexts, overlap=by_length)
    assert signals.changed
    kept = msgspec.msgpack.decode(signals.take())
    assert not signals.changed
    again = Signals()
    again.load(kept)
    assert not again.changed
    for ctx in contexts[::37]:
        for name in ("trauma", "novelty"):
            assert again.place(ctx, name, by_length(ctx)) == signals.place(ctx, name, by_length(ctx))


def test_values_before_the_load_are_newer_than_stored_ones() -> None:
    signals = told(context(novelty=0.9))
    signals.load({"novelty": [0.1, 0.2], "unknown": [0.3]})
    assert signals.recent["novelty"].values() == [0.1, 0.2, 0.9]
    assert signals.changed


def test_bounds_the_stored_values() -> None:
    contexts = [context(0.95, n / 5000, n / 5000, n / 5000, "x") for n in range(5000)]
    assert len(told(*contexts, overlap=by_length).take()) < 12_000
