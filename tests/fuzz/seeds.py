"""What fuzzing begins with: whole and right inputs of each target, and those that found something."""

import json
from pathlib import Path

import msgpack

from tests.fuzz.sessions import SESSIONS
from tests.fuzz.targets.stored import COLUMNS
from tests.fuzz.targets.wire import METHODS

DATA = Path(__file__).parents[1] / "data"
CORPUS = Path(__file__).parent / "corpus"

SETTINGS = """[gate]
mode = "adaptive"
chance = 0.3
cooldown_s = 180
trauma_above = 0.5
[dialogue]
candidates = 2
[inbox]
dir = "dreams"
redact = true
phone_regions = ["DE", "US"]
retention_s = 2592000
[store]
replay_dialogues = 256
"""
NODE = {
    "id": "n1", "type": "HYPOTHESIS", "version": "1", "lane": "simulation", "trace": {"trace_id": "t1", "order": 1},
    "metadata": {}, "payload": {"text": "a@b.org"}, "provenance": {},
}  # fmt: skip
PUBLISHED = {
    "id": "node-1", "version": 1, "type": "DRM", "state": {"confidence": 0.5, "salience": 1}, "labels": ["a"],
    "timestamps": {"created_ts": 1}, "links": [],
    "provenance": {"producer": "p", "capabilities": ["c"], "tenant": "t", "trace_id": "t1", "consent_scopes": []},
}  # fmt: skip
SHARD = {
    "trace_id": "t1",
    "index": 0,
    "timestamp": 5.0,
    "text": "a line",
    "password": "x",
    "tel": "+1 415 555 2671",
}
DOCUMENT = {
    "trace_id": "t1", "saved_ts": 5, "seed": {"goal": "g", "ul_tags": ["t"], "constraints": {"flags": {}}},
    "shards": [SHARD, SHARD | {"index": 1}], "matada_nodes": [NODE, PUBLISHED], "version": 1,
    "schema_ref": "lukhas://schemas/matada_node_v1.json",
}  # fmt: skip
FRIEND = {
    "kind": "dreamd.friend", "version": 1,
    "fragments": [{"text": "a b", "weight": 0.3}, {"text": "c", "weight": 1, "origin": True}],
}  # fmt: skip


def seeds_of(target: str) -> list[bytes]:
    """Return the inputs that a target begins with."""
    return [*_right(target), *found_of(target)]


def found_of(target: str) -> list[bytes]:
    """Return the inputs that have found something in a target."""
    file = CORPUS / f"{target}.json"
    return [bytes.fromhex(one["hex"]) for one in json.loads(file.read_text())] if file.exists() else []


def _right(target: str) -> list[bytes]:
    golden = [
        bytes.fromhex(one["hex"])
        for name in ("valid", "broken")
        for one in json.loads((DATA / f"wire_{name}.json").read_text())
    ]
    messages = [message for session in SESSIONS.values() for message in session]
    streams = [*golden, *map(b"".join, SESSIONS.values())]
    called = [msgpack.unpackb(message, strict_map_key=False) for message in messages]
    files = [json.dumps(one).encode() for one in (DOCUMENT, SHARD, NODE)]
    values = (b"{}", b"[]", b'["a"]', b"1")
    columns = [bytes([n | bit]) + one for n in range(len(COLUMNS)) for bit in (0, 0x80) for one in values]
    return {
        "wire-stream": [bytes([n % 16]) + one for n, one in enumerate(streams)],
        "wire-frame": golden + messages,
        "wire-host": golden + messages,
        "wire-params": [
            bytes([METHODS.index(c[-2])]) + msgpack.packb(c[-1]) for c in called if c[-2] in METHODS
        ],
        "settings": [SETTINGS.encode(), b"[gate]\nchance = 2\n", b'\xef\xbb\xbf[inbox]\nredact = "no"\n'],
        "inbox-file": files,
        "redaction-value": files,
        "inbox-node": [msgpack.packb(one) for one in (SHARD, NODE, PUBLISHED, DOCUMENT["seed"])],
        "redaction-text": _redacted_texts(),
        "stored-column": columns,
        "stored-keys": [msgpack.packb({"trace_id": "t1", "number": 2, "records": b"\0" * 72})],
        "stored-friend": [json.dumps(FRIEND).encode()],
    }[target]


def _redacted_texts() -> list[bytes]:
    cases = json.loads((DATA / "redaction_positive.json").read_text())
    return [case["given"].replace("¦", "").encode() for case in cases if isinstance(case["given"], str)]
