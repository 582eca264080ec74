"""A context is cut to a bounded part before it is sent."""

from typing import Any

import msgpack
import numpy as np
import pytest
from dreamclient.errors import UsageError
from dreamclient.messages import DreamContext, PulseSnapshot
from dreamclient.protocol.contexts import WHOLE_BYTES, context_message, small_context


def test_a_context_is_sent_as_it_is_if_it_is_small() -> None:
    ctx = DreamContext("p", "r", {"entropy": 0.5}, PulseSnapshot(0.1, None, 0.3), 0.7, [1, 2], "wounded", 0.5)
    assert small_context(ctx) == {
        "prompt": "p",
        "reply": "r",
        "math_state": {"entropy": 0.5},
        "pulse": {"novelty": 0.1, "entropy": 0.3},
        "trauma_level": 0.7,
        "themes": [1, 2],
        "expert": "wounded",
        "quality": 0.5,
    }
    assert small_context({"prompt": "p"}) == {"prompt": "p", "reply": "", "themes": []}
    assert small_context({}) == {"prompt": "", "reply": "", "themes": []}


def test_sends_failures_with_a_context() -> None:
    assert msgpack.unpackb(context_message({}, {"stalled": 2}))[2][0]["failures"] == {"stalled": 2}
    assert "failures" not in msgpack.unpackb(context_message({}, {}))[2][0]


@pytest.mark.parametrize("letter", ["x", "é", "雨", "🌧", "\ud83d"])
def test_texts_are_cut_at_characters_and_bytes(letter: str) -> None:
    small = small_context({"prompt": letter * 100_000, "reply": f"{letter}r" * 3000, "expert": letter * 5000})
    for name in ("prompt", "reply", "expert"):
        assert 2999 < len(small[name]) <= 4000
        assert len(small[name].encode(errors="replace")) <= 12_000
    assert small["prompt"] in (letter * len(small["prompt"]), "?" * len(small["prompt"]))


class Measures:
    """Leo's own, which may keep what made them."""

    def __init__(self) -> None:
        self.entropy = 0.5
        self.novelty = np.float32(0.25)
        self.count = 7
        self.expert_id = "structural"
        self.infinite = float("inf")
        self.several = np.arange(3)
        self.field = {str(i): {str(j): j for j in range(20)} for i in range(50_000)}
        self.me = self


def test_sends_only_the_numbers_of_one_level_of_a_measure() -> None:
    measures = Measures()
    small = small_context({"math_state": measures, "pulse": {"novelty": np.float64(0.5), "other": None}})
    assert small["math_state"] == {"entropy": 0.5, "novelty": 0.25, "count": 7.0}
    assert small["pulse"] == {"novelty": 0.5}


def test_the_largest_context_is_one_send() -> None:
    largest = {
        "prompt": "雨" * 100_000,
        "reply": "雨" * 100_000,
        "math_state": {f"{n}{'x' * 500}": 0.1 for n in range(1000)},
        "pulse": {f"{n}": 0.1 for n in range(64)},
        "themes": range(2**62, 2**62 + 100_000),
        "expert": "x",
        "unknown": "x" * 1_000_000,
    }
    assert len(context_message(largest, {})) <= WHOLE_BYTES


class Bare:
    __slots__ = ()


@pytest.mark.parametrize(
    "ctx",
    [
        None,
        7,
        Bare(),
        {1, 2},
        {"prompt": ["x"]},
        {"trauma_level": object()},
        {"prompt": b"what was said"},
        {"expert": 7},
        {"quality": "what was said"},
        {"themes": 7},
        {"themes": "what was said"},
        {"themes": [float("inf")]},
    ],
    ids=lambda ctx: type(ctx).__name__,
)
def test_refuses_a_value_that_is_no_context(ctx: Any) -> None:
    with pytest.raises(
        UsageError, match=r"^a context that cannot be sent: \w+ is a \w+; expected "
    ) as raised:
        context_message(ctx, {})
    assert "said" not in str(raised.value)  # P14
    assert raised.value.__cause__ is None


class Raises:
    def __float__(self) -> float:
        raise RuntimeError


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), np.float32("nan"), 10**400, np.arange(3), Raises()]
)
def test_a_measure_without_a_finite_value_was_not_measured(value: Any) -> None:
    """Sent, it would cost the context, with the failures that it carries."""
    ctx = {"prompt": "p", "trauma_level": value, "quality": 0.5, "pulse": {"novelty": value, "arousal": 0.5}}
    assert small_context(ctx) == {
        "prompt": "p",
        "reply": "",
        "themes": [],
        "quality": 0.5,
        "pulse": {"arousal": 0.5},
    }


def test_more_failures_than_fit_are_refused() -> None:
    with pytest.raises(UsageError, match="the limit is"):
        context_message({}, {f"into.{n}": 1 for n in range(10_000)})
