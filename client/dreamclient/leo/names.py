"""Look up leo's functions in the module that defines his class, without an import."""

import sys
from collections.abc import Mapping
from typing import Any

from dreamclient.errors import UsageError
from dreamclient.protocol.contexts import number

# The functions that the hooks need.
_NEEDED = ("generate_reply", "ingest_text", "tokenize")


def names_of(field: Any) -> Mapping[str, Any]:
    """Return the live namespace of the module that `field`'s class comes from. Raise UsageError if it is no leo."""
    kind = type(field).__name__
    if not (hasattr(field, "bigrams") and (hasattr(field, "reply") or hasattr(field, "async_reply"))):
        raise UsageError(f"a {kind} is no field of leo's: it has no bigrams, or cannot reply")
    modules = [sys.modules.get(each.__module__) for each in type(field).__mro__]
    for names in (vars(module) for module in modules if module is not None):
        if all(callable(names.get(name)) for name in _NEEDED):
            return names
    raise UsageError(f"a {kind} is no field of leo's: its module has not all of {_NEEDED}")


def level(trauma_state: Any) -> float:
    """Return leo's trauma level, as he reports it, or 0 if he has none yet."""
    return number(getattr(trauma_state, "level", None)) or 0.0


def plain_expert(name: Any) -> str:
    """Return the last part of an expert's name: `wounded` of `blend:wounded`."""
    return name.rpartition(":")[2] if isinstance(name, str) else ""


def given(**measures: Any) -> dict[str, float]:
    """Return the measures that are finite numbers."""
    found = {name: number(value) for name, value in measures.items()}
    return {name: value for name, value in found.items() if value is not None}
