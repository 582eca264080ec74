"""Cut a context down to what the daemon uses, so that one send is enough.

A context comes from the host's own code and may hold anything: a measure that refers to all of leo's field would cost
the reply path a fifth of a second. So each part is bounded before it is encoded.
"""

from collections.abc import Mapping
from itertools import islice
from math import inf, isfinite, nan
from typing import Any

from dreamclient.errors import UsageError
from dreamclient.messages import Method
from dreamclient.protocol.failures import as_told
from dreamclient.protocol.packing import packed
from dreamclient.protocol.rpc import NOTIFICATION

WHOLE_BYTES = 32 * 1024  # up to here a send on a Unix socket was seen to be all or nothing
TEXT_CHARS, TEXT_BYTES = 4000, 12_000  # of the prompt, and of the reply
NAME_CHARS = 100
NUMBERS = 64  # of `math_state`, of which leo's has twenty; and themes
LOOKED_AT = 256  # parts of it, numbers or not


def small_context(ctx: Any) -> dict[str, Any]:
    """Return the part to send of a `DreamContext`, or of a mapping with its keys. Raise UsageError if it cannot be
    sent."""
    given = ctx if type(ctx) is dict or isinstance(ctx, Mapping) else getattr(ctx, "__dict__", None)
    if given is None:
        raise _refused("it", ctx, "a DreamContext or a mapping")
    small: dict[str, Any] = {"prompt": "", "reply": "", "themes": []}
    for name in ("prompt", "reply", "expert"):
        value = given.get(name)
        if type(value) is str and 4 * len(value) <= TEXT_BYTES:  # nearly always
            small[name] = value
        elif value is not None:
            small[name] = _cut_text(name, value)
    for name in ("trauma_level", "quality"):
        value = given.get(name)
        if value is not None and (measure := _measure(name, value)) is not None:
            small[name] = measure
    for name in ("math_state", "pulse"):
        if (value := given.get(name)) is not None:
            small[name] = _numbers(value)
    if (value := given.get("themes")) is not None:
        small["themes"] = _whole_numbers("themes", value)
    return small


def context_message(ctx: Any, untold: Mapping[str, int]) -> bytes:
    """Return the notification of a context, with the failures and private replies that no message has carried. Raise
    UsageError if it cannot be sent."""
    small = small_context(ctx)
    if untold:
        small |= as_told(untold)
    data = packed([NOTIFICATION, Method.CONTEXT, [small]])
    if len(data) > WHOLE_BYTES:
        raise UsageError(f"a context of {len(data)} bytes; the limit is {WHOLE_BYTES}")
    return data


def private_message(untold: Mapping[str, int]) -> bytes:
    """Return the notification of private replies: their number, and the failures that no message has carried."""
    return packed([NOTIFICATION, Method.PRIVATE, [as_told(untold)]])


def _cut_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _refused(name, value, "a text")
    return value[:TEXT_CHARS].encode(errors="replace")[:TEXT_BYTES].decode(errors="ignore")


def _measure(name: str, value: Any) -> float | None:
    """Return a measure, or None if it is not finite: sent, it would cost the whole context."""
    if type(value) is float and isfinite(value):  # nearly always
        return value
    if not hasattr(value, "__float__"):
        raise _refused(name, value, "a number")
    return number(value)


def _whole_numbers(name: str, value: Any) -> list[int]:
    try:
        return list(map(int, islice(value, NUMBERS)))
    except (TypeError, ValueError, OverflowError):
        raise _refused(name, value, "a sequence of whole numbers") from None


def _refused(name: str, value: Any, expected: str) -> UsageError:
    """Return the error of a context that cannot be sent. It names no value, which may be what was said (P14)."""
    return UsageError(
        f"a context that cannot be sent: {name} is a {type(value).__name__}; expected {expected}"
    )


def _numbers(value: Any) -> dict[str, float]:
    """Return the finite numbers of a mapping, or of an object's attributes: one level of them."""
    given = value if type(value) is dict or isinstance(value, Mapping) else getattr(value, "__dict__", {})
    found: dict[str, float] = {}
    for name, one in islice(given.items(), LOOKED_AT):
        if type(one) is not float:
            one = number(one)
        if one is not None and -inf < one < inf and isinstance(name, str):
            found[name[:NAME_CHARS]] = one
            if len(found) == NUMBERS:
                break
    return found


def number(value: Any) -> float | None:
    """Return `value` as a finite float, or None."""
    try:
        found = float(value) if hasattr(value, "__float__") else nan
    except Exception:  # noqa: BLE001 an array of several, or whatever the host's own type raises
        return None
    return found if isfinite(found) else None
