"""Texts and values that redaction masks: the shape stays, nothing changes uncounted, and a secret never comes back."""

from collections import Counter
from typing import Any

import msgspec

from dreamd.inbox.redaction.redact import NODE_KEPT, redact_parts


def redact_text(data: bytes) -> None:
    """Mask a text."""
    text = data.decode(errors="replace")
    counted: Counter[str] = Counter()
    [part] = redact_parts([{"text": text}], counted)
    assert (part["text"] != text) == bool(counted.total()), "changed, and not counted"
    assert isinstance(part["text"], str)


def redact_value(data: bytes) -> None:
    """Mask a value of any shape."""
    try:
        value = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(value, dict):
        value = {"text": value}
    counted: Counter[str] = Counter()
    [part] = redact_parts([value], counted, NODE_KEPT)
    assert _shape(part) == _shape(value), "the shape has changed"
    assert all(part[key] == value[key] for key in NODE_KEPT & value.keys()), "a name of the part was masked"
    assert (part != value) == bool(counted.total()), "changed, and not counted"


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    return [_shape(item) for item in value] if isinstance(value, list) else None
