"""The document of a dialogue: one shard and one node for each line, in both forms (P5)."""

from jsonschema import Draft202012Validator

import dreamd
from dreamd.inbox.document.node import check_node, meant_form
from dreamd.inbox.document.of_dialogue import dream_document
from tests.inbox.conftest import LINE

ANSWER = {
    "speaker": "friend", "text": "yes", "novelty": 0.5, "arousal": 0.6, "entropy": 0.7, "trauma": 0.8, "at": None,
}  # fmt: skip


def test_p5_a_dialogue_gives_one_shard_and_one_node_for_each_line(validator: Draft202012Validator) -> None:
    """P5: one shard and one valid node a line, also of a line whose time is not known."""
    line = LINE | {"at": 12.3456}
    seed, shards, nodes = dream_document("t", [line, ANSWER], goal="dream", tags=["x"])
    assert seed == {"goal": "dream", "ul_tags": ["x"], "constraints": {"flags": {}}}
    assert shards[0] == {
        "trace_id": "t", "index": 0, "timestamp": 12346, "type": "dream_line", "speaker": "leo", "text": "so",
        "novelty": 0.1, "arousal": 0.2, "entropy": 0.3, "trauma": 0.4,
    }  # fmt: skip
    assert (shards[1]["index"], shards[1]["timestamp"], shards[1]["speaker"]) == (1, 0, "friend")
    assert [one["id"] for one in nodes] == ["t#N1", "t#N2"]
    assert [one["trace"] for one in nodes] == [{"trace_id": "t", "order": 1}, {"trace_id": "t", "order": 2}]
    assert all(validator.is_valid(one) and one["version"] == "1.0.0" for one in nodes)
    assert dream_document("t", [line, ANSWER], goal="dream", tags=["x"]) == (seed, shards, nodes)


def test_p5_a_dialogue_in_the_published_form_is_valid(validator: Draft202012Validator) -> None:
    """P5: one hypothesis a line, which both validators take; what a line lacks is 0."""
    line = {
        "speaker": "leo",
        "text": "so",
        "novelty": 0.1,
        "arousal": 0.9,
        "entropy": 0.25,
        "trauma": None,
        "at": 12.3,
    }
    seed, shards, nodes = dream_document("t", [line, ANSWER], node_form="published")
    assert (seed, shards) == dream_document("t", [line, ANSWER])[:2]
    assert nodes[0] == {
        "version": 1,
        "id": "t#N1",
        "type": "HYPOTHESIS",
        "state": {"confidence": 0.75, "salience": 0.9, "arousal": 0.9, "novelty": 0.1},
        "timestamps": {"created_ts": 12300},
        "provenance": {
            "producer": f"dreamd/{dreamd.__version__}",
            "capabilities": ["memory.inbox.dreams.write"],
            "tenant": "local",
            "trace_id": "t",
            "consent_scopes": ["memory.inbox.dreams.write"],
        },
        "schema_ref": "lukhas://schemas/matada_node_v1.json",
    }
    assert all(validator.is_valid(one) and check_node(one, 0) == one for one in nodes)
    assert all(meant_form(one) == "published" for one in nodes)
