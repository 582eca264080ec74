"""The MATADA node: one definition, two validators that agree."""

import json
import math
from importlib import resources
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dreamd.inbox.dream import dream_document
from dreamd.inbox.errors import ValidationError
from dreamd.inbox.node import check_node, node_schema

NODE: dict[str, Any] = {
    "id": "t#N1",
    "type": "dream_line",
    "version": "1.0.0",
    "lane": "simulation",
    "trace": {"trace_id": "t", "order": 1},
    "metadata": {},
    "payload": {"text": "so"},
    "provenance": {"producer": "x"},
}


def node(**parts: Any) -> dict[str, Any]:
    return NODE | parts


def lacking(name: str) -> dict[str, Any]:
    return {key: value for key, value in NODE.items() if key != name}


GOOD = [
    NODE,
    *(node(lane=lane) for lane in ("simulation", "reflex", "deliberation", "adapter")),
    node(unknown={"kept": [1, None]}),
    node(trace={"trace_id": "t", "order": 2**40, "parent": "p"}),
    node(payload={"deep": {"er": [1.5, "x", True]}}),
]
BAD = [
    *(lacking(name) for name in NODE),
    *(node(**{name: None}) for name in NODE),
    *(node(**{name: 5}) for name in NODE),
    *(node(**{name: ""}) for name in ("id", "type", "version", "lane")),
    *(node(**{name: []}) for name in ("metadata", "payload", "provenance", "trace")),
    node(lane="Simulation"),
    node(lane="dreaming"),
    *(node(trace={"trace_id": "t", "order": order}) for order in (0, -1, "1", 1.5, None, True)),
    node(trace={"trace_id": "", "order": 1}),
    node(trace={"order": 1}),
    node(trace={"trace_id": "t"}),
    5,
    None,
    [],
    "node",
]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(node_schema())
    return Draft202012Validator(node_schema())


def test_the_schema_that_is_shipped_is_the_one_generated() -> None:
    """Else: dreamctl inbox schema > dreamd/inbox/matada_node_v1.json"""
    shipped = resources.files("dreamd.inbox").joinpath("matada_node_v1.json").read_text()
    assert json.loads(shipped) == node_schema()


@pytest.mark.parametrize("good", GOOD)
def test_a_good_node_is_good_to_both_and_unchanged(good: Any, validator: Draft202012Validator) -> None:
    assert check_node(good, 0) == good
    assert validator.is_valid(good)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_node_is_bad_to_both(bad: Any, validator: Draft202012Validator) -> None:
    with pytest.raises(ValidationError, match=r"matada_nodes\[7\]"):
        check_node(bad, 7)
    assert not validator.is_valid(bad)


@pytest.mark.parametrize("value", [math.nan, "\ud800", 10**400, b"x"])
def test_a_node_is_plain_json(value: Any) -> None:
    with pytest.raises(ValidationError):
        check_node(node(payload={"x": value}), 0)


def test_p14_a_refusal_names_the_field_and_no_value() -> None:
    """P14: also of an unknown lane only the place is named."""
    with pytest.raises(ValidationError) as wrong:
        check_node(node(lane="hunter2"), 0)
    assert str(wrong.value) == (
        "matada_nodes[0]: Expected one of simulation, reflex, deliberation, adapter - at `$.lane`"
    )
    with pytest.raises(ValidationError, match=r"\$\.trace\.order"):
        check_node(node(trace={"trace_id": "t", "order": 0}), 0)


class Row:
    speaker, text, novelty, arousal, entropy, trauma = "friend", "yes", 0.5, 0.6, 0.7, 0.8


def test_p5_the_document_of_a_dialogue(validator: Draft202012Validator) -> None:
    """P5: one shard and one valid node a line, from mappings and from objects."""
    line = {
        "speaker": "leo",
        "text": "so",
        "novelty": 0.1,
        "arousal": 0.2,
        "entropy": 0.3,
        "trauma": 0.4,
        "at": 12.3456,
    }
    seed, shards, nodes = dream_document("t", [line, Row()], goal="dream", tags=["x"], at=99.0)
    assert seed == {"goal": "dream", "ul_tags": ["x"], "constraints": {"flags": {}}}
    assert shards[0] == {
        "trace_id": "t", "index": 0, "timestamp": 12346, "type": "dream_line", "speaker": "leo", "text": "so",
        "novelty": 0.1, "arousal": 0.2, "entropy": 0.3, "trauma": 0.4,
    }  # fmt: skip
    assert (shards[1]["index"], shards[1]["timestamp"], shards[1]["speaker"]) == (1, 99000, "friend")
    assert [one["id"] for one in nodes] == ["t#N1", "t#N2"]
    assert [one["trace"] for one in nodes] == [{"trace_id": "t", "order": 1}, {"trace_id": "t", "order": 2}]
    assert all(validator.is_valid(one) and one["version"] == "1.0.0" for one in nodes)
    assert dream_document("t", [line, Row()], goal="dream", tags=["x"], at=99.0) == (seed, shards, nodes)
