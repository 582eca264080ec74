"""The values of a dream: contexts, lines, fragments, and the bounds of values that others send.

A measure that others send is nil, or finite and clamped to [0, 1]. Of other values only those that a dream uses are
kept, cut to their bounds, because a context is kept with its session and its dialogue.
"""

from collections.abc import Iterable
from itertools import islice
from math import inf, isfinite
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

from dreamd.dream import measures as pulse

# The depth of every free-form value. Deeper is an attack.
MOST_LEVELS = 32
# Of a prompt, a reply, a hook's line: leo never says so much, and a seed of several still fits into a message.
TEXT_CHARS, TEXT_BYTES = 4_000, 12_000
EXPERT_CHARS = 64
THEMES = 64
STATE_NUMBERS, STATE_NAME_CHARS = 32, 40  # leo's own state has 18 numbers, with names of up to 20
STATE_LOOKED_AT = 64  # entries of a state, for its numbers

MOST = 1.7976931348623157e308  # the largest finite number

Speaker = Literal["leo", "friend"]
Count = Annotated[int, Meta(ge=0)]


def cut_text(text: str) -> str:
    """Return the text, cut to at most TEXT_CHARS characters and TEXT_BYTES of UTF-8, if possible at a word."""
    if len(text) <= TEXT_BYTES // 4:  # even if every character takes the most bytes
        return text
    if len(text) > TEXT_CHARS:
        text = pulse.clamp_text(text, most_chars=TEXT_CHARS)
    return text.encode(errors="replace")[:TEXT_BYTES].decode(errors="ignore")


def clamp_measure(value: float | None, field: str) -> float | None:
    """Return a measure clamped to [0, 1]. Raise ValueError, naming the field, if it is not finite."""
    if value is None or 0.0 <= value <= 1.0:
        return value
    if not isfinite(value):
        raise ValueError(f"`{field}` is {value}, send a finite number or nil")
    return min(1.0, max(0.0, value))


class Pulse(Struct):
    """The feeling of the moment: each measure in [0, 1], or nil if the host does not know it."""

    novelty: float | None = None
    arousal: float | None = None
    entropy: float | None = None

    def __post_init__(self) -> None:  # field by field, because a loop over names takes three times as long
        if (n := self.novelty) is not None and not 0.0 <= n <= 1.0:
            self.novelty = clamp_measure(n, "novelty")
        if (n := self.arousal) is not None and not 0.0 <= n <= 1.0:
            self.arousal = clamp_measure(n, "arousal")
        if (n := self.entropy) is not None and not 0.0 <= n <= 1.0:
            self.entropy = clamp_measure(n, "entropy")


class Context(Struct):
    """A host's report after a reply. Unknown keys are ignored, missing ones are empty or nil. Of `math_state` only the
    first numbers of its first level are kept."""

    prompt: str = ""
    reply: str = ""
    math_state: dict[str, Any] | None = None
    pulse: Pulse | None = None
    trauma_level: float | None = None
    themes: list[int] = []
    expert: str = ""
    quality: float | None = None
    # The failures that the host swallowed since its last message, by kind.
    failures: dict[str, Count] | None = None
    private: Count | None = None  # how many replies were private since its last message

    def __post_init__(self) -> None:
        self.prompt, self.reply = cut_text(self.prompt), cut_text(self.reply)
        if (n := self.trauma_level) is not None and not 0.0 <= n <= 1.0:
            self.trauma_level = clamp_measure(n, "trauma_level")
        if (n := self.quality) is not None and not 0.0 <= n <= 1.0:
            self.quality = clamp_measure(n, "quality")
        self.expert = self.expert[:EXPERT_CHARS]
        if len(self.themes) > THEMES:
            self.themes = self.themes[:THEMES]
        if self.math_state:
            self.math_state = _numbers_of(self.math_state)


