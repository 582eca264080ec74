"""What a leo sends, as bytes: the same for every system. `usual`: of the size of the real leo's, and none alike."""

import random
from typing import Any

import msgpack

WORDS = (
    "the", "sea", "is", "quiet", "tonight", "and", "small", "nothing", "holds", "light", "like", "water", "does", "i",
    "am", "a", "organism", "who", "speaks", "of", "rivers", "houses", "snow", "night", "wind", "trees", "old", "stones",
    "field", "presence", "words", "we", "you", "remember", "dream", "resonance", "silence",
)  # fmt: skip
STATE = (
    "entropy", "novelty", "arousal", "pulse", "trauma_level", "theme_count", "metaleo_weight", "quality",
    "overthinking_abstraction_ratio", "reply_len", "unique_ratio", "prompt_len",
)  # fmt: skip
EMPTY = {
    "prompt": "", "reply": "", "pulse": {"novelty": 0.2, "arousal": 0.3, "entropy": 0.4}, "trauma_level": 0.1,
    "themes": [1, 2], "expert": "structural", "quality": 0.7,
}  # fmt: skip


def usual(draw: random.Random) -> dict[str, Any]:
    """Return a context of leo's: a prompt of a dozen words, a reply of fifty, all measures."""
    reply = ". ".join(" ".join(draw.choices(WORDS, k=10)).capitalize() for _ in range(5))
    pulse = {name: draw.random() for name in ("novelty", "arousal", "entropy")}
    return {
        "prompt": " ".join(draw.choices(WORDS, k=12)), "reply": reply, "pulse": pulse,
        "math_state": {name: draw.random() for name in STATE}, "trauma_level": 0.93 + 0.07 * draw.random(),
        "themes": [1, 2, 3], "expert": "structural", "quality": draw.random(),
    }  # fmt: skip


def packed(contexts: list[dict[str, Any]]) -> bytes:
    return b"".join(msgpack.packb([2, "dream.context", [context]]) for context in contexts)
