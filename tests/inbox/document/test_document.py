"""The checks of values that enter an inbox file."""

import contextlib
import enum
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamd.inbox.document.document import (
    check_own,
    check_trace_id,
    clean_seed,
    clean_shard,
    decode_document,
    empty_document,
    encode_document,
    encoded_size,
    plain_copy,
    plain_list,
)
from dreamd.inbox.errors import DamagedFile, ForeignFile, InboxError, ValidationError

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("good", ["a", "0", "A.b_c-d", "x" * 128, "dream-1700000000-7", "a..b", "t.json"])
def test_accepts_a_trace_id_that_can_be_a_files_name(good: str) -> None:
    assert check_trace_id(good) == good


BAD_TRACE_IDS = [
    "", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "x" * 129, "a\0b", "a\n", "\n", " a", "a b", "-a", "_a", ".a",
    "а", "ｔ", "é", "a\u200b", "a\u2215b", "t~2", "a:b", None, 5, b"a", ["a"], True,
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD_TRACE_IDS)
def test_refuses_a_trace_id_that_cannot_be_a_files_name(bad: Any) -> None:
    with pytest.raises(ValidationError) as wrong:
        check_trace_id(bad)
    assert isinstance(wrong.value, ValueError)
    assert isinstance(wrong.value, InboxError)


@given(JSON)
def test_plain_json_is_copied_as_it_is(value: Any) -> None:
    assert plain_copy(value, "x") == value


class Colour(enum.IntEnum):
    RED = 1


class Speaker(str, enum.Enum):  # noqa: UP042 - what other programs have, since a StrEnum is well anyway
    LEO = "leo"


class Word(str):
    """A subclass of str."""


class Items(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        return iter("a")

    def __len__(self) -> int:
        return 1


def test_relatives_of_json_types_become_those() -> None:
    got = plain_copy({Word("k"): (Colour.RED, Word("w"), MappingProxyType({"a": 1}), Items())}, "x")
    assert got == {"k": [1, "w", {"a": 1}, {"a": 1}]}
    assert [type(part) for part in (*got, *got["k"])] == [str, int, str, dict, dict]


def test_a_member_of_an_enumeration_of_texts_is_its_text_as_in_pythons_json() -> None:
    assert plain_copy({Speaker.LEO: [Speaker.LEO]}, "x") == {"leo": ["leo"]}
    assert f"{check_trace_id(Speaker.LEO)}.json" == "leo.json"


BAD_VALUES = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "a lone surrogate": "a\ud800",
    "a key with a lone surrogate": {"\udfff": 1},
    "an integer of 400 digits": 10**400,
    "a little too large": 2**64,
    "a little too small": -(2**63) - 1,
    "nesting of 33": nested(33),
    "nesting of 5000": nested(5000),
    "bytes": b"x",
    "a set": {1},
    "an object": object(),
    "a key that is a number that is not finite": {math.nan: 2},
    "a key that is a truth value": {True: 2},
    "a number and its text as keys": {1: 2, "1": 3},
    "a key that is nil": {None: 2},
    "a complex number": 1j,
}


@pytest.mark.parametrize("value", BAD_VALUES.values(), ids=BAD_VALUES)
@pytest.mark.parametrize(
    "wrap", [lambda value: value, lambda value: [1, {"k": value}]], ids=["bare", "inside"]
)
def test_refuses_values_that_json_lacks(value: Any, wrap: Any) -> None:
    with pytest.raises(ValidationError):
        clean_shard({"x": wrap(value)}, 0)


def test_a_mapping_that_holds_itself_is_refused() -> None:
    loop: dict[str, Any] = {}
    loop["me"] = loop
    with pytest.raises(ValidationError, match="deeper"):
        plain_copy(loop, "x")


def test_nesting_up_to_the_bound_is_taken() -> None:
    assert plain_copy(nested(31), "x") == nested(31)


@pytest.mark.parametrize("shard", [None, "x", 5, ["a"], [("a", 1)], b"x"])
def test_refuses_a_shard_that_is_no_mapping(shard: Any) -> None:
    with pytest.raises(ValidationError, match=r"shards\[3\]"):
        clean_shard(shard, 3)


@pytest.mark.parametrize(
    "part",
    [
        {"index": "0"},
        {"index": True},
        {"index": [0]},
        {"timestamp": True},
        {"timestamp": {}},
        {"trace_id": 5},
    ],
)
def test_refuses_wrong_types_in_the_name_of_a_shard(part: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(part))):
        clean_shard(part, 0)


@pytest.mark.parametrize(
    "part",
    [
        {"index": 0, "timestamp": 1.5, "trace_id": "t"},
        {"timestamp": "2025"},
        {"index": 0.5},
        {"index": None},
        {},
    ],
)
def test_accepts_every_form_of_a_shard(part: dict[str, Any]) -> None:
    assert clean_shard(part, 0) == part


def test_refuses_ten_megabytes_in_one_shard() -> None:
    with pytest.raises(ValidationError, match="bytes"):
        clean_shard({"text": "x" * 10_000_000}, 0)


def test_a_shard_is_weighed_as_json_and_as_messagepack() -> None:
    """A float of three characters takes nine bytes on the wire. An accepted document fits into one answer."""
    shard = {"n": [0.5] * 100_000}
    assert len(json.dumps(shard, separators=(",", ":"))) < 768 << 10 < encoded_size(shard)
    with pytest.raises(ValidationError, match="900008 bytes, at most 786432"):
        clean_shard(shard, 0)
    assert clean_shard({"text": "x" * ((768 << 10) - 11)}, 0)
    with pytest.raises(ValidationError, match="786433 bytes"):
        clean_shard({"text": "x" * ((768 << 10) - 10)}, 0)


