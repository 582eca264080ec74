"""The two forms of a MATADA node, each defined once: validation and JSON Schema come from the same lines. Pure.

Both carry the id `lukhas://schemas/matada_node_v1.json`. What they are for: docs/inbox.md.
"""

import re
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from dreamd.inbox.document import SCHEMA_REF, Json, plain_mapping
from dreamd.inbox.errors import ValidationError

NodeForm = Literal["simulation", "published"]

Lane = Literal["simulation", "reflex", "deliberation", "adapter"]
NodeType = Literal[
    "SENSORY_IMG", "SENSORY_AUD", "SENSORY_VID", "SENSORY_TOUCH", "EMOTION", "INTENT", "DECISION", "CONTEXT", "MEMORY",
    "REFLECTION", "CAUSAL", "TEMPORAL", "AWARENESS", "HYPOTHESIS", "REPLAY", "DRM",
]  # fmt: skip
Link = Literal["temporal", "causal", "semantic", "emotional", "spatial", "evidence"]
Direction = Literal["bidirectional", "unidirectional"]
Reflected = Literal["regret", "affirmation", "dissonance_resolution", "moral_conflict", "self_question"]
Kind = Literal["trace", "doc", "url", "input_key", "consent_record", "artifact"]
Ref = Literal["lukhas://schemas/matada_node_v1.json", "lukhas://schemas/matriz_node_v1.json"]

Text = Annotated[str, Meta(min_length=1)]
Short = Annotated[str, Meta(min_length=1, max_length=64)]
Share = Annotated[float, Meta(ge=0, le=1)]
Unset = msgspec.UnsetType  # of a key that may be left out, but is not null


class Trace(msgspec.Struct):
    """Where in its trace a node stands."""

    trace_id: Text
    order: Annotated[int, Meta(ge=1)]


class SimulationNode(msgspec.Struct):
    """The simulation lane's form: the typed twin of a shard. Unknown keys are allowed, and kept."""

    id: Text
    type: Text
    version: Text
    lane: Lane
    trace: Trace
    metadata: dict[str, Any]
    payload: dict[str, Any]
    provenance: dict[str, Any]


class State(msgspec.Struct):
    """What a published node says of itself. Unknown keys are allowed here, and kept."""

    confidence: Share
    salience: Share
    valence: Annotated[float, Meta(ge=-1, le=1)] | Unset = msgspec.UNSET
    arousal: Share | Unset = msgspec.UNSET
    novelty: Share | Unset = msgspec.UNSET
    urgency: Share | Unset = msgspec.UNSET
    shock_factor: Share | Unset = msgspec.UNSET
    risk: Share | Unset = msgspec.UNSET
    utility: Share | Unset = msgspec.UNSET


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    """A part of a published node that has no other keys than these."""


class Timestamps(Closed):
    """Unix milliseconds."""

    created_ts: int
    updated_ts: int | Unset = msgspec.UNSET
    observed_ts: int | Unset = msgspec.UNSET


class Colony(Closed):
    """The group of programs that a producer belongs to."""

    id: Short
    role: Short
    iteration: Annotated[int, Meta(ge=0)] | Unset = msgspec.UNSET


class Provenance(Closed):
    """Who made a node, and what that program was permitted to do."""

    producer: str
    capabilities: Annotated[list[str], Meta(min_length=1)]
    tenant: str
    trace_id: str
    consent_scopes: list[str]
    subject_pseudonym: str | Unset = msgspec.UNSET
    model_signature: str | Unset = msgspec.UNSET
    policy_version: str | Unset = msgspec.UNSET
    colony: Colony | Unset = msgspec.UNSET


class NodeLink(Closed):
    """A relation to another node."""

    target_node_id: str
    link_type: Link
    direction: Direction
    weight: Share | Unset = msgspec.UNSET
    explanation: str | Unset = msgspec.UNSET


class Trigger(Closed):
    """What made a node come about."""

    event_type: str
    timestamp: int
    trigger_node_id: str | Unset = msgspec.UNSET
    effect: str | Unset = msgspec.UNSET


