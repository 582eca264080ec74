"""What the dream reads and makes: contexts, lines, fragments, and the one way their numbers are settled.

A number that others send is nil, or finite and clamped to [0, 1]. All in range is the hot path: it
has no copy and no loop.
"""

from collections.abc import Iterable
from math import isfinite
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, ValidationError

# The bound of every free-form value (DESIGN §13). Deeper is an attack.
MOST_LEVELS = 32

Speaker = Literal["leo", "friend"]


class Pulse(Struct):
    """How the moment feels, each in [0, 1] or nil where the host does not know."""

    novelty: float | None = None
    arousal: float | None = None
    entropy: float | None = None


class Context(Struct):
    """What a host tells after a reply. Unknown keys are ignored, missing ones are empty or nil."""

    prompt: str = ""
    reply: str = ""
    math_state: dict[str, Any] | None = None
    pulse: Pulse | None = None
    trauma_level: float | None = None
    themes: list[int] = []
    expert: str = ""
    quality: float | None = None
    # What the host swallowed since its last message, by kind.
    failures: dict[str, Annotated[int, Meta(ge=0)]] | None = None


class LineMetrics(Struct):
    """What a hook may report of a line, each in [0, 1] or nil."""

    novelty: float | None = None
    arousal: float | None = None
    entropy: float | None = None
    trauma: float | None = None
    overlap: float | None = None
    quality: float | None = None


class Heard(LineMetrics):
    """What `observe` answers: `taken` tells whether the line went into the host's field, nil where it is not said."""

    taken: bool | None = None


class Answer(LineMetrics, kw_only=True):
    """What `generate` answers, in its map form."""

    text: str


class Line(Struct, frozen=True, kw_only=True):
    """One line of a dialogue: what was said, how it measures, and what it was asked with."""

    turn: int  # from 1
    speaker: Speaker
    text: str
    novelty: float
    arousal: float
    entropy: float
    trauma: float
    overlap: float
    quality: float | None = None
    seed: str  # the prompt given to `generate`
    temperature: float
    semantic_weight: float
    expert: str
    said: str  # the hook's text before clamping


class Fragment(Struct, frozen=True, kw_only=True):
    """One thing that the friend is made of."""

    id: int
    text: str
    weight: float
    origin: bool
    dialog: int | None  # the dialogue it came from; nil for the origin
    added_at: float  # unix s


def settle_context(ctx: Context) -> Context:
    """The same context, with its numbers clamped to [0, 1].

    Raises msgspec.ValidationError, naming the field, on a number that is not finite and on a `math_state`
    that is nested too deep or holds what JSON cannot.
    """
    pulse = ctx.pulse
    if pulse is not None:  # each field written out: a loop over names takes three times as long
        if (n := pulse.novelty) is not None and not 0.0 <= n <= 1.0:
            pulse.novelty = _clamped(n, "$.pulse.novelty")
        if (n := pulse.arousal) is not None and not 0.0 <= n <= 1.0:
            pulse.arousal = _clamped(n, "$.pulse.arousal")
        if (n := pulse.entropy) is not None and not 0.0 <= n <= 1.0:
            pulse.entropy = _clamped(n, "$.pulse.entropy")
    if (n := ctx.trauma_level) is not None and not 0.0 <= n <= 1.0:
        ctx.trauma_level = _clamped(n, "$.trauma_level")
    if (n := ctx.quality) is not None and not 0.0 <= n <= 1.0:
        ctx.quality = _clamped(n, "$.quality")
    state = ctx.math_state
    if state is not None and not _PLAIN.issuperset(map(type, state.values())):
        _check_free_form(state, "$.math_state")
    return ctx


Metrics = TypeVar("Metrics", bound=LineMetrics)


def settle_metrics(metrics: Metrics) -> Metrics:
    """The same metrics, with their numbers clamped to [0, 1]; raises as settle_context does."""
    for name in LineMetrics.__struct_fields__:
        value = getattr(metrics, name)
        if value is not None and not 0.0 <= value <= 1.0:
            setattr(metrics, name, _clamped(value, f"$.{name}"))
    return metrics


def _clamped(value: float, field: str) -> float:
    if not isfinite(value):
        raise ValidationError(f"`{field}` is {value}, send a finite number or nil")
    return min(1.0, max(0.0, value))


_PLAIN = frozenset({str, int, float, bool, type(None)})


def _check_free_form(value: Any, field: str) -> None:
    """Level by level, so that depth costs no stack: maps with plain keys, lists and plain values only."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [part for whole in level for part in _parts(whole, field) if type(part) not in _PLAIN]
        if not level:
            return
    raise ValidationError(f"`{field}` is nested deeper than {MOST_LEVELS} levels, send it flatter")


def _parts(whole: Any, field: str) -> Iterable[Any]:
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        raise ValidationError(
            f"`{field}` holds a {type(whole).__name__}, send numbers, strings, lists and maps"
        )
    if not all(isinstance(key, (str, int)) for key in whole):
        raise ValidationError(f"`{field}` holds a map whose keys are neither strings nor integers")
    return whole.values()
