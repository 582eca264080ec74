"""What an inbox file holds, and what may enter one: pure.

Everything that comes in is copied into plain JSON values first, checked on the way: what was checked is what
is written. No message quotes a value or a key of the caller's: both may be private.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from dreamd.inbox.errors import DamagedFile, ValidationError

Json = dict[str, Any]

VERSION = 1
SCHEMA_REF = "lukhas://schemas/matada_node_v1.json"
MOST_TAGS = 20
MOST_DEPTH = 32  # of free-form values, as on the wire: deeper is an attack
MOST_SHARD_BYTES = 2 << 20
MOST_FILE_BYTES = 16 << 20

_TRACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1  # what msgpack, and most readers of JSON, can hold


class Constraints(msgspec.Struct):
    flags: dict[str, Any]


class Seed(msgspec.Struct):
    goal: str
    ul_tags: list[str]
    constraints: Constraints


class Document(msgspec.Struct):
    """The schema that `verify` holds a file against; unknown keys are kept."""

    trace_id: str
    saved_ts: int
    seed: Seed
    shards: list[dict[str, Any]]
    matada_nodes: list[dict[str, Any]]
    version: Literal[1]
    schema_ref: str


def check_trace_id(trace_id: object) -> str:
    """The trace id, fit to be a file's name; ValidationError for anything else."""
    if isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id):
        return trace_id
    raise ValidationError(
        "trace_id must be 1 to 128 of the characters A-Z a-z 0-9 . _ - and begin with a letter or a digit"
    )


def plain(value: object, what: str, depth: int = MOST_DEPTH) -> Any:
    """A copy of `value` in plain JSON types; ValidationError, naming `what`, for what JSON cannot say."""
    if not isinstance(value, Mapping | list | tuple):
        return _plain_scalar(value, what)
    if depth == 0:
        raise ValidationError(f"{what} is nested deeper than {MOST_DEPTH}")
    if not isinstance(value, Mapping):
        return [plain(item, what, depth - 1) for item in value]
    if not all(isinstance(key, str) for key in value):
        raise ValidationError(f"{what} holds a mapping with a key that is no string")
    return {_plain_scalar(key, what): plain(item, what, depth - 1) for key, item in value.items()}


def _plain_scalar(value: object, what: str) -> Any:
    match value:
        case None | bool():
            return value
        case str() if value.isascii() or _encodes(value):
            return str(value)
        case str():
            raise ValidationError(f"{what} holds text with a lone surrogate, which is no Unicode")
        case int() if _LEAST <= value <= _MOST:
            return int(value)
        case int():
            raise ValidationError(f"{what} holds an integer of more than 64 bits")
        case float() if math.isfinite(value):
            return float(value)
        case float():
            raise ValidationError(f"{what} holds a number that is not finite")
    raise ValidationError(f"{what} holds a {type(value).__name__}, which JSON has no word for")


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def plain_mapping(value: object, what: str) -> Json:
    """A plain copy of a mapping that is no larger than a shard may be."""
    if not isinstance(value, Mapping):
        raise ValidationError(f"{what} is a {type(value).__name__}, expected a mapping")
    copy: Json = plain(value, what)
    size = len(msgspec.json.encode(copy))
    if size > MOST_SHARD_BYTES:
        raise ValidationError(f"{what} is {size} bytes, at most {MOST_SHARD_BYTES} are taken")
    return copy


def plain_list(value: object, what: str) -> list[object]:
    """The items of a list or tuple, unchecked; an absent one is empty."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return list(value)
    raise ValidationError(f"{what} is a {type(value).__name__}, expected a list")


def clean_seed(seed: object) -> Json:
    """Of a seed only what the file shows: goal, at most 20 tags, and the flags of its constraints."""
    if not isinstance(seed, Mapping):
        raise ValidationError(f"seed is a {type(seed).__name__}, expected a mapping")
    goal = seed.get("goal")
    tags = plain_list(seed.get("ul_tags"), "seed.ul_tags")[:MOST_TAGS]
    constraints = seed.get("constraints")
    flags = constraints.get("flags") if isinstance(constraints, Mapping) else constraints
    found = {
        "goal": "" if goal is None else goal,
        "ul_tags": tags,
        "constraints": {"flags": {} if flags is None else flags},
    }
    copy = plain_mapping(found, "seed")
    try:
        msgspec.convert(copy, Seed)
    except msgspec.ValidationError as wrong:
        raise ValidationError(f"seed: {wrong}") from None
    return copy


def clean_shard(shard: object, number: int) -> Json:
    """One shard, plain; `index`, `timestamp` and `trace_id`, where there, must be able to name it."""
    what = f"shards[{number}]"
    copy = plain_mapping(shard, what)
    for key, types in (("index", int), ("timestamp", int | float | str), ("trace_id", str)):
        value = copy.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, types)):
            raise ValidationError(f"{what}.{key} is a {type(value).__name__}")
    return copy


def empty_document(trace_id: str) -> Json:
    """A document with nothing in it yet, its keys in the order that people read them."""
    return {
        "trace_id": trace_id,
        "saved_ts": 0,
        "seed": {},
        "shards": [],
        "matada_nodes": [],
        "version": VERSION,
        "schema_ref": SCHEMA_REF,
    }


def encode(document: Json) -> bytes:
    """The bytes of a file; ValidationError where they are too many."""
    data = msgspec.json.encode(document) + b"\n"
    if len(data) > MOST_FILE_BYTES:
        raise ValidationError(f"the file would be {len(data)} bytes, at most {MOST_FILE_BYTES} are taken")
    return data


def decode(data: bytes) -> Json:
    """A document out of a file's bytes, odd shards and unknown keys included; else DamagedFile."""
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise DamagedFile("the file is no JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("shards"), list):
        raise DamagedFile("the file holds JSON, but no mapping with a list of shards")
    if not isinstance(found.setdefault("matada_nodes", []), list):
        raise DamagedFile("the file's matada_nodes are no list")
    return found
