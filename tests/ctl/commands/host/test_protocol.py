"""The lines of a host: the parser and docs/reference/host.schema.json agree on what is right and what is not."""

import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from dreamclient.messages import Method
from hypothesis import given
from hypothesis import strategies as some
from jsonschema import Draft202012Validator

from dreamd.ctl.commands.host.protocol import (
    Answer,
    BadLine,
    Hello,
    Report,
    answer_value,
    call_line,
    error_kind,
    parse_line,
)
from dreamd.dream.model import TEXT_CHARS

ROOT = Path(__file__).parents[4]
SCHEMA = json.loads((ROOT / "docs/reference/host.schema.json").read_text())
HELLO = {"name": "awk", "provides": ["generate", "observe"]}
META = {
    "kind": "dream", "dialog": 1, "trace_id": "dream-1", "turn": 1, "speaker": "leo", "role": "leo_dream",
    "expert": "structural", "max_tokens": 50, "candidate": 1,
}  # fmt: skip


@cache
def validator(side: str) -> Draft202012Validator:
    Draft202012Validator.check_schema(SCHEMA)
    return Draft202012Validator({**SCHEMA, "$ref": f"#/$defs/{side}", "oneOf": [{}]})


RIGHT: list[dict[str, Any]] = [
    {"hello": HELLO},
    {"hello": {**HELLO, "origin": ["I am small."], "field": "a1", "concurrent": True, "later": 1}},
    {"hello": {**HELLO, "provides": ["generate", "observe", "recall", "unobserve"], "field": None}},
    {"context": {}},
    {
        "context": {
            "prompt": "a",
            "reply": "b",
            "trauma_level": 0.9,
            "quality": None,
            "themes": [1],
            "expert": "x",
        }
    },
    {"context": {"pulse": {"novelty": 0.5, "arousal": None}, "math_state": {"rings": 3}}},
    {"id": 1},
    {"id": 1, "text": "x" * TEXT_CHARS, "novelty": 0.1, "quality": 2},
    {"id": 1, "error": "ValueError: no"},
    {"id": 1, "taken": True, "added": {"any": [1, {}]}},
    {"id": 1, "texts": ["a", "b"]},
    {"id": 1, "undone": False, "missing": 2},
]
WRONG: list[dict[str, Any]] = [
    {},
    {"later": 1},
    {"hello": HELLO, "id": 1},
    {"hello": {"name": "awk"}},
    {"hello": {**HELLO, "name": ""}},
    {"hello": {**HELLO, "name": "x" * 65}},
    {"hello": {**HELLO, "provides": ["dream"]}},
    {"hello": {**HELLO, "origin": "I am small."}},
    {"hello": {**HELLO, "field": ""}},
    {"hello": {**HELLO, "concurrent": 1}},
    {"hello": []},
    {"context": []},
    {"context": {"prompt": None}},
    {"context": {"trauma_level": "0.9"}},
    {"context": {"themes": [0.5]}},
    {"context": {"pulse": {"novelty": True}}},
    {"id": "1"},
    {"id": True},
    {"id": 1, "text": "x" * (TEXT_CHARS + 1)},
    {"id": 1, "text": 5},
    {"id": 1, "novelty": "high"},
    {"id": 1, "taken": "yes"},
    {"id": 1, "texts": "a"},
    {"id": 1, "missing": -1},
    {"id": 1, "error": 404},
]


@pytest.mark.parametrize("line", RIGHT, ids=str)
def test_takes_what_the_schema_takes(line: dict[str, Any]) -> None:
    assert list(validator("fromHost").iter_errors(line)) == []
    kinds = {"hello": Hello, "context": Report, "id": Answer}
    (kind,) = kinds.keys() & line.keys()
    assert isinstance(parse_line(json.dumps(line).encode()), kinds[kind])


