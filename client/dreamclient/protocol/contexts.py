"""What of a context is sent: no more than the daemon uses, so that each is one send.

A context comes from the host's own code and may hold anything: a measure that refers to all of leo's field would cost
the reply path a fifth of a second. So each part is bounded before it is encoded.
"""

from collections.abc import Mapping
from itertools import islice
from math import isfinite
from typing import Any

from dreamclient.errors import UsageError
from dreamclient.messages import Method
from dreamclient.protocol.rpc import NOTIFICATION, packed

WHOLE_BYTES = 32 * 1024  # up to here a send on a Unix socket was seen to be all or nothing
TEXT_CHARS, TEXT_BYTES = 4000, 12_000  # of the prompt, and of the reply
NAME_CHARS = 100
NUMBERS = 64  # of `math_state`, of which leo's has twenty; and themes
LOOKED_AT = 256  # parts of it, numbers or not


def small_context(ctx: Any) -> dict[str, Any]:
    """Return what to send of a `DreamContext`, or of a mapping with its keys. Raise UsageError if it cannot be sent."""
    given = ctx if isinstance(ctx, Mapping) else vars(ctx)
    small: dict[str, Any] = {"prompt": "", "reply": ""}
    for name in ("prompt", "reply", "expert", "trauma_level", "quality"):
        if (value := given.get(name)) is not None:
            small[name] = _cut(value) if isinstance(value, str) else _number(value)
    for name in ("math_state", "pulse"):
        if (value := given.get(name)) is not None:
            small[name] = _numbers(value)
    small["themes"] = [int(theme) for theme in islice(given.get("themes") or (), NUMBERS)]
    return small


def context_message(ctx: Any, untold: Mapping[str, int]) -> bytes:
    """Return the notification of a context, with the failures that are yet to be told. Raise UsageError if it cannot
    be sent."""
    small = small_context(ctx) | ({"failures": untold} if untold else {})
    data = packed([NOTIFICATION, Method.CONTEXT, [small]])
    if len(data) > WHOLE_BYTES:
        raise UsageError(f"a context of {len(data)} bytes; the limit is {WHOLE_BYTES}")
    return data


def _cut(text: str) -> str:
    if 4 * len(text) <= TEXT_BYTES:
        return text
    return text[:TEXT_CHARS].encode(errors="replace")[:TEXT_BYTES].decode(errors="ignore")


def _number(value: Any) -> float:
    try:
        return value if isinstance(value, int) else float(value)
    except (TypeError, ValueError):
        raise UsageError(f"a {type(value).__name__} in a context; expected a text or a number") from None


def _numbers(value: Any) -> dict[str, float]:
    """The finite numbers of a mapping, or of an object's attributes: one level of them."""
    given = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    found: dict[str, float] = {}
    for name, each in islice(given.items(), LOOKED_AT):
        if hasattr(each, "__float__") and isinstance(name, str) and len(found) < NUMBERS:
            try:
                number = float(each)
            except (TypeError, ValueError, OverflowError):  # an array of several
                continue
            if isfinite(number):
                found[name[:NAME_CHARS]] = number
    return found
