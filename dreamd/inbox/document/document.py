"""The document in an inbox file, and the checks of everything that enters one. Pure.

Every value of a caller is checked while it is copied into plain JSON values, and the copy is written. No message
quotes a value or a key of the caller, because both may be private.
"""

import codecs
import math
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from dreamd.inbox.errors import DamagedFile, ForeignFile, ValidationError

Json = dict[str, Any]

VERSION = 1
SCHEMA_REF = "lukhas://schemas/matada_node_v1.json"
MOST_TAGS = 20
MOST_REF = 1024  # characters of a schema_ref
MOST_DEPTH = 32  # depth of free-form values, as on the wire: deeper is an attack
MOST_SHARD_BYTES = 768 << 10  # of a shard or a node, so that it fits into a file with a seed
MOST_SEED_BYTES = 64 << 10
MOST_FILE_BYTES = (1 << 20) - 1024  # of a file that is written, so that one message of the wire can hold it
# Of a file that is read, since earlier versions and other programs may write larger ones.
MOST_READ_BYTES = 16 << 20

BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MARKED = "begins with a byte order mark; save it as UTF-8 without one"

_TRACE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1  # the range of msgpack, and of most readers of JSON


class Constraints(msgspec.Struct):
    flags: Any  # usually a mapping or a list


class Seed(msgspec.Struct):
    goal: str
    ul_tags: list[str]
    constraints: Constraints


class Document(msgspec.Struct):
    """The schema against which `verify` checks a file. Unknown keys are kept."""

    trace_id: str
    saved_ts: int
    seed: Seed
    shards: list[dict[str, Any]]
    matada_nodes: list[dict[str, Any]]
    version: Literal[1]
    schema_ref: str


def check_trace_id(trace_id: object) -> str:
    """Return the trace id. Raise ValidationError if it cannot be the name of a file."""
    if isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id):
        return str.__str__(trace_id)  # of a member of an enumeration, `str` returns its name
    raise ValidationError(
        "trace_id must be 1 to 128 of the characters A-Z a-z 0-9 . _ - and begin with a letter or a digit"
    )


def check_schema_ref(schema_ref: object) -> str | None:
    """Return the schema_ref. Raise ValidationError if it is neither None nor a short text."""
    if schema_ref is None or (isinstance(schema_ref, str) and 0 < len(schema_ref) <= MOST_REF):
        plain_copy(schema_ref, "schema_ref")
        return schema_ref
    what = f"schema_ref is a {type(schema_ref).__name__}"
    raise ValidationError(f"{what}, expected text of 1 to {MOST_REF} characters")


def plain_copy(value: object, what: str, depth: int = MOST_DEPTH) -> Any:
    """Return a copy of `value` in plain JSON types. Raise ValidationError, naming `what`, if JSON has no such value.

    A key that is a number becomes text, as Python's own `json` writes it.
    """
    if not isinstance(value, Mapping | list | tuple):
        return _plain_scalar(value, what)
    if depth == 0:
        raise ValidationError(f"{what} is nested deeper than {MOST_DEPTH}")
    if not isinstance(value, Mapping):
        return [plain_copy(item, what, depth - 1) for item in value]
    copy = {_plain_key(key, what): plain_copy(item, what, depth - 1) for key, item in value.items()}
    if len(copy) < len(value):
        raise ValidationError(f"{what} holds a mapping with a number and the text of that number as keys")
    return copy


def _plain_key(key: object, what: str) -> str:
    if isinstance(key, bool) or not isinstance(key, str | int | float):
        raise ValidationError(f"{what} holds a mapping with a key that is no string")
    return str(_plain_scalar(key, what))


def _plain_scalar(value: object, what: str) -> Any:
    match value:
        case None | bool():
            return value
        case str() if value.isascii() or not _SURROGATE.search(value):
            return str.__str__(value)
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


def plain_mapping(value: object, what: str, most: int = MOST_SHARD_BYTES) -> Json:
    """Return a plain copy of a mapping. Raise ValidationError if it has more than `most` bytes."""
    if not isinstance(value, Mapping):
        raise ValidationError(f"{what} is a {type(value).__name__}, expected a mapping")
    copy: Json = plain_copy(value, what)
    check_weight(copy, what, most)
    return copy


def check_weight(value: Json, what: str, most: int = MOST_SHARD_BYTES) -> None:
    """Raise ValidationError if a plain mapping has more than `most` bytes."""
    if (size := encoded_size(value)) > most:
        raise ValidationError(f"{what} is {size} bytes, at most {most} are taken")


