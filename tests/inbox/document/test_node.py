"""The MATADA node in both forms: one definition each, two validators that agree."""

import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from dreamd.inbox import Inbox
from dreamd.inbox.document.node import check_node, meant_form, node_schema
from dreamd.inbox.document.of_dialogue import dream_document
from dreamd.inbox.errors import ValidationError

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


def lacking(name: str, of: dict[str, Any] = NODE) -> dict[str, Any]:
    return {key: value for key, value in of.items() if key != name}


PUBLISHED: dict[str, Any] = {
    "version": 1,
    "id": "t#N1",
    "type": "HYPOTHESIS",
    "state": {"confidence": 0.5, "salience": 1},
    "timestamps": {"created_ts": 1_700_000_000_000},
    "provenance": {
        "producer": "sim/2",
        "capabilities": ["x"],
        "tenant": "local",
        "trace_id": "t",
        "consent_scopes": [],
    },
}


def published(**parts: Any) -> dict[str, Any]:
    return PUBLISHED | parts


def part(name: str, **parts: Any) -> dict[str, Any]:
    """Return a published node with these in the part of that name."""
    return PUBLISHED | {name: PUBLISHED[name] | parts}


TYPES = [
    "SENSORY_IMG", "SENSORY_AUD", "SENSORY_VID", "SENSORY_TOUCH", "EMOTION", "INTENT", "DECISION", "CONTEXT", "MEMORY",
    "REFLECTION", "CAUSAL", "TEMPORAL", "AWARENESS", "HYPOTHESIS", "REPLAY", "DRM",
]  # fmt: skip
LINK = {"target_node_id": "t#N2", "link_type": "causal", "direction": "unidirectional"}
REFS = [f"lukhas://schemas/{name}_node_v1.json" for name in ("matada", "matriz")]
ALL_PARTS = published(
    labels=["colony:role=planner@1"],
    links=[LINK, LINK | {"weight": 0.5, "explanation": "so"}],
    evolves_to=["t#N3"],
    triggers=[{"event_type": "x", "timestamp": 5, "trigger_node_id": "y", "effect": "z"}],
    reflections=[
        {"reflection_type": "regret", "timestamp": 5, "old_state": PUBLISHED["state"], "cause": "c"}
    ],
    embeddings=[{"space": "s", "vector": [0, 0.5], "dim": 2, "norm": 0.5}],
    evidence=[{"kind": "trace", "uri": "u", "hash": "h"}, {}],
    schema_ref=REFS[0],
)

