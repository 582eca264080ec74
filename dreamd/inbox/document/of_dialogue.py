"""The inbox document of a dialogue of this daemon. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from dreamclient.messages import SHOWN_MEASURES

import dreamd
from dreamd.inbox.capability import WRITE_SCOPE
from dreamd.inbox.document.document import SCHEMA_REF, Json
from dreamd.inbox.document.node import NodeForm


def dream_document(
    trace_id: str,
    lines: Sequence[Mapping[str, Any]],
    *,
    goal: str = "",
    tags: Sequence[str] = (),
    node_form: NodeForm = "simulation",
) -> tuple[Json, list[Json], list[Json]]:
    """Return seed, shards and nodes for the recorded lines of a dialogue: one shard and one node for each line.

    A line has `speaker`, `text`, the four measures, and `at` (unix seconds or None). Equal lines give equal documents,
    so a write that a crash interrupted can be repeated.
    """
    seed: Json = {"goal": goal, "ul_tags": list(tags), "constraints": {"flags": {}}}
    shards = [_make_shard(trace_id, index, line) for index, line in enumerate(lines)]
    make_node = _published_node if node_form == "published" else _simulation_node
    return seed, shards, [make_node(shard, f"{trace_id}#N{shard['index'] + 1}") for shard in shards]


def _make_shard(trace_id: str, index: int, line: Mapping[str, Any]) -> Json:
    return {
        "trace_id": trace_id,
        "index": index,
        "timestamp": round((line["at"] or 0.0) * 1000),
        "type": "dream_line",
        "speaker": line["speaker"],
        "text": line["text"],
        **{name: line[name] for name in SHOWN_MEASURES},
    }


def _simulation_node(shard: Json, node_id: str) -> Json:
    return {
        "id": node_id,
        "type": shard["type"],
        "version": "1.0.0",
        "lane": "simulation",
        "trace": {"trace_id": shard["trace_id"], "order": shard["index"] + 1},
        "metadata": {name: shard[name] for name in SHOWN_MEASURES},
        "payload": {"speaker": shard["speaker"], "text": shard["text"]},
        "provenance": {"producer": "dreamd", "timestamp": shard["timestamp"]},
    }


def _published_node(shard: Json, node_id: str) -> Json:
    """Return a node of the type hypothesis. Its confidence falls with the line's entropy, and its salience is the
    line's strongest measure."""
    measures = {name: min(1.0, max(0.0, shard[name] or 0.0)) for name in SHOWN_MEASURES}
    return {
        "version": 1,
        "id": node_id,
        "type": "HYPOTHESIS",
        "state": {
            "confidence": 1.0 - measures["entropy"],
            "salience": max(measures["novelty"], measures["arousal"], measures["trauma"]),
            "arousal": measures["arousal"],
            "novelty": measures["novelty"],
        },
        "timestamps": {"created_ts": shard["timestamp"]},
        "provenance": {
            "producer": f"dreamd/{dreamd.__version__}",
            "capabilities": [WRITE_SCOPE],
            "tenant": "local",
            "trace_id": shard["trace_id"],
            "consent_scopes": [WRITE_SCOPE],
        },
        "schema_ref": SCHEMA_REF,
    }