Measure = Annotated[float, Meta(ge=0, le=1)] | None
ShortText = Annotated[str, Meta(max_length=TEXT_BYTES // 4)]  # even if every character takes the most bytes
Number = bool | int | Annotated[float, Meta(ge=-MOST, le=MOST)]
Numbers = Annotated[
    dict[Annotated[str, Meta(max_length=STATE_NAME_CHARS)], Number], Meta(max_length=STATE_NUMBERS)
]


class UsualPulse(Pulse):
    """A pulse that needs no change, as its types say."""

    novelty: Measure = None
    arousal: Measure = None
    entropy: Measure = None

    def __post_init__(self) -> None:
        """Do nothing."""


class UsualContext(Context):
    """A context that needs no change, as its types say: of nearly all that come nothing else has to be looked at."""

    prompt: ShortText = ""
    reply: ShortText = ""
    math_state: Numbers | None = None
    pulse: UsualPulse | None = None
    trauma_level: Measure = None
    themes: Annotated[list[int], Meta(max_length=THEMES)] = []
    expert: Annotated[str, Meta(max_length=EXPERT_CHARS)] = ""
    quality: Measure = None

    def __post_init__(self) -> None:
        """Do nothing."""


class LineMetrics(Struct):
    """The measures that a hook may report of a line, each in [0, 1] or nil."""

    novelty: float | None = None
    arousal: float | None = None
    entropy: float | None = None
    trauma: float | None = None
    overlap: float | None = None
    quality: float | None = None

    def __post_init__(self) -> None:  # field by field, as `Pulse`
        if (n := self.novelty) is not None:
            self.novelty = clamp_measure(n, "novelty")
        if (n := self.arousal) is not None:
            self.arousal = clamp_measure(n, "arousal")
        if (n := self.entropy) is not None:
            self.entropy = clamp_measure(n, "entropy")
        if (n := self.trauma) is not None:
            self.trauma = clamp_measure(n, "trauma")
        if (n := self.overlap) is not None:
            self.overlap = clamp_measure(n, "overlap")
        if (n := self.quality) is not None:
            self.quality = clamp_measure(n, "quality")


class Heard(LineMetrics):
    """The answer of `observe`. `taken`: whether the line went into the host's field, or nil if it does not say.
    `added`: what it added there, in the host's own form, as bytes of MessagePack."""

    taken: bool | None = None
    added: Raw = Raw()


class Answer(LineMetrics, kw_only=True):
    """The answer of `generate`, in its map form."""

    text: str

    def __post_init__(self) -> None:
        self.text = cut_text(self.text)
        LineMetrics.__post_init__(self)


class Line(Struct, frozen=True, kw_only=True):
    """One line of a dialogue: its text, its measures, and the parameters with which it was asked for."""

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
    candidates: tuple[str, ...]  # the texts that the hook returned, of which the line is a part


class Fragment(Struct, frozen=True, kw_only=True):
    """One of the sentences that the friend is made of."""

    id: int
    text: str
    weight: float
    origin: bool
    dialog: int | None  # the dialogue it came from; nil for the origin
    added_at: float  # unix s


def _numbers_of(state: dict[str, Any]) -> dict[str, Any]:
    """Return the first numbers of a state. Raise ValueError if it nests too deep or holds values that JSON lacks."""
    if not _PLAIN.issuperset(map(type, state.values())):
        _check_free_form(state)
    numbers = {
        name: value
        for name, value in islice(state.items(), STATE_LOOKED_AT)
        if type(value) in _NUMBERS and -inf < value < inf and len(name) <= STATE_NAME_CHARS
    }
    return numbers if len(numbers) <= STATE_NUMBERS else dict(islice(numbers.items(), STATE_NUMBERS))


_NUMBERS = frozenset({int, float, bool})
_PLAIN = _NUMBERS | {str, type(None)}


def _check_free_form(value: dict[str, Any]) -> None:
    """Check that a value has only maps with plain keys, lists and plain values, level by level without recursion."""
    level: list[Any] = [value]
    for _ in range(MOST_LEVELS):
        level = [
            part for container in level for part in _nested_values(container) if type(part) not in _PLAIN
        ]
        if not level:
            return
    raise ValueError(f"`math_state` is nested deeper than {MOST_LEVELS} levels, send it flatter")


def _nested_values(container: Any) -> Iterable[Any]:
    if isinstance(container, list):
        return container
    if not isinstance(container, dict):
        kind = type(container).__name__
        raise ValueError(f"`math_state` holds a {kind}, send numbers, strings, lists and maps")
    if not {str, int}.issuperset(map(type, container)):
        raise ValueError("`math_state` holds a map whose keys are neither strings nor integers")
    return container.values()
