"""The token: who may write, what, until when."""

import math
from typing import Any

import pytest

from dreamd.inbox.capability import REASONS, WRITE_SCOPE, check, mint
from dreamd.inbox.errors import CapabilityError, InboxError, ValidationError

NOW = 1000.0
KEY = bytes(range(32))


def refusal(token: Any, trace_id: str = "t", **options: Any) -> str:
    with pytest.raises(CapabilityError) as refused:
        check(token, trace_id, now_s=NOW, **options)
    assert isinstance(refused.value, RuntimeError)
    assert isinstance(refused.value, InboxError)
    assert refused.value.reason in REASONS
    return refused.value.reason


def token(**parts: Any) -> dict[str, Any]:
    return {"scopes": [WRITE_SCOPE]} | parts


@pytest.mark.parametrize(
    "good",
    [
        token(),
        token(exp_ts=0),
        token(exp_ts=1001),
        token(exp_ts=1000.5),
        token(scopes=("other", WRITE_SCOPE)),
        token(scopes={WRITE_SCOPE}),
        token(trace_id="t"),
        token(trace_id="*", token_id="dev"),
    ],
)
def test_a_token_that_permits(good: dict[str, Any]) -> None:
    assert check(good, "t", now_s=NOW) is None


@pytest.mark.parametrize("odd", [None, "memory.inbox.dreams.write", [WRITE_SCOPE], 7, b"x"])
def test_a_token_that_is_no_mapping(odd: Any) -> None:
    assert refusal(odd) == "malformed"


@pytest.mark.parametrize("scopes", [None, WRITE_SCOPE, 1, [1, WRITE_SCOPE], [None], {WRITE_SCOPE: True}])
def test_scopes_that_are_no_list_of_strings(scopes: Any) -> None:
    assert refusal(token(scopes=scopes)) == "malformed"


@pytest.mark.parametrize("scopes", [[], ["memory"], [WRITE_SCOPE + "x"], [WRITE_SCOPE.upper()]])
def test_a_scope_that_is_lacking(scopes: list[str]) -> None:
    assert refusal(token(scopes=scopes)) == "scope"


@pytest.mark.parametrize("expiry", [math.nan, math.inf, -math.inf, None, "2000", True, False, [2000], {}])
def test_an_expiry_that_is_no_finite_number(expiry: Any) -> None:
    assert refusal(token(exp_ts=expiry)) == "expiry"


@pytest.mark.parametrize("expiry", [1000, 999.9, 1, -5])
def test_an_expiry_in_the_past(expiry: float) -> None:
    assert refusal(token(exp_ts=expiry)) == "expired"


@pytest.mark.parametrize("expiry", [{}, {"exp_ts": 0}])
def test_an_expiry_that_is_required(expiry: dict[str, int]) -> None:
    assert refusal(token(**expiry), require_expiry=True) == "expiry"


def test_a_token_bound_to_another_trace() -> None:
    assert refusal(token(trace_id="other")) == "trace"
    assert refusal(token(trace_id=["t"])) == "trace"


def test_a_signed_token_permits_what_it_says() -> None:
    signed = mint([WRITE_SCOPE], ttl_s=60, now_s=NOW, key=KEY, trace_id="t")
    assert signed["exp_ts"] == 1060
    check(signed, "t", now_s=NOW, key=KEY, require_signed=True)
    check(dict(reversed(signed.items())), "t", now_s=NOW, key=KEY)  # the order of keys is nothing
    assert refusal(signed, "u", key=KEY) == "trace"
    anywhere = mint([WRITE_SCOPE], ttl_s=60, now_s=NOW, key=KEY)
    check(anywhere, "u", now_s=NOW, key=KEY, require_signed=True)


def test_the_signature_covers_all_of_the_token() -> None:
    signed = mint(["other"], ttl_s=60, now_s=NOW, key=KEY, trace_id="t")
    for change in ({"scopes": [WRITE_SCOPE]}, {"exp_ts": 5000}, {"trace_id": "*"}, {"more": 1}):
        assert refusal(signed | change, key=KEY) == "signature"
    short = {name: value for name, value in signed.items() if name != "trace_id"}
    assert refusal(short, key=KEY) == "signature"


@pytest.mark.parametrize("signature", ["", "00" * 32, "é" * 64, 5, None, b"x" * 64])
def test_a_wrong_signature(signature: Any) -> None:
    assert refusal(token(exp_ts=2000, sig=signature), key=KEY) in ("signature", "malformed")


def test_a_signature_is_wanted_and_there_is_none() -> None:
    assert refusal(token(exp_ts=2000), require_signed=True, key=KEY) == "unsigned"


def test_a_signature_that_nobody_can_check() -> None:
    assert refusal(mint([WRITE_SCOPE], ttl_s=60, now_s=NOW, key=KEY)) == "signature"
    assert refusal(mint([WRITE_SCOPE], ttl_s=60, now_s=NOW, key=KEY), key=bytes(32)) == "signature"


def test_a_signed_token_expires() -> None:
    signed = mint([WRITE_SCOPE], ttl_s=60, now_s=NOW - 100, key=KEY)
    assert refusal(signed, key=KEY) == "expired"


@pytest.mark.parametrize("ttl", [0, -1, math.nan, math.inf])
def test_no_token_is_made_without_an_end(ttl: float) -> None:
    with pytest.raises(ValidationError):
        mint([WRITE_SCOPE], ttl_s=ttl, now_s=NOW, key=KEY)


@pytest.mark.parametrize("scopes", [[], [""], [5]])
def test_no_token_is_made_for_odd_scopes(scopes: Any) -> None:
    with pytest.raises(ValidationError):
        mint(scopes, ttl_s=5, now_s=NOW, key=KEY)


def test_no_token_is_made_for_an_odd_trace() -> None:
    with pytest.raises(ValidationError):
        mint([WRITE_SCOPE], ttl_s=5, now_s=NOW, key=KEY, trace_id="../x")


def test_p14_no_refusal_quotes_the_token() -> None:
    """P14: what is in a token is in no message."""
    word = "hunter2"
    for bad in (
        word,
        {"scopes": word},
        token(exp_ts=word),
        token(scopes=[word]),
        token(sig=word),
        token(trace_id=word),
    ):
        with pytest.raises(CapabilityError) as refused:
            check(bad, "t", now_s=NOW, key=KEY)
        assert word not in str(refused.value)


def test_an_expiry_of_400_digits_is_refused_as_the_others():
    with pytest.raises(CapabilityError) as refused:
        check({"scopes": [WRITE_SCOPE], "exp_ts": 10**400}, "t", now_s=0.0)
    assert refused.value.reason == "expiry"
