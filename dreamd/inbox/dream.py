"""The inbox document of one dialogue of ours: pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from dreamd.inbox.document import Json

_MEASURES = ("novelty", "arousal", "entropy", "trauma")


def dream_document(
    trace_id: str,
    lines: Sequence[Mapping[str, Any] | object],
    *,
    goal: str = "",
    tags: Sequence[str] = (),
    at: float = 0.0,
) -> tuple[Json, list[Json], list[Json]]:
    """Seed, shards and nodes for the recorded lines of a dialogue: one shard and one node a line.

    A line is a mapping or an object with `speaker`, `text`, the four measures, and `at` (unix seconds; the
    argument of that name where a line has none). The same rows give the same document, so that what a crash
    interrupted can be written again.
    """
    seed: Json = {"goal": goal, "ul_tags": list(tags), "constraints": {"flags": {}}}
    shards = [_shard(trace_id, index, line, at) for index, line in enumerate(lines)]
    return seed, shards, [_node(shard) for shard in shards]


def _shard(trace_id: str, index: int, line: Mapping[str, Any] | object, at: float) -> Json:
    def part(name: str, default: Any = None) -> Any:
        return line.get(name, default) if isinstance(line, Mapping) else getattr(line, name, default)

    return {
        "trace_id": trace_id,
        "index": index,
        "timestamp": round(part("at", at) * 1000),
        "type": "dream_line",
        "speaker": part("speaker"),
        "text": part("text"),
        **{name: part(name) for name in _MEASURES},
    }


def _node(shard: Json) -> Json:
    order = shard["index"] + 1
    return {
        "id": f"{shard['trace_id']}#N{order}",
        "type": shard["type"],
        "version": "1.0.0",
        "lane": "simulation",
        "trace": {"trace_id": shard["trace_id"], "order": order},
        "metadata": {name: shard[name] for name in _MEASURES},
        "payload": {"speaker": shard["speaker"], "text": shard["text"]},
        "provenance": {"producer": "dreamd", "timestamp": shard["timestamp"]},
    }