class Reflection(Closed):
    """How a node was seen later."""

    reflection_type: Reflected
    timestamp: int
    old_state: State | Unset = msgspec.UNSET
    new_state: State | Unset = msgspec.UNSET
    cause: str | Unset = msgspec.UNSET


class Embedding(Closed):
    """A node as a vector."""

    space: str
    vector: list[float]
    dim: int | Unset = msgspec.UNSET
    norm: float | Unset = msgspec.UNSET


class Evidence(Closed):
    """What a node rests on."""

    kind: Kind | Unset = msgspec.UNSET
    uri: str | Unset = msgspec.UNSET
    hash: str | Unset = msgspec.UNSET


class PublishedNode(Closed):
    """The published form, version 1.1. No other keys are allowed."""

    version: Literal[1]
    id: Annotated[str, Meta(min_length=3, max_length=128)]
    type: NodeType
    state: State
    timestamps: Timestamps
    provenance: Provenance
    labels: Annotated[list[Short], Meta(max_length=12)] | Unset = msgspec.UNSET
    links: list[NodeLink] | Unset = msgspec.UNSET
    evolves_to: list[str] | Unset = msgspec.UNSET
    triggers: list[Trigger] | Unset = msgspec.UNSET
    reflections: list[Reflection] | Unset = msgspec.UNSET
    embeddings: list[Embedding] | Unset = msgspec.UNSET
    evidence: list[Evidence] | Unset = msgspec.UNSET
    schema_ref: Ref | Unset = msgspec.UNSET


FORMS: dict[NodeForm, type[msgspec.Struct]] = {"simulation": SimulationNode, "published": PublishedNode}
_KEYS = {form: frozenset(shape.__struct_fields__) for form, shape in FORMS.items()}
_WORDS = {
    "lane": Lane, "type": NodeType, "version": Literal[1], "link_type": Link, "direction": Direction,
    "reflection_type": Reflected, "kind": Kind, "schema_ref": Ref,
}  # fmt: skip


def node_schema() -> Json:
    """Return the JSON Schema (2020-12) of a node, generated from the definitions above."""
    roots, definitions = msgspec.json.schema_components(FORMS.values(), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_REF,
        "anyOf": list(roots),
        "$defs": definitions,
    }


def check_node(node: object, number: int) -> Json:
    """Return the node, plain and unchanged, unknown keys included.

    Raise ValidationError, which says which form was meant, and names the field that is wrong.
    """
    what = f"matada_nodes[{number}]"
    copy = plain_mapping(node, what)
    meant = meant_form(copy)
    wrong = _wrong(copy, meant)
    if wrong and all(_wrong(copy, form) for form in FORMS):
        raise ValidationError(f"{what}, as a node of the {meant} form: {wrong}")
    return copy


def meant_form(node: Json) -> NodeForm:
    """Return the form that a node is of, or whose keys it has more of."""
    own = {
        form: len((keys & node.keys()) - _KEYS[other])
        for form, keys in _KEYS.items()
        for other in FORMS
        if other != form
    }
    if own["published"] != own["simulation"]:
        return "published" if own["published"] > own["simulation"] else "simulation"
    return "published" if isinstance(node.get("version"), int) else "simulation"


def _wrong(node: Json, form: NodeForm) -> str:
    try:
        msgspec.convert(_whole(node), FORMS[form])
    except msgspec.ValidationError as wrong:
        return _without_value(str(wrong))
    return ""


def _whole(value: Any) -> Any:
    """Return a copy in which 5.0 is 5: JSON Schema calls both an integer, and some programs know doubles alone."""
    match value:
        case dict():
            return {key: _whole(item) for key, item in value.items()}
        case list():
            return [_whole(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return value


def _without_value(message: str) -> str:
    """Return msgspec's message without the word or the key of the caller's that it quotes."""
    place = found[0] if (found := re.search(r" - at `[^`]*`$", message)) else ""
    if message.startswith("Invalid enum value"):
        words = _WORDS[place.rstrip("`").rpartition(".")[2]]
        return f"Expected one of {', '.join(map(str, get_args(words)))}{place}"
    if message.startswith("Object contains unknown field"):
        return f"Expected no other keys than those of the form{place}"
    return message
