"""What is new of a write, against what a trace holds already: pure.

A shard is named by (trace_id, index, timestamp), or, if it lacks one of these, by its content. The same shard again is
a duplicate; another under a name that is taken is kept, and counted as a conflict. Nodes are named by id: a later one
takes the place of the earlier.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import msgspec

from dreamd.inbox.document import Json

DIGEST_BYTES = 16  # two different shards of one trace never share 128 bits


@dataclass
class Held:
    """What a trace holds: the contents of its shards, the names taken by them, its nodes by id.

    That is of the file that is written to; `earlier` says whether an earlier part holds what begins with these digests.
    """

    trace_id: str
    earlier: Callable[[bytes], bool] = frozenset[bytes]().__contains__
    shards: set[bytes] = field(default_factory=set)
    names: set[Hashable] = field(default_factory=set)
    nodes: dict[str, bytes] = field(default_factory=dict)

    def add(self, document: Json) -> None:
        """Take in a file's shards and nodes; odd ones, which other programs may have put there, do no harm."""
        for shard in document["shards"]:
            self.shards.add(_content(shard))
            self.names.add(_name(shard, self.trace_id))
        for node in document["matada_nodes"]:
            if isinstance(node, dict) and isinstance(node.get("id"), str):
                self.nodes[node["id"]] = _content(node)

    def new_shards(self, shards: Iterable[Json]) -> tuple[list[Json], int]:
        """Return the shards that are not held yet, which now are, and how many of them are conflicts."""
        new: list[Json] = []
        conflicts = 0
        for shard in shards:
            content, name = _content(shard), _name(shard, self.trace_id)
            if content in self.shards or self.earlier(_shard_keys(shard, self.trace_id)):
                continue
            conflicts += name is not None and (name in self.names or self.earlier(_name_digest(name)))
            self.shards.add(content)
            self.names.add(name)
            new.append(shard)
        return new, conflicts

    def new_nodes(self, nodes: Iterable[Json]) -> dict[str, Json]:
        """Return the nodes, by id, whose latest content is another."""
        new: dict[str, Json] = {}
        for node in nodes:
            name, content = node["id"], _content(node)
            held = (
                self.nodes[name] == content
                if name in self.nodes
                else self.earlier(b"".join(_node_keys(node)))
            )
            if not held:
                self.nodes[name] = content
                new[name] = node
        return new


def keys_of(document: Json, trace_id: str) -> tuple[set[bytes], dict[bytes, bytes]]:
    """Return of a file each shard's digests, of its name and its content, and each node's content by its id."""
    nodes = (
        node
        for node in document["matada_nodes"]
        if isinstance(node, dict) and isinstance(node.get("id"), str)
    )
    return {_shard_keys(shard, trace_id) for shard in document["shards"]}, dict(map(_node_keys, nodes))


def _shard_keys(shard: Any, trace_id: str) -> bytes:
    name = _name(shard, trace_id)
    return (_digest(shard) if name is None else _name_digest(name)) + _digest(shard)


def _node_keys(node: Json) -> tuple[bytes, bytes]:
    return _digest([node["id"]]), _digest(node)


_NAMED_BY = (str, int, float)


def _name(shard: Any, trace_id: str) -> tuple[Any, ...] | None:
    """Return the name of a shard, or None if it goes by its content."""
    if not isinstance(shard, dict):
        return None
    of, index, at = shard.get("trace_id") or trace_id, shard.get("index"), shard.get("timestamp")
    named = isinstance(of, _NAMED_BY) and isinstance(index, _NAMED_BY) and isinstance(at, _NAMED_BY)
    return (of, index, at) if named else None


def _name_digest(name: tuple[Any, ...]) -> bytes:
    """Return the digest of a name, in which 5.0 is 5, as it is in a set of names."""
    return _digest([int(part) if isinstance(part, float) and part.is_integer() else part for part in name])


def _digest(value: Any) -> bytes:
    return blake2b(_content(value), digest_size=DIGEST_BYTES).digest()


def _content(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def put_nodes(nodes: list[Any], new: dict[str, Json]) -> list[Any]:
    """Return the nodes with the new ones in the places of those of the same id, and the others behind."""
    rest = dict(new)
    kept = [rest.pop(node["id"], node) if _has_id(node, new) else node for node in nodes]
    return kept + list(rest.values())


def _has_id(node: Any, new: dict[str, Json]) -> bool:
    return isinstance(node, dict) and isinstance(node.get("id"), str) and node["id"] in new