def test_a_key_that_is_a_number_becomes_its_text_as_in_pythons_json() -> None:
    shard = {1: {-2: 3}, 0.5: [{2**40: None}]}
    assert clean_shard(shard, 0) == json.loads(json.dumps(shard))
    with pytest.raises(ValidationError, match="64 bits"):
        clean_shard({2**70: 1}, 0)


def test_p14_a_refusal_quotes_no_value_and_no_key() -> None:
    """P14: no value and no key of the caller's is in a message."""
    for bad in (
        {"hunter2": math.nan},
        {"hunter2": "hunter2\ud800"},
        {"index": "hunter2"},
        {"a": {"hunter2": {1}}},
    ):
        with pytest.raises(ValidationError) as wrong:
            clean_shard(bad, 0)
        assert "hunter2" not in str(wrong.value)


def test_keeps_only_the_documented_keys_of_a_seed() -> None:
    seed = {
        "goal": "g",
        "context": {"tenant": "x"},
        "ul_tags": ["a"],
        "constraints": {"flags": {"f": True}, "budgets": 5},
    }
    assert clean_seed(seed) == {"goal": "g", "ul_tags": ["a"], "constraints": {"flags": {"f": True}}}


def test_a_seed_has_at_most_twenty_tags() -> None:
    assert clean_seed({"ul_tags": [str(number) for number in range(50)]})["ul_tags"] == [
        str(number) for number in range(20)
    ]


@pytest.mark.parametrize(
    "seed",
    [
        {},
        None,
        {"goal": None, "ul_tags": None, "constraints": None},
        {"constraints": {}},
        {"constraints": {"flags": None}},
    ],
)
def test_missing_keys_of_a_seed_are_empty(seed: Any) -> None:
    assert clean_seed(seed) == {"goal": "", "ul_tags": [], "constraints": {"flags": {}}}


@pytest.mark.parametrize(
    "seed",
    [
        "goal", [], 5, {"goal": "a\ud800"}, {"goal": 10**5000}, {"ul_tags": "ab"}, {"ul_tags": {"a": 1}},
        {"constraints": "x"}, {"constraints": ["x"]}, {"constraints": {"flags": {"f": math.nan}}},
        {"goal": "x" * (64 << 10)}, {"constraints": {"flags": [{1}]}},
    ],
)  # fmt: skip
def test_refuses_a_seed_of_wrong_types(seed: Any) -> None:
    with pytest.raises(ValidationError, match="seed"):
        clean_seed(seed)


@pytest.mark.parametrize("flags", [["no_pii"], "no_pii", True, 5, [{"a": [1]}], {"f": 1, 2: 3}])
def test_flags_may_be_any_json(flags: Any) -> None:
    kept = clean_seed({"constraints": {"flags": flags}})["constraints"]["flags"]
    assert kept == json.loads(json.dumps(flags))


def test_goals_and_tags_that_are_no_text_are_kept_as_text() -> None:
    seed = clean_seed({"goal": 5, "ul_tags": (1, None, 0.5, True, ["a"], Path("x"))})
    assert (seed["goal"], seed["ul_tags"]) == ("5", ["1", "None", "0.5", "True", "['a']", "x"])


def test_a_list_may_be_a_tuple_or_absent() -> None:
    assert plain_list(None, "x") == []
    assert plain_list((1, 2), "x") == [1, 2]
    with pytest.raises(ValidationError, match="x is a dict"):
        plain_list({"a": 1}, "x")


def test_a_document_comes_back_as_it_was() -> None:
    document = empty_document("t") | {"shards": [{"text": "é 🌙 \u2028"}], "more": 1}
    assert decode_document(encode_document(document)) == json.loads(encode_document(document)) == document


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\0" * 64, b"{", b'{"shards": [', b"[]", b"5", b"{}", b'{"shards": {}}',
        b'{"shards": [], "matada_nodes": 5}',
        b'{"shards": [NaN]}', b'{"shards": ["\xff"]}', b'{"shards": ' + b"[" * 9000, b'{"shards": []} x',
    ],
)  # fmt: skip
def test_distinguishes_a_damaged_file_from_a_whole_one(data: bytes) -> None:
    with pytest.raises(DamagedFile):
        decode_document(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'\xef\xbb\xbf{"shards": []}', "byte order mark"),
        ('{"shards": []}'.encode("utf-16"), "byte order mark"),
        (b'{"shards": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deep"),
        (b'{"shards": [' + b"9" * 5000 + b"]}", "a number that is too long"),
    ],
)
def test_distinguishes_a_foreign_file_from_damage(data: bytes, why: str) -> None:
    with pytest.raises(ForeignFile, match=why):
        decode_document(data)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"trace_id": "other"}, "trace_id is not the one of its name"),
        ({"trace_id": None}, "trace_id"),
        ({"version": 2}, "version"),
        ({"version": "1"}, "version"),
        ({"version": None}, "version"),
    ],
)
def test_a_file_of_another_trace_or_version_is_foreign(more: dict[str, Any], why: str) -> None:
    check_own({}, "t")
    check_own(empty_document("t"), "t")
    with pytest.raises(ForeignFile, match=why):
        check_own(empty_document("t") | more, "t")


def test_an_odd_shard_and_unknown_keys_are_kept() -> None:
    assert decode_document(b'{"shards": [5, {"index": "0"}, null], "x": 1}') == {
        "shards": [5, {"index": "0"}, None],
        "matada_nodes": [],
        "x": 1,
    }


@given(st.binary(max_size=200))
def test_any_bytes_raise_only_the_documented_errors(data: bytes) -> None:
    with contextlib.suppress(DamagedFile):
        assert isinstance(decode_document(data)["shards"], list)
