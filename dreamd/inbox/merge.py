"""What is new of a write, against what a trace holds already: pure.

A shard is named by (trace_id, index, timestamp), or, where it lacks one of these, by its content. The same
shard again is a duplicate; another under a name that is taken is kept, and counted as a conflict. Nodes are
named by id: a later one takes the place of the earlier.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from dreamd.inbox.document import Json


@dataclass
class Held:
    """What a trace holds: the contents of its shards, the names taken by them, its nodes by id."""

    trace_id: str
    shards: set[bytes] = field(default_factory=set)
    names: set[Hashable] = field(default_factory=set)
    nodes: dict[str, bytes] = field(default_factory=dict)

    def add(self, document: Json) -> None:
        """Take in a file's shards and nodes; odd ones, which others may have put there, do no harm."""
        for shard in document["shards"]:
            self.shards.add(_content(shard))
            if isinstance(shard, dict):
                self._name(shard)
        for node in document["matada_nodes"]:
            if isinstance(node, dict) and isinstance(node.get("id"), str):
                self.nodes[node["id"]] = _content(node)

    def _name(self, shard: Json) -> bool:
        """Take the shard's name; True where another has it already."""
        name = (shard.get("trace_id") or self.trace_id, shard.get("index"), shard.get("timestamp"))
        if None in name or not all(isinstance(part, str | int | float) for part in name):
            return False
        taken = name in self.names
        self.names.add(name)
        return taken

    def new_shards(self, shards: Iterable[Json]) -> tuple[list[Json], int]:
        """The shards that are not held yet, which now are, and how many of them are conflicts."""
        new: list[Json] = []
        conflicts = 0
        for shard in shards:
            content = _content(shard)
            if content not in self.shards:
                self.shards.add(content)
                conflicts += self._name(shard)
                new.append(shard)
        return new, conflicts

    def new_nodes(self, nodes: Iterable[Json]) -> dict[str, Json]:
        """The nodes, by id, that are not held yet in this very form."""
        new: dict[str, Json] = {}
        for node in nodes:
            content = _content(node)
            if self.nodes.get(node["id"]) != content:
                self.nodes[node["id"]] = content
                new[node["id"]] = node
        return new


def _content(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def put_nodes(nodes: list[Any], new: dict[str, Json]) -> list[Any]:
    """The list with the new nodes in the places of those of the same id, and the others behind."""
    rest = dict(new)
    kept = [rest.pop(node["id"], node) if _has_id(node, new) else node for node in nodes]
    return kept + list(rest.values())


def _has_id(node: Any, new: dict[str, Json]) -> bool:
    return isinstance(node, dict) and isinstance(node.get("id"), str) and node["id"] in new
