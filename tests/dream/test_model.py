"""The bounds of what others send: measures are clamped or refused, and what is kept has a size."""

import math
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamd.dream.measures import clamp_text
from dreamd.dream.model import (
    MOST_ENTRIES,
    STATE_NUMBERS,
    TEXT_BYTES,
    TEXT_CHARS,
    THEMES,
    Answer,
    Context,
    LineMetrics,
    Pulse,
    SentContext,
    UsualContext,
    cut_text,
)

CONTEXT_FIELDS = ["pulse.novelty", "pulse.arousal", "pulse.entropy", "trauma_level", "quality"]
METRIC_FIELDS = ["novelty", "arousal", "entropy", "trauma", "overlap", "quality"]
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


def context_with(field: str, value: float | None) -> Context:
    outer, _, inner = field.partition(".")
    return Context(pulse=Pulse(**{inner: value})) if inner else Context(**{outer: value})  # type: ignore[arg-type]


def number_of(ctx: Context, field: str) -> Any:
    outer, _, inner = field.partition(".")
    return getattr(getattr(ctx, outer), inner) if inner else getattr(ctx, outer)


@pytest.mark.parametrize("field", CONTEXT_FIELDS)
@pytest.mark.parametrize(
    ("sent", "settled"),
    [
        (None, None),
        (0.0, 0.0),
        (0.25, 0.25),
        (1.0, 1.0),
        (-0.1, 0.0),
        (1.1, 1.0),
        (1e308, 1.0),
        (-1e308, 0.0),
    ],
)
def test_a_context_number_is_nil_or_in_range(field: str, sent: float | None, settled: float | None) -> None:
    assert number_of(context_with(field, sent), field) == settled


@pytest.mark.parametrize("field", CONTEXT_FIELDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_context_number_that_is_not_finite_is_an_error_that_names_its_field(
    field: str, value: float
) -> None:
    with pytest.raises(
        ValueError, match=f"^`{field.split('.')[-1]}` is {value}, send a finite number or nil$"
    ):
        context_with(field, value)


@pytest.mark.parametrize("field", METRIC_FIELDS)
@pytest.mark.parametrize(("sent", "settled"), [(None, None), (0.5, 0.5), (-3.0, 0.0), (3.0, 1.0)])
def test_a_metric_is_nil_or_in_range(field: str, sent: float | None, settled: float | None) -> None:
    answer = Answer(text="hello", **{field: sent})
    assert getattr(answer, field) == settled
    assert answer.text == "hello"


@pytest.mark.parametrize("field", METRIC_FIELDS)
def test_a_metric_that_is_not_finite_is_an_error_that_names_its_field(field: str) -> None:
    with pytest.raises(ValueError, match=f"`{field}` is nan"):
        LineMetrics(**{field: math.nan})


@settings(derandomize=True, print_blob=True)
@given(pulse=st.none() | st.builds(Pulse, NUMBERS, NUMBERS, NUMBERS), trauma=NUMBERS, quality=NUMBERS)
def test_a_kept_context_comes_back_as_it_was(
    pulse: Pulse | None, trauma: float | None, quality: float | None
) -> None:
    ctx = Context(pulse=pulse, trauma_level=trauma, quality=quality)
    assert msgspec.json.decode(msgspec.json.encode(ctx), type=Context) == ctx
    numbers = [number_of(ctx, field) for field in CONTEXT_FIELDS if pulse or "." not in field]
    assert all(number is None or 0.0 <= number <= 1.0 for number in numbers)


JSON_LIKE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(derandomize=True, print_blob=True)
@given(state=st.dictionaries(st.text(max_size=3), JSON_LIKE, max_size=3))
def test_of_a_math_state_the_numbers_of_its_first_level_are_kept(state: dict[str, Any]) -> None:
    kept = Context(math_state=state).math_state
    assert kept == {
        name: value
        for name, value in state.items()
        if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    }
    msgspec.json.encode(kept)


@settings(derandomize=True, print_blob=True)
@given(state=st.dictionaries(st.text(max_size=3), JSON_LIKE, max_size=3))
def test_a_sent_state_gives_the_same_numbers(state: dict[str, Any]) -> None:
    sent = msgspec.msgpack.encode({"math_state": state})
    assert msgspec.msgpack.decode(sent, type=SentContext).math_state == Context(math_state=state).math_state


@pytest.mark.parametrize("value", [[[]] * 200_000, {"a": [1.5] * 50_000}, "x" * 900_000, b"x" * 900_000])
def test_p11_values_of_a_state_that_are_no_numbers_are_never_built(value: Any) -> None:
    """They would be a million objects, and take 0.3 s of the loop."""
    sent = msgspec.msgpack.encode({"math_state": {"first": 1, "large": value, "last": -2.5}})
    tracemalloc.start()
    try:
        ctx = msgspec.msgpack.decode(sent, type=SentContext)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert ctx.math_state == {"first": 1, "last": -2.5}
    assert most < 100_000


@pytest.mark.parametrize(
    ("key", "sent", "most"),
    [
        ("themes", lambda count: [1] * count, MOST_ENTRIES),
        ("math_state", lambda count: dict.fromkeys(map(str, range(count)), 1), MOST_ENTRIES),
        ("failures", lambda count: dict.fromkeys(map(str, range(count)), 1), 256),
    ],
)
def test_p11_a_list_or_map_that_is_too_long_is_refused_before_it_is_read(
    key: str, sent: Callable[[int], Any], most: int
) -> None:
    msgspec.msgpack.decode(msgspec.msgpack.encode({key: sent(most)}), type=SentContext)
    beginning = msgspec.msgpack.encode({key: sent(most + 1)})[:100]
    with pytest.raises(msgspec.ValidationError, match=f"of length <= {most} - at `\\$.{key}`"):
        msgspec.msgpack.decode(beginning, type=SentContext)


WIDE = "\U0001f30a"
AT_A_BOUND: list[tuple[dict[str, Any], dict[str, Any]]] = [  # usual, and one more than that
    ({"prompt": WIDE * 3000}, {"prompt": WIDE * 3001}),
    ({"reply": "x" * 3000}, {"reply": "x" * 3001}),
    ({"themes": [1] * THEMES}, {"themes": [1] * (THEMES + 1)}),
    ({"expert": "x" * 64}, {"expert": "x" * 65}),
    ({"quality": 1.0}, {"quality": 1.1}),
    ({"trauma_level": 0}, {"trauma_level": -1}),
    ({"pulse": {"novelty": 0.5}}, {"pulse": {"novelty": math.nan}}),
    ({"math_state": {"n" * 40: True}}, {"math_state": {"n" * 41: True}}),
    ({"math_state": {str(n): n for n in range(32)}}, {"math_state": {str(n): n for n in range(33)}}),
    ({"math_state": {"a": 1e308, "b": 1e308}}, {"math_state": {"a": math.inf}}),
    ({"math_state": {"a": -3}}, {"math_state": {"a": "text"}}),
]


@pytest.mark.parametrize(("usual", "other"), AT_A_BOUND)
def test_a_usual_context_is_one_that_is_kept_as_it_came(usual: dict[str, Any], other: dict[str, Any]) -> None:
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(usual), type=UsualContext)
    assert msgspec.to_builtins(read) == msgspec.to_builtins(msgspec.convert(usual, Context))
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(msgspec.msgpack.encode(other), type=UsualContext)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt": st.text(max_size=5),
            "quality": st.none() | st.integers(-1, 2) | st.floats(),
            "pulse": st.none() | st.fixed_dictionaries({"arousal": st.none() | st.floats(-0.5, 1.5)}),
            "math_state": st.none() | st.dictionaries(st.text(max_size=3), JSON_LIKE, max_size=3),
            "themes": st.lists(st.integers(0, 9), max_size=70),
        },
    )
)
def test_what_is_read_as_usual_would_not_have_been_changed(sent: dict[str, Any]) -> None:
    data = msgspec.msgpack.encode(sent)
    try:
        usual = msgspec.msgpack.decode(data, type=UsualContext)
    except msgspec.ValidationError:
        return
    assert msgspec.to_builtins(usual) == msgspec.to_builtins(msgspec.msgpack.decode(data, type=Context))


