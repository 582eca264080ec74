"""The two forms of a MATADA node. Validation and JSON Schema are both made from these definitions. Pure.

Both forms have the id `lukhas://schemas/matada_node_v1.json`. Their purpose: docs/guides/inbox.md.
"""

import re
from collections.abc import Mapping
from types import GenericAlias
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from dreamd.inbox.document.document import SCHEMA_REF, Json, plain_mapping
from dreamd.inbox.errors import ValidationError

NodeForm = Literal["simulation", "published"]

Text = Annotated[str, Meta(min_length=1)]
Short = Annotated[str, Meta(min_length=1, max_length=64)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
_WORDS: dict[str, Any] = {
    "lane": Literal["simulation", "reflex", "deliberation", "adapter"],
    "version": Literal[1],
    "type": Literal[
        "SENSORY_IMG", "SENSORY_AUD", "SENSORY_VID", "SENSORY_TOUCH", "EMOTION", "INTENT", "DECISION", "CONTEXT",
        "MEMORY", "REFLECTION", "CAUSAL", "TEMPORAL", "AWARENESS", "HYPOTHESIS", "REPLAY", "DRM",
    ],
    "link_type": Literal["temporal", "causal", "semantic", "emotional", "spatial", "evidence"],
    "direction": Literal["bidirectional", "unidirectional"],
    "reflection_type": Literal["regret", "affirmation", "dissonance_resolution", "moral_conflict", "self_question"],
    "kind": Literal["trace", "doc", "url", "input_key", "consent_record", "artifact"],
    "schema_ref": Literal[SCHEMA_REF, "lukhas://schemas/matriz_node_v1.json"],
}  # fmt: skip


def _struct_of(
    name: str, required: Mapping[str, Any], optional: Mapping[str, Any] = {}, *, closed: bool = True
) -> Any:
    """Return the type of a mapping with these keys. Unless it is closed, other keys are permitted."""
    may_lack = ((key, kind | msgspec.UnsetType, msgspec.UNSET) for key, kind in optional.items())
    return msgspec.defstruct(name, [*required.items(), *may_lack], forbid_unknown_fields=closed)


def _word_types(*keys: str) -> dict[str, Any]:
    """Return the types of these keys, each a closed list of words."""
    return {key: _WORDS[key] for key in keys}


_State = _struct_of(
    "State",
    {"confidence": Share, "salience": Share},
    {"valence": Annotated[float, Meta(ge=-1, le=1)]}
    | dict.fromkeys(("arousal", "novelty", "urgency", "shock_factor", "risk", "utility"), Share),
    closed=False,
)
_Provenance = _struct_of(
    "Provenance",
    {
        "producer": str,
        "capabilities": Annotated[list[str], Meta(min_length=1)],
        "tenant": str,
        "trace_id": str,
        "consent_scopes": list[str],
    },
    dict.fromkeys(("subject_pseudonym", "model_signature", "policy_version"), str)
    | {"colony": _struct_of("Colony", {"id": Short, "role": Short}, {"iteration": Count})},
)
_Timestamps = _struct_of("Timestamps", {"created_ts": int}, {"updated_ts": int, "observed_ts": int})
_LISTED = {
    "links": _struct_of(
        "Link",
        {"target_node_id": str} | _word_types("link_type", "direction"),
        {"weight": Share, "explanation": str},
    ),
    "evolves_to": str,
    "triggers": _struct_of(
        "Trigger", {"event_type": str, "timestamp": int}, {"trigger_node_id": str, "effect": str}
    ),
    "reflections": _struct_of(
        "Reflection",
        {"timestamp": int} | _word_types("reflection_type"),
        {"old_state": _State, "new_state": _State, "cause": str},
    ),
    "embeddings": _struct_of("Embedding", {"space": str, "vector": list[float]}, {"dim": int, "norm": float}),
    "evidence": _struct_of("Evidence", {}, _word_types("kind") | {"uri": str, "hash": str}),
}

FORMS: dict[NodeForm, Any] = {
    "simulation": _struct_of(
        "SimulationNode",
        {"id": Text, "type": Text, "version": Text}
        | _word_types("lane")
        | {
            "trace": _struct_of(
                "Trace", {"trace_id": Text, "order": Annotated[int, Meta(ge=1)]}, closed=False
            )
        }
        | dict.fromkeys(("metadata", "payload", "provenance"), dict[str, Any]),
        closed=False,
    ),
    "published": _struct_of(
        "PublishedNode",
        {"id": Annotated[str, Meta(min_length=3, max_length=128)]}
        | _word_types("version", "type")
        | {"state": _State, "timestamps": _Timestamps, "provenance": _Provenance},
        {"labels": Annotated[list[Short], Meta(max_length=12)]}
        | {key: GenericAlias(list, (kind,)) for key, kind in _LISTED.items()}
        | _word_types("schema_ref"),
    ),
}
_KEYS = {form: frozenset(shape.__struct_fields__) for form, shape in FORMS.items()}


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
    """Return a plain copy of the node, with unknown keys.

    Raise ValidationError, which names the form that was meant and the wrong field.
    """
    what = f"matada_nodes[{number}]"
    copy = plain_mapping(node, what)
    meant = meant_form(copy)
    wrong = _why_wrong(copy, meant)
    if wrong and all(_why_wrong(copy, form) for form in FORMS):
        raise ValidationError(f"{what}, as a node of the {meant} form: {wrong}")
    return copy


def meant_form(node: Json) -> NodeForm:
    """Return the form of a node, or the one that shares more keys with it."""
    published, simulation = _KEYS["published"] & node.keys(), _KEYS["simulation"] & node.keys()
    more = len(published - simulation) - len(simulation - published)
    return "published" if more > 0 or (more == 0 and isinstance(node.get("version"), int)) else "simulation"


def _why_wrong(node: Json, form: NodeForm) -> str:
    try:
        msgspec.convert(_whole_numbers(node), FORMS[form])
    except msgspec.ValidationError as wrong:
        return _without_value(str(wrong))
    return ""


def _whole_numbers(value: Any) -> Any:
    """Return a copy with 5.0 as 5: both are integers in JSON Schema, and some programs have only doubles."""
    match value:
        case dict():
            return {key: _whole_numbers(item) for key, item in value.items()}
        case list():
            return [_whole_numbers(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return value


def _without_value(message: str) -> str:
    """Return msgspec's message without the value or the key that it quotes."""
    place = found[0] if (found := re.search(r" - at `[^`]*`$", message)) else ""
    if message.startswith("Invalid enum value"):
        words = _WORDS[place.rstrip("`").rpartition(".")[2]]
        return f"Expected one of {', '.join(map(str, get_args(words)))}{place}"
    if message.startswith("Object contains unknown field"):
        return f"Expected no other keys than those of the form{place}"
    return message
