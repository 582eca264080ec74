"""The new shards and nodes of a write, compared with those that a trace holds already. Pure.

A shard is named by (trace_id, index, timestamp), or by its content if it lacks one of these. An equal shard is a
duplicate. A different shard with a known name is kept, and counted as a conflict. A node is named by its id, and
replaces an earlier node of that id.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from dreamd.inbox.document.document import Json

DIGEST_BYTES = 16  # long enough that different shards of one trace never have equal digests


class Held:
    """The keys of the shards and nodes that a trace holds: in the file that is written to, and in earlier parts.

    A key is the digest of a name, followed by that of a content. `earlier` returns whether an earlier part holds a key
    that begins with the given bytes.
    """

    def __init__(
        self, trace_id: str, earlier: Callable[[bytes], bool] = frozenset[bytes]().__contains__
    ) -> None:
        self._trace_id = trace_id
        self._earlier = earlier
        self._shards: set[bytes] = set()  # the keys of shards, and the digests of their names
        self._nodes: dict[bytes, bytes] = {}

    def add(self, document: Json) -> None:
        """Add a file's shards and nodes. Odd ones, which other programs may have written, do no harm."""
        shards, nodes = keys_of(document, self._trace_id)
        self._shards.update(shards, (key[:DIGEST_BYTES] for key in shards))
        self._nodes.update(nodes)

    def new_shards(self, shards: Iterable[Json]) -> tuple[list[Json], int]:
        """Add the shards that are not held yet. Return them, and how many of them are conflicts."""
        new: list[Json] = []
        conflicts = 0
        for shard in shards:
            key = _shard_key(shard, self._trace_id)
            name = key[:DIGEST_BYTES]
            if self._holds_shard(key):
                continue
            conflicts += self._holds_shard(name)
            self._shards.update((key, name))
            new.append(shard)
        return new, conflicts

    def _holds_shard(self, key: bytes) -> bool:
        return key in self._shards or self._earlier(key)

    def new_nodes(self, nodes: Iterable[Json]) -> dict[str, Json]:
        """Return by id the nodes that are not held, or are held with another content, and hold them."""
        new: dict[str, Json] = {}
        for node in nodes:
            name, content = _node_key(node)
            held = self._nodes[name] == content if name in self._nodes else self._earlier(name + content)
            if not held:
                self._nodes[name] = content
                new[node["id"]] = node
        return new


def keys_of(document: Json, trace_id: str) -> tuple[set[bytes], dict[bytes, bytes]]:
    """Return the keys of a file's shards, and the digests of its nodes' contents by those of their ids."""
    shards = {_shard_key(shard, trace_id) for shard in document["shards"]}
    return shards, dict(_node_key(node) for node in document["matada_nodes"] if _has_id(node))


def _shard_key(shard: Any, trace_id: str) -> bytes:
    content = _content_digest(shard)
    name = _shard_name(shard, trace_id)
    return (content if name is None else _content_digest(name)) + content


def _node_key(node: Json) -> tuple[bytes, bytes]:
    return _content_digest([node["id"]]), _content_digest(node)


def _shard_name(shard: Any, trace_id: str) -> list[Any] | None:
    """Return the name of a shard, with 5.0 as 5, or None if it is named by its content."""
    if not isinstance(shard, dict):
        return None
    name = [shard.get("trace_id") or trace_id, shard.get("index"), shard.get("timestamp")]
    if not all(isinstance(part, str | int | float) for part in name):
        return None
    return [int(part) if isinstance(part, float) and part.is_integer() else part for part in name]


def _content_digest(value: Any) -> bytes:
    from hashlib import blake2b

    return blake2b(msgspec.json.encode(value, order="sorted"), digest_size=DIGEST_BYTES).digest()


def put_nodes(nodes: list[Any], new: dict[str, Json]) -> list[Any]:
    """Return the nodes, each replaced by the new one of its id, followed by the other new ones."""
    rest = dict(new)
    kept = [rest.pop(node["id"], node) if _has_id(node) else node for node in nodes]
    return kept + list(rest.values())


def _has_id(node: Any) -> bool:
    return isinstance(node, dict) and isinstance(node.get("id"), str)
