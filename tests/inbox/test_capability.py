"""The token: its scopes and its expiry."""

import math
from typing import Any

import pytest

from dreamd.inbox.capability import REASONS, WRITE_SCOPE, check_token
from dreamd.inbox.errors import CapabilityError, InboxError

NOW = 1000.0


def refusal(token: Any, **options: Any) -> str:
    with pytest.raises(CapabilityError) as refused:
        check_token(token, now_s=NOW, **options)
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
        token(token_id="dev"),
        token(scopes={WRITE_SCOPE: True}),
        token(scopes={WRITE_SCOPE: True}.keys()),
        token(scopes=[1, None, WRITE_SCOPE]),
        token(scopes=iter([["x"], WRITE_SCOPE])),
    ],
)
def test_accepts_a_token_that_permits(good: dict[str, Any]) -> None:
    assert check_token(good, now_s=NOW) is None


@pytest.mark.parametrize("odd", [None, "memory.inbox.dreams.write", [WRITE_SCOPE], 7, b"x"])
def test_refuses_a_token_that_is_no_mapping(odd: Any) -> None:
    assert refusal(odd) == "malformed"


@pytest.mark.parametrize("scopes", [None, WRITE_SCOPE, WRITE_SCOPE.encode(), 1])
def test_refuses_empty_scopes(scopes: Any) -> None:
    assert refusal(token(scopes=scopes)) == "malformed"


@pytest.mark.parametrize("scopes", [[], {}, [None], ["memory"], [WRITE_SCOPE + "x"], [WRITE_SCOPE.upper()]])
def test_refuses_a_missing_scope(scopes: Any) -> None:
    assert refusal(token(scopes=scopes)) == "scope"


@pytest.mark.parametrize("expiry", [math.nan, math.inf, -math.inf, None, "2000", True, False, [2000], {}])
def test_refuses_an_expiry_that_is_no_finite_number(expiry: Any) -> None:
    assert refusal(token(exp_ts=expiry)) == "expiry"


@pytest.mark.parametrize("expiry", [1000, 999.9, 1, -5])
def test_refuses_an_expired_token(expiry: float) -> None:
    assert refusal(token(exp_ts=expiry)) == "expired"


@pytest.mark.parametrize("expiry", [{}, {"exp_ts": 0}])
def test_refuses_a_token_without_a_required_expiry(expiry: dict[str, int]) -> None:
    assert refusal(token(**expiry), require_expiry=True) == "expiry"


def test_ignores_other_keys_of_a_token() -> None:
    """The signature of an earlier version is accepted too."""
    check_token(token(exp_ts=2000, trace_id="other", sig="00" * 32), now_s=NOW)


def test_p14_no_refusal_quotes_the_token() -> None:
    """P14: no message holds contents of a token."""
    word = "hunter2"
    for bad in (
        word,
        {"scopes": word},
        token(exp_ts=word),
        token(scopes=[word]),
    ):
        with pytest.raises(CapabilityError) as refused:
            check_token(bad, now_s=NOW)
        assert word not in str(refused.value)


def test_refuses_an_expiry_of_400_digits():
    with pytest.raises(CapabilityError) as refused:
        check_token({"scopes": [WRITE_SCOPE], "exp_ts": 10**400}, now_s=0.0)
    assert refused.value.reason == "expiry"