@pytest.mark.parametrize("line", WRONG, ids=str)
def test_refuses_what_the_schema_refuses(line: dict[str, Any]) -> None:
    assert list(validator("fromHost").iter_errors(line)) != []
    with pytest.raises(BadLine):
        parse_line(json.dumps(line).encode())


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"the river\n", "it is no JSON object: stdout is for"),
        (b"\n", "it is no JSON object: stdout is for"),
        (b'{"id": 1,\n', "it is not valid JSON: Input data was truncated"),
        (b'{"id": 1, "text": "\xff"}\n', "it is not valid JSON: it is not UTF-8"),
        (b'{"a":' * 100_000, "it is not valid JSON: it is not UTF-8, or too deep"),
        (b'{"id": 1, "text": NaN}\n', "it is not valid JSON"),
        (b'{"id": 1, "text": 5}', "text: expected str | null, got int"),
        (b'{"hello": {"name": "a"}}', "hello: object missing required field provides"),
        (
            b'{"context": {"pulse": {"novelty": "high"}}}',
            "context.pulse.novelty: expected float | null, got str",
        ),
        (b"{}", "expected one of the keys hello, context and id, got none"),
        (b'{"id": 1, "context": {}}', "expected one of the keys hello, context and id, got context and id"),
    ],
)
def test_says_what_is_wrong_with_a_line(data: bytes, said: str) -> None:
    with pytest.raises(BadLine) as refused:
        parse_line(data)
    assert str(refused.value).startswith(said)


def test_a_wrong_answer_names_its_call() -> None:
    with pytest.raises(BadLine) as refused:
        parse_line(b'{"id": 7, "text": 5}')
    assert refused.value.call == 7


@given(some.binary(max_size=60) | some.text(max_size=40).map(lambda text: b'{"id":' + text.encode()))
def test_any_bytes_are_a_line_or_a_bad_line(data: bytes) -> None:
    with suppress(BadLine):
        parse_line(data)


@pytest.mark.parametrize("line", [each for each in WRONG if "text" in each], ids=str)
def test_a_message_holds_no_text_of_the_host(line: dict[str, Any]) -> None:
    with pytest.raises(BadLine) as refused:
        parse_line(json.dumps(line).encode())
    assert "xxx" not in str(refused.value)


@pytest.mark.parametrize(
    ("method", "values", "meta"),
    [
        (Method.GENERATE, ("who?", 0.8, 0.5), META),
        (Method.OBSERVE, ("I am.",), META),
        (Method.RECALL, ("river", 3), {}),
        (Method.UNOBSERVE, ({"words": 3}, ), {"turn": 1}),
        (Method.UNOBSERVE, (None, ), {"turn": 1}),
    ],
)  # fmt: skip
def test_each_call_is_as_the_schema_says(method: str, values: tuple[Any, ...], meta: dict[str, Any]) -> None:
    line = call_line(7, method, values, meta)
    assert line.endswith(b"\n")
    assert list(validator("toHost").iter_errors(json.loads(line))) == []


def test_the_schema_refuses_another_call() -> None:
    assert list(validator("toHost").iter_errors({"id": 7, "dream": {}})) != []
    assert list(validator("toHost").iter_errors({"id": 7, "observe": {}})) != []


@given(some.text())
def test_a_key_with_its_colon_stands_in_no_text(text: str) -> None:
    """So that a host in C or awk may look for `"turn":` without a parser."""
    line = call_line(7, Method.OBSERVE, (f'{text}"turn":9,"id":9', ), META).decode()  # fmt: skip
    assert line.count('"turn":') == line.count('"id":') == 1
    assert line.count("\n") == 1
    assert json.loads(line)["observe"]["text"].startswith(text)


def test_the_value_of_an_answer_is_what_the_hook_returns() -> None:
    answer = Answer(id=1, text="a", novelty=3.0, taken=True, added=[1], texts=["b"], missing=2)
    assert answer_value(Method.GENERATE, answer) == {"text": "a", "novelty": 1.0}
    assert answer_value(Method.OBSERVE, answer) == {"novelty": 1.0, "taken": True, "added": [1]}
    assert answer_value(Method.RECALL, answer, 1) == ["b"]
    assert answer_value(Method.UNOBSERVE, answer) == {"undone": True, "missing": 2}


def test_an_answer_that_lacks_the_value_of_its_hook_is_a_bad_line() -> None:
    with pytest.raises(BadLine, match="text: it is missing"):
        answer_value(Method.GENERATE, Answer(id=1))
    with pytest.raises(BadLine, match="texts: expected a list of at most 1 texts"):
        answer_value(Method.RECALL, Answer(id=1, texts=["a", "b"]), 1)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("ValueError", "ValueError"),
        ("java.io.IOException: the river", "java.io.IOException"),
        ("the river", "HostError"),
        ("", "HostError"),
        ("x" * 90 + "Error", "HostError"),
    ],
)
def test_of_an_error_only_the_kind_is_passed_on(error: str, kind: str) -> None:
    assert error_kind(error) == kind
