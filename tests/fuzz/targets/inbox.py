"""The bytes of an inbox file: read, checked, compared, written again. Only documented errors escape."""

from typing import Any

import msgspec

from dreamd.inbox.document.document import (
    clean_seed,
    clean_shard,
    decode_document,
    encode_document,
    encoded_size,
)
from dreamd.inbox.document.merge import Held, keys_of, put_nodes
from dreamd.inbox.document.node import check_node
from dreamd.inbox.errors import DamagedFile, ValidationError
from dreamd.inbox.folder.reading import _document_problems


def read_document(data: bytes) -> None:
    """Read a file of another program, verify it, and merge its parts into one that is equal."""
    try:
        document = decode_document(data)
    except DamagedFile as error:
        assert str(error)
        return
    again = decode_document(encode_document(document))
    assert again == document, "a file reads otherwise after it is written"
    assert all(isinstance(problem, str) for problem in _document_problems(document, "t1"))
    assert encoded_size(document) > 0
    held = Held("t1")
    held.add(document)
    assert keys_of(document, "t1") == keys_of(again, "t1")
    shards = [shard for shard in (_cleaned(clean_shard, s) for s in document["shards"]) if shard is not None]
    nodes = [node for node in (_cleaned(check_node, n) for n in document["matada_nodes"]) if node is not None]
    fresh = Held("t1")
    taken, _ = fresh.new_shards(shards)
    assert fresh.new_shards(shards) == ([], 0), "a shard is taken twice"
    assert len(taken) <= len(shards)
    if len({node["id"] for node in nodes}) == len(nodes):
        new = fresh.new_nodes(nodes)
        assert fresh.new_nodes(nodes) == {}, "a node is taken twice"
        assert put_nodes(list(nodes), new) == nodes


def read_node(data: bytes) -> None:
    """Check a shard, a node and a seed of a peer. What is taken is plain JSON, and is taken again unchanged."""
    try:
        value = msgspec.msgpack.decode(data)
    except (ValueError, RecursionError):
        return
    for check in (clean_shard, check_node, lambda seed, _: clean_seed(seed)):
        copy = _cleaned(check, value)
        if copy is not None:
            assert check(copy, 0) == copy, "what was taken is not taken again"
            assert msgspec.json.decode(msgspec.json.encode(copy)) == copy, "what was taken is no JSON"


def _cleaned(check: Any, value: Any) -> Any:
    try:
        return check(value, 0)
    except ValidationError as error:
        assert str(error)
        return None