GOOD = [
    NODE,
    *(node(lane=lane) for lane in ("simulation", "reflex", "deliberation", "adapter")),
    node(unknown={"kept": [1, None]}),
    node(trace={"trace_id": "t", "order": 2**40, "parent": "p"}),
    node(payload={"deep": {"er": [1.5, "x", True]}}),
    node(trace={"trace_id": "t", "order": 2.0}),
    node(
        state=1, timestamps=2, labels=3, links=4, evidence=5, schema_ref=6, triggers=7
    ),  # keys it does not know
    *(published(type=one) for one in TYPES),
    *(published(schema_ref=ref) for ref in REFS),
    published(version=1.0, timestamps={"created_ts": 1.7e12}),
    part(
        "state", arousal=0, novelty=1, valence=-1, urgency=0.5, shock_factor=0, risk=0, utility=0, mood="calm"
    ),
    part("timestamps", updated_ts=5, observed_ts=6),
    part("provenance", subject_pseudonym="s", model_signature="m", policy_version="p"),
    part("provenance", colony={"id": "c", "role": "r", "iteration": 0}),
    ALL_PARTS,
]
BAD = [
    *(lacking(name, PUBLISHED) for name in PUBLISHED),
    *(
        published(**{name: wrong})
        for name in ALL_PARTS
        for wrong in (None, 5, "", {})
        if (name, wrong) != ("links", "")
    ),
    *(
        part("state", **{name: wrong})
        for name in ("confidence", "salience", "arousal", "novelty")
        for wrong in (-0.1, 1.1)
    ),
    part("state", valence=-1.1),
    part("state", arousal=None),
    *(part(name, unknown=1) for name in ("timestamps", "provenance")),
    *(
        published(**{name: lacking(key, PUBLISHED[name])})
        for name in ("timestamps", "provenance")
        for key in PUBLISHED[name]
    ),
    *(published(state=lacking(key, PUBLISHED["state"])) for key in PUBLISHED["state"]),
    part("provenance", capabilities=[]),
    part("provenance", consent_scopes=[5]),
    part("provenance", colony={"id": "c"}),
    published(version=2),
    published(version=True),
    published(version="1"),
    published(id="ab"),
    published(id="x" * 129),
    published(type="hypothesis"),
    published(lane="simulation"),
    published(labels=["x"] * 13),
    published(labels=["x" * 65]),
    published(links=[LINK | {"link_type": "casual"}]),
    published(links=[LINK | {"more": 1}]),
    published(triggers=[{"event_type": "x"}]),
    published(reflections=[{"reflection_type": "joy", "timestamp": 5}]),
    published(embeddings=[{"space": "s", "vector": ["x"]}]),
    published(evidence=[{"kind": "rumour"}]),
    published(evolves_to=[1]),
    published(schema_ref="lukhas://schemas/other.json"),
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


def test_shipped_schema_is_the_generated_one() -> None:
    """If not, run: dreamctl inbox schema > dreamd/inbox/matada_node_v1.json"""
    shipped = resources.files("dreamd.inbox").joinpath("matada_node_v1.json").read_text()
    assert json.loads(shipped) == node_schema()


@pytest.mark.parametrize("good", GOOD)
def test_a_good_node_is_good_to_both_and_unchanged(good: Any, validator: Draft202012Validator) -> None:
    assert check_node(good, 0) == good
    assert validator.is_valid(good)


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_node_is_bad_to_both(bad: Any, validator: Draft202012Validator) -> None:
    with pytest.raises(ValidationError, match=r"^matada_nodes\[7\]"):
        check_node(bad, 7)
    assert not validator.is_valid(bad)


def examples() -> list[dict[str, Any]]:
    page = (Path(__file__).parents[3] / "docs/guides/inbox.md").read_text()
    return [json.loads(block.split("```")[0]) for block in page.split("```json\n")[1:]]


def test_the_examples_of_the_page_are_what_the_daemon_writes(tmp_path: Path) -> None:
    """The page shows a file and a node of each form, all made of the line that it shows."""
    file, simulation, general = examples()
    [shard] = file["shards"]
    line = shard | {"at": shard["timestamp"] / 1000}
    for form, shown in (("simulation", simulation), ("published", general)):
        document = dream_document(shard["trace_id"], [line], goal="dream", node_form=form)  # type: ignore[arg-type]
        assert document == (file["seed"], [shard], [shown])
        assert check_node(shown, 0) == shown
        assert meant_form(shown) == form
    assert file["matada_nodes"] == [simulation]
    inbox = Inbox(tmp_path)
    inbox.write(file["seed"], file["shards"], [simulation, general], trace_id=file["trace_id"])
    assert inbox.read(file["trace_id"])["matada_nodes"] == [general]  # by id, whichever form
    assert inbox.verify()[0]["problems"] == []


@pytest.mark.parametrize("value", [math.nan, "\ud800", 10**400, b"x"])
def test_refuses_a_node_that_is_no_plain_json(value: Any) -> None:
    with pytest.raises(ValidationError):
        check_node(node(payload={"x": value}), 0)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (
            node(lane="hunter2"),
            "simulation form: Expected one of simulation, reflex, deliberation, adapter - at `$.lane`",
        ),
        (
            node(trace={"trace_id": "t", "order": 0}),
            "simulation form: Expected `int` >= 1 - at `$.trace.order`",
        ),
        (node(version=1), "simulation form: Expected `str`, got `int` - at `$.version`"),
        ({}, "simulation form: Object missing required field `id`"),
        (published(version="1"), "published form: Expected `int`, got `str` - at `$.version`"),
        (published(version=3), "published form: Expected one of 1 - at `$.version`"),
        (published(hunter2=1), "published form: Expected no other keys than those of the form"),
        (
            part("timestamps", hunter2=1),
            "published form: Expected no other keys than those of the form - at `$.timestamps`",
        ),
        (
            published(type="hunter2 - at `$.lane`"),
            f"published form: Expected one of {', '.join(TYPES)} - at `$.type`",
        ),
        (part("state", salience=7), "published form: Expected `float` <= 1.0 - at `$.state.salience`"),
        (
            published(links=[LINK | {"direction": "hunter2"}]),
            "published form: Expected one of bidirectional, unidirectional - at `$.links[0].direction`",
        ),
        (lacking("timestamps", PUBLISHED), "published form: Object missing required field `timestamps`"),
        ({"version": 1}, "published form: Object missing required field `id`"),
    ],
)
def test_p14_a_refusal_names_the_form_that_was_meant_and_the_field_and_no_value(bad: Any, why: str) -> None:
    """P14: only the place of an unknown word or key is named."""
    with pytest.raises(ValidationError) as wrong:
        check_node(bad, 0)
    assert str(wrong.value) == f"matada_nodes[0], as a node of the {why}"
