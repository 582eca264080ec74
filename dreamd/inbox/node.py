"""The MATADA node, defined once: validation and JSON Schema come from the same few lines. Pure."""

from typing import Annotated, Any, Literal, get_args

import msgspec

from dreamd.inbox.document import SCHEMA_REF, Json, plain_mapping
from dreamd.inbox.errors import ValidationError

Lane = Literal["simulation", "reflex", "deliberation", "adapter"]
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Trace(msgspec.Struct):
    """Where in its trace a node stands."""

    trace_id: Text
    order: Annotated[int, msgspec.Meta(ge=1)]


class MatadaNode(msgspec.Struct):
    """The typed twin of a shard. Unknown keys are allowed, and kept."""

    id: Text
    type: Text
    version: Text
    lane: Lane
    trace: Trace
    metadata: dict[str, Any]
    payload: dict[str, Any]
    provenance: dict[str, Any]


def node_schema() -> Json:
    """The node's JSON Schema (2020-12), generated from the definition above."""
    (root,), definitions = msgspec.json.schema_components((MatadaNode,), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_REF,
        **root,
        "$defs": definitions,
    }


def check_node(node: object, number: int) -> Json:
    """The node, plain and unchanged, unknown keys included; ValidationError names the field that is wrong."""
    what = f"matada_nodes[{number}]"
    copy = plain_mapping(node, what)
    try:
        msgspec.convert(copy, MatadaNode)
    except msgspec.ValidationError as wrong:
        raise ValidationError(f"{what}: {_without_value(str(wrong))}") from None
    return copy


def _without_value(message: str) -> str:
    """msgspec quotes an unknown word of a closed list; we say only where it stood."""
    if not message.startswith("Invalid enum value"):
        return message
    return f"Expected one of {', '.join(get_args(Lane))} - at `$.lane`"
