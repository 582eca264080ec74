"""Redaction: texts that must be masked, and texts that must stay."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamd.inbox.redaction.redact import NODE_KEPT, SHARD_KEPT, redact_parts
from dreamd.inbox.redaction.secret_values import REDACTED

DATA = Path(__file__).parents[2] / "data"


def joined(value: Any) -> Any:
    """Return the value without its ¦ marks, which keep the lines of the corpus from looking like secrets."""
    if isinstance(value, str):
        return value.replace("¦", "")
    if isinstance(value, list):
        return [joined(item) for item in value]
    if isinstance(value, dict):
        return {joined(key): joined(item) for key, item in value.items()}
    return value


def corpus(name: str) -> list[dict[str, Any]]:
    return [joined(case) for case in json.loads((DATA / f"redaction_{name}.json").read_text())]


def masked(value: Any) -> tuple[Any, Counter[str]]:
    kinds: Counter[str] = Counter()
    (part,) = redact_parts([{"note": value}], kinds)
    return part["note"], kinds


def test_the_corpus_is_large() -> None:
    assert min(len(corpus("positive")), len(corpus("negative"))) >= 150


def test_masks_exactly_the_secrets_of_the_corpus() -> None:
    for case in corpus("positive"):
        got, kinds = masked(case["given"])
        assert got == case["becomes"], case
        assert kinds[case["kind"]] >= 1, case


def test_changes_no_harmless_text_of_the_corpus() -> None:
    for case in corpus("negative"):
        assert masked(case["given"]) == (case["given"], Counter()), case


def test_masking_twice_changes_nothing() -> None:
    for case in corpus("positive"):
        assert masked(case["becomes"]) == (case["becomes"], Counter()), case


def test_never_masks_the_names_of_parts() -> None:
    shard = {
        "trace_id": "a@b.org",
        "index": 0,
        "timestamp": 1732234567890,
        "type": "+14155552671",
        "text": "a@b.org",
    }
    kinds: Counter[str] = Counter()
    assert redact_parts([shard], kinds, SHARD_KEPT) == [shard | {"text": "[email]"}]
    node = {
        "id": "a@b.org#N1",
        "trace": {"trace_id": "a@b.org", "order": 1},
        "payload": {"trace_id": "a@b.org", "x": "a@b.org"},
    }
    assert redact_parts([node], kinds, NODE_KEPT) == [
        node | {"payload": {"trace_id": "a@b.org", "x": "[email]"}}
    ]
    assert kinds == {"email": 2}


def test_does_not_change_its_argument() -> None:
    given_part = {"a": [{"password": "x"}, "a@b.org"]}
    assert redact_parts([given_part], Counter()) == [{"a": [{"password": REDACTED}, "[email]"]}]
    assert given_part == {"a": [{"password": "x"}, "a@b.org"]}


# Beginnings and ends of the patterns, so that they meet in unforeseen ways.
PIECES = st.sampled_from([
    "a@b.org", "@", "+1 415 555 2671", "1", "0", " ", "-", ".", "(", ")", "sk" + "-", "a" * 20, "ey" + "J",
    "bearer ", "cookie:", "?token=", "&", "=", "://", ":", '"', "'", "password", "\\", "TOKEN=", "é", "٣",
    "-----BEG" + "IN ", "PRIVATE KEY", "-----", "\n",
])  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join) | st.text())
def test_any_text_is_changed_only_if_something_was_counted(text: str) -> None:
    got, kinds = masked(text)
    assert (got != text) == (kinds.total() > 0)


@given(st.text("abcdefghijklmnopqrstuvwxyz ,.!?\n"))
def test_never_changes_prose(text: str) -> None:
    assert masked(text) == (text, Counter())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (r"PASSWORD='a'\''b c' make", "PASSWORD='***REDACTED***' make"),
        ("password=“hunter two” x", "password=“***REDACTED***” x"),
        ("password: «hunter two».", "password: «***REDACTED***»."),
        (
            "a:\n  secret: |\n    line1\n      line2\n\n    line3\n  b: 1",
            "a:\n  secret: |\n    ***REDACTED***\n  b: 1",
        ),
        ("password: >-\n  one two\n  three", "password: >-\n  ***REDACTED***"),
        ("password='it's here' x", "password='***REDACTED***' x"),
    ],
)
def test_a_value_is_masked_whole_however_it_is_quoted(text: str, said: str) -> None:
    masked: Counter[str] = Counter()
    assert redact_parts([{"note": text}], masked) == [{"note": said}]
    assert masked == {"environment": 1}
    assert redact_parts([{"note": said}], Counter()) == [{"note": said}]