@pytest.mark.parametrize("letter", ["x", "é", "夢", WIDE])
def test_p11_keeps_any_context_in_few_bytes(letter: str) -> None:
    ctx = Context(
        prompt=letter * 200_000,
        reply=letter * 200_000,
        themes=list(range(100_000)),
        expert=letter * 100_000,
        math_state={"n" * 1000: 1, "text": letter * 100_000} | {f"{n}{letter}": n / 7 for n in range(10_000)},
    )
    assert ctx.prompt == ctx.reply == letter * min(TEXT_CHARS, TEXT_BYTES // len(letter.encode()))
    assert ctx.themes == list(range(THEMES))
    assert ctx.math_state is not None
    assert len(ctx.math_state) == STATE_NUMBERS
    assert len(msgspec.json.encode(ctx)) < 28 * 1024
    assert msgspec.json.decode(msgspec.json.encode(ctx), type=Context) == ctx


def test_a_cut_text_ends_with_a_whole_character() -> None:
    assert cut_text("x" * 2 + WIDE * 4000) == "x" * 2 + WIDE * 2999
    assert cut_text("x" * 3999 + "\ud83d!") == "x" * 3999 + "?"  # a lone surrogate is no text


def test_a_cut_text_ends_with_a_whole_word_as_a_seed_does() -> None:
    """So the replay of an older dialogue, whose context was kept whole, still gets equal seeds."""
    text = "some words of it " * 400
    assert cut_text(text).endswith(" some")
    assert (
        cut_text(text)
        == clamp_text(text, most_chars=TEXT_CHARS)
        == clamp_text(cut_text(text), most_chars=TEXT_CHARS)
    )


def test_a_hook_keeps_no_more_of_its_line() -> None:
    assert Answer(text="x" * 100_000).text == "x" * TEXT_CHARS


def test_unknown_keys_are_ignored_and_missing_ones_are_empty() -> None:
    sent = msgspec.msgpack.encode({"prompt": "hi", "pulse": {"novelty": 1, "colour": 3}, "future": [1]})
    ctx = msgspec.msgpack.decode(sent, type=Context)
    assert ctx == Context(prompt="hi", pulse=Pulse(novelty=1.0))
    assert (ctx.reply, ctx.math_state, ctx.themes, ctx.expert, ctx.failures) == ("", None, [], "", None)


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"prompt": 1}, r"\$\.prompt"),
        ({"pulse": {"novelty": "x"}}, r"\$\.pulse\.novelty"),
        ({"themes": [1, "x"]}, r"\$\.themes\[1\]"),
        ({"themes": [1, 0.5]}, r"\$\.themes\[1\]"),
        ({"failures": {"generate": -1}}, r"\$\.failures"),
        ({"trauma_level": True}, r"\$\.trauma_level"),
    ],
)
def test_a_wrong_type_is_an_error_that_names_its_field(sent: dict[str, Any], field: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.msgpack.decode(msgspec.msgpack.encode(sent), type=Context)


def test_an_answer_needs_its_text() -> None:
    with pytest.raises(msgspec.ValidationError, match="text"):
        msgspec.convert({"novelty": 0.5}, type=Answer)
    assert msgspec.convert({"text": "so", "novelty": 0.5}, type=Answer) == Answer(text="so", novelty=0.5)
