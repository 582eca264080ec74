"""The values of a dream: contexts, lines, fragments, and the bounds of values that others send.

A measure that others send is nil, or finite and clamped to [0, 1]. Of other values only those that a dream uses are
kept, cut to their bounds, because a context is kept with its session and its dialogue.
"""

from itertools import islice
from math import inf, isfinite
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct
from msgspec.msgpack import decode

from dreamd.dream import measures as pulse

# Of a prompt, a reply, a hook's line: leo never says so much, and a seed of several still fits into a message.
TEXT_CHARS, TEXT_BYTES = 4_000, 12_000
EXPERT_CHARS = 64
THEMES = 64
STATE_NUMBERS, STATE_NAME_CHARS = 32, 40  # leo's own state has 18 numbers, with names of up to 20
STATE_LOOKED_AT = 64  # entries of a state, for its numbers
NUMBER_BYTES = 9  # of the longest number in MessagePack
MOST_ENTRIES = 1024  # of a list or map that is sent, since all of them are read in one step

MOST = 1.7976931348623157e308  # the largest finite number

Speaker = Literal["leo", "friend"]
Count = Annotated[int, Meta(ge=0)]
# What a host swallowed, by kind: dreamclient knows some twenty kinds, and the daemon keeps 32.
Kinds = Annotated[dict[str, Count], Meta(max_length=256)]


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
    failures: Kinds | None = None
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


class SentContext(Context):
    """A context as MessagePack. Values of `math_state` that are no numbers stay unread, however large they are."""

    math_state: Annotated[dict[str, Raw], Meta(max_length=MOST_ENTRIES)] | None = None
    themes: Annotated[list[int], Meta(max_length=MOST_ENTRIES)] = []

    def __post_init__(self) -> None:
        if self.math_state:
            first = islice(self.math_state.items(), STATE_LOOKED_AT)
            self.math_state = {n: decode(raw) for n, raw in first if len(memoryview(raw)) <= NUMBER_BYTES}
        Context.__post_init__(self)


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
    """Return the first numbers of a state."""
    numbers = {
        name: value
        for name, value in islice(state.items(), STATE_LOOKED_AT)
        if type(value) in _NUMBERS and -inf < value < inf and len(name) <= STATE_NAME_CHARS
    }
    return numbers if len(numbers) <= STATE_NUMBERS else dict(islice(numbers.items(), STATE_NUMBERS))


_NUMBERS = frozenset({int, float, bool})
