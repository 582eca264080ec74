"""The token that permits an inbox write. Pure.

A token is a mapping with `scopes`, which must contain the scope of the write, and `exp_ts` (unix seconds, no expiry if
missing or 0). Other keys are ignored. No message quotes a token or a part of one.
"""

import sys
from collections.abc import Iterable, Mapping

from dreamd.inbox.errors import CapabilityError

WRITE_SCOPE = "memory.inbox.dreams.write"

REASONS = ("malformed", "expiry", "expired", "scope")

_LATEST = sys.float_info.max  # a larger integer is no time


def check_token(token: object, *, now_s: float, require_expiry: bool = False) -> None:
    """Check that the token permits a write now (unix seconds). Raise CapabilityError if it does not."""
    if not isinstance(token, Mapping):
        raise CapabilityError(
            "malformed", f"the capability token is a {type(token).__name__}, expected a mapping"
        )
    scopes = token.get("scopes")
    if isinstance(scopes, str | bytes) or not isinstance(scopes, Iterable):
        raise CapabilityError("malformed", "the capability token's scopes are no list of strings")
    if WRITE_SCOPE not in list(scopes):
        raise CapabilityError("scope", f"the capability token lacks the scope {WRITE_SCOPE}")
    _check_expiry(token.get("exp_ts", 0), now_s, required=require_expiry)


def _check_expiry(expiry: object, now_s: float, *, required: bool) -> None:
    if isinstance(expiry, bool) or not isinstance(expiry, int | float) or not abs(expiry) <= _LATEST:
        kind = type(expiry).__name__
        raise CapabilityError(
            "expiry",
            f"exp_ts is a {kind} that is no time; send unix seconds as a finite number, or 0 for none",
        )
    if expiry == 0 and required:
        raise CapabilityError("expiry", "the capability token has no expiry, and here it must have one")
    if expiry != 0 and expiry <= now_s:
        raise CapabilityError("expired", "the capability token has expired")
