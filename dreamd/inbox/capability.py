"""The token that permits an inbox write: pure.

A token is a mapping: `scopes` (list of strings), `exp_ts` (unix seconds; missing or 0: never), and, where it
is bound or signed, `trace_id` (one trace id, or "*" for any) and `sig`. The signature is the HMAC-SHA256, in
hexadecimal, of the token's canonical form: JSON of all but `sig`, keys sorted, no blanks, UTF-8. Signed
tokens always expire. No token, and nothing of one, is ever in a message.
"""

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence

import msgspec

from dreamd.inbox.document import Json, check_trace_id, plain
from dreamd.inbox.errors import CapabilityError, ValidationError

WRITE_SCOPE = "memory.inbox.dreams.write"
ANY_TRACE = "*"
LEAST_KEY_BYTES = 32  # as long as the digest: a shorter key would be the weaker part (RFC 2104, section 3)

REASONS = ("malformed", "expiry", "expired", "scope", "trace", "unsigned", "signature")


def check(
    token: object,
    trace_id: str,
    *,
    now_s: float,
    scope: str = WRITE_SCOPE,
    require_expiry: bool = False,
    require_signed: bool = False,
    key: bytes | None = None,
) -> None:
    """Return where the token permits `scope` for that trace now (unix seconds); else CapabilityError.

    A signature that is there is always checked: without a key nobody can, and the token is refused.
    """
    if not isinstance(token, Mapping):
        raise CapabilityError(
            "malformed", f"the capability token is a {type(token).__name__}, expected a mapping"
        )
    if "sig" in token:
        _check_signature(token, key)
    elif require_signed:
        raise CapabilityError("unsigned", "the capability token carries no signature, and here it must")
    _check_expiry(token, now_s, required=require_expiry or "sig" in token)
    scopes = token.get("scopes")
    if not isinstance(scopes, list | tuple | set | frozenset) or not all(
        isinstance(one, str) for one in scopes
    ):
        raise CapabilityError("malformed", "the capability token's scopes are no list of strings")
    if scope not in scopes:
        raise CapabilityError("scope", f"the capability token lacks the scope {scope}")
    if token.get("trace_id", ANY_TRACE) not in (ANY_TRACE, trace_id):
        raise CapabilityError("trace", "the capability token is bound to another trace id")


def _check_expiry(token: Mapping[object, object], now_s: float, *, required: bool) -> None:
    expiry = token.get("exp_ts", 0)
    if isinstance(expiry, bool) or not isinstance(expiry, int | float) or not _is_time(expiry):
        kind = type(expiry).__name__
        raise CapabilityError(
            "expiry",
            f"exp_ts is a {kind} that is no time; send unix seconds as a finite number, or 0 for none",
        )
    if expiry == 0 and required:
        raise CapabilityError("expiry", "the capability token has no expiry, and here it must have one")
    if expiry != 0 and expiry <= now_s:
        raise CapabilityError("expired", "the capability token has expired")


def _is_time(value: float) -> bool:
    """Finite, and no integer of so many digits that no float holds it."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _check_signature(token: Mapping[object, object], key: bytes | None) -> None:
    if key is None:
        raise CapabilityError(
            "signature", "the capability token is signed, and there is no key here to check it"
        )
    try:
        whole = plain(token, "the token")
    except ValidationError:
        raise CapabilityError("malformed", "the capability token holds what JSON has no word for") from None
    signature = whole.pop("sig")
    if not isinstance(signature, str) or not hmac.compare_digest(
        signature.encode(), _sign(whole, key).encode()
    ):
        raise CapabilityError("signature", "the capability token's signature is wrong")


def mint(scopes: Sequence[str], *, ttl_s: float, now_s: float, key: bytes, trace_id: str = ANY_TRACE) -> Json:
    """A signed token for these scopes, valid for `ttl_s` seconds from `now_s` (unix seconds) on."""
    if not (math.isfinite(ttl_s) and ttl_s > 0):
        raise ValidationError("ttl must be a finite number of seconds above 0")
    if not scopes or not all(isinstance(scope, str) and scope for scope in scopes):
        raise ValidationError("scopes must be a list of one or more words")
    token = {
        "scopes": list(scopes),
        "exp_ts": math.ceil(now_s + ttl_s),
        "trace_id": trace_id if trace_id == ANY_TRACE else check_trace_id(trace_id),
    }
    return token | {"sig": _sign(token, key)}


def _sign(token: Json, key: bytes) -> str:
    return hmac.new(key, msgspec.json.encode(token, order="sorted"), hashlib.sha256).hexdigest()