def encoded_size(value: Any) -> int:
    """Return the size of a plain value in bytes, as JSON or as MessagePack, whichever is larger.

    A file is JSON, and a message of the wire is MessagePack, which is larger for floats.
    """
    data = len(msgspec.json.encode(value))
    try:
        return max(data, len(msgspec.msgpack.encode(value)))
    except OverflowError:  # an integer of more than 64 bits, in another program's file
        return data


def plain_list(value: object, what: str) -> list[object]:
    """Return the items of a list or tuple, unchecked. None gives no items."""
    if value is None:
        return []
    if isinstance(value, list | tuple):
        return list(value)
    raise ValidationError(f"{what} is a {type(value).__name__}, expected a list")


def clean_seed(seed: object) -> Json:
    """Return the parts of a seed that the file shows: goal, at most 20 tags, and the flags of its constraints.

    A goal or a tag that is no text becomes text. None gives an empty seed.
    """
    if not isinstance(seed, Mapping | None):
        raise ValidationError(f"seed is a {type(seed).__name__}, expected a mapping")
    seed = seed or {}
    constraints = seed.get("constraints")
    if not isinstance(constraints, Mapping | None):
        raise ValidationError(f"seed.constraints is a {type(constraints).__name__}, expected a mapping")
    goal, flags = seed.get("goal"), (constraints or {}).get("flags")
    tags = plain_list(seed.get("ul_tags"), "seed.ul_tags")[:MOST_TAGS]
    found = {
        "goal": "" if goal is None else _plain_text(goal),
        "ul_tags": [_plain_text(tag) for tag in tags],
        "constraints": {"flags": {} if flags is None else flags},
    }
    return plain_mapping(found, "seed", MOST_SEED_BYTES)


def _plain_text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return str(value)
    except (ValueError, TypeError, RecursionError):  # an integer of 5,000 digits, a list that holds itself
        raise ValidationError(f"seed holds a {type(value).__name__} that no text stands for") from None


def clean_shard(shard: object, number: int) -> Json:
    """Return a plain copy of a shard. Raise ValidationError if its `index`, `timestamp` or `trace_id` cannot name
    it."""
    what = f"shards[{number}]"
    copy = plain_mapping(shard, what)
    for key, types in (("index", int | float), ("timestamp", int | float | str), ("trace_id", str)):
        value = copy.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, types)):
            raise ValidationError(f"{what}.{key} is a {type(value).__name__}")
    return copy


def empty_document(trace_id: str) -> Json:
    """Return an empty document, with its keys in an order that reads well."""
    return {
        "trace_id": trace_id,
        "saved_ts": 0,
        "seed": {},
        "shards": [],
        "matada_nodes": [],
        "version": VERSION,
        "schema_ref": SCHEMA_REF,
    }


def encode_document(document: Json) -> bytes:
    """Return the bytes of a file."""
    return msgspec.json.encode(document) + b"\n"


def decode_document(data: bytes) -> Json:
    """Return the document in a file's bytes, with odd shards and unknown keys. Raise DamagedFile, or ForeignFile if it
    may be whole for another program."""
    if data.startswith(BYTE_ORDER_MARKS):
        raise ForeignFile(f"the file {MARKED}")
    try:
        found = msgspec.json.decode(data)
    except (msgspec.ValidationError, RecursionError):  # ValueError: an integer of 5,000 digits
        raise ForeignFile("the file is nested too deep, or holds a number that is too long") from None
    except ValueError:  # DecodeError and UnicodeDecodeError
        raise DamagedFile("the file is no JSON") from None
    if not isinstance(found, dict) or not isinstance(found.get("shards"), list):
        raise DamagedFile("the file holds JSON, but no mapping with a list of shards")
    if not isinstance(found.setdefault("matada_nodes", []), list):
        raise DamagedFile("the file's matada_nodes are no list")
    return found


def check_trace(document: Json, trace_id: str) -> None:
    """Raise ForeignFile if a file's trace_id differs from its name."""
    if document.get("trace_id", trace_id) != trace_id:
        raise ForeignFile(
            "the file's trace_id is not the one of its name; `dreamctl inbox verify` names the file"
        )


def check_own(document: Json, trace_id: str) -> None:
    """Raise ForeignFile if a file belongs to another trace, or has an unknown version."""
    check_trace(document, trace_id)
    if document.get("version", VERSION) != VERSION:
        raise ForeignFile(
            f"the file's version is not {VERSION}; a newer program wrote it, so write with that one"
        )
