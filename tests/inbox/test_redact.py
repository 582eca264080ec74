"""Redaction: what must go, what must stay."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamd.inbox.redaction.redact import NODE_KEPT, SHARD_KEPT, redact
from dreamd.inbox.redaction.secret_values import REDACTED

DATA = Path(__file__).parents[1] / "data"


def joined(value: Any) -> Any:
    """The value without its ¦ marks, by which no line of the corpus has the shape of a secret."""
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
    (part,) = redact([{"note": value}], kinds)
    return part["note"], kinds


def test_the_corpus_is_large() -> None:
    assert min(len(corpus("positive")), len(corpus("negative"))) >= 150


def test_what_must_go_goes_and_the_rest_stays() -> None:
    for case in corpus("positive"):
        got, kinds = masked(case["given"])
        assert got == case["becomes"], case
        assert kinds[case["kind"]] >= 1, case


def test_what_must_stay_stays() -> None:
    for case in corpus("negative"):
        assert masked(case["given"]) == (case["given"], Counter()), case


def test_once_masked_there_is_nothing_more_to_mask() -> None:
    for case in corpus("positive"):
        assert masked(case["becomes"]) == (case["becomes"], Counter()), case


def test_names_of_parts_are_never_touched() -> None:
    shard = {
        "trace_id": "a@b.org",
        "index": 0,
        "timestamp": 1732234567890,
        "type": "+14155552671",
        "text": "a@b.org",
    }
    kinds: Counter[str] = Counter()
    assert redact([shard], kinds, SHARD_KEPT) == [shard | {"text": "[email]"}]
    node = {
        "id": "a@b.org#N1",
        "trace": {"trace_id": "a@b.org", "order": 1},
        "payload": {"trace_id": "a@b.org", "x": "a@b.org"},
    }
    assert redact([node], kinds, NODE_KEPT) == [node | {"payload": {"trace_id": "a@b.org", "x": "[email]"}}]
    assert kinds == {"email": 2}


def test_what_was_given_is_left_as_it_was() -> None:
    given_part = {"a": [{"password": "x"}, "a@b.org"]}
    assert redact([given_part], Counter()) == [{"a": [{"password": REDACTED}, "[email]"]}]
    assert given_part == {"a": [{"password": "x"}, "a@b.org"]}


# Beginnings and ends of what is looked for, so that they meet in ways nobody thought of.
PIECES = st.sampled_from([
    "a@b.org", "@", "+1 415 555 2671", "1", "0", " ", "-", ".", "(", ")", "sk" + "-", "a" * 20, "ey" + "J",
    "bearer ", "cookie:", "?token=", "&", "=", "://", ":", '"', "'", "password", "\\", "TOKEN=", "é", "٣",
    "-----BEG" + "IN ", "PRIVATE KEY", "-----", "\n",
])  # fmt: skip


@given(st.lists(PIECES, max_size=30).map("".join) | st.text())
def test_whatever_text_it_is_changed_exactly_where_something_was_counted(text: str) -> None:
    got, kinds = masked(text)
    assert (got != text) == (kinds.total() > 0)


@given(st.text("abcdefghijklmnopqrstuvwxyz ,.!?\n"))
def test_prose_is_never_touched(text: str) -> None:
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
    assert redact([{"note": text}], masked) == [{"note": said}]
    assert masked == {"environment": 1}
    assert redact([{"note": said}], Counter()) == [{"note": said}]
