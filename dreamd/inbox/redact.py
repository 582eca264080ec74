"""Masking of secrets and personal data in shards, nodes and seeds, by key and by shape. Pure, and linear.

By key: the whole value under a key such as `password`, `authToken` or `x-api-key`, matched as whole words after
splitting camelCase, kebab and snake, so that `tokens`, `author` and `token_count` keep theirs. By shape: what
`shapes.py` and `phones.py` find in any other text. Mappings stay mappings and lists lists; booleans, nil, and
numbers under other keys stay as they are; keys are never touched. The depth is what `document.plain` let pass.
"""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from dreamd.inbox.document import Json
from dreamd.inbox.phones import Phones
from dreamd.inbox.shapes import REDACTED, mask_email, mask_secrets

# What names a part rather than telling somebody something: never masked at the top of a shard or a node.
SHARD_KEPT = frozenset({"trace_id", "index", "timestamp", "type"})
NODE_KEPT = frozenset({"id", "type", "version", "lane", "trace"})

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")

_SECRET = frozenset(
    {"apikey", "auth", "authkey", "authorization", "authtoken", "accesskey", "accesstoken", "bearer"}
    | {
        "clientsecret",
        "cookie",
        "cookies",
        "credential",
        "credentials",
        "cvc",
        "cvv",
        "jwt",
        "mnemonic",
        "oauth",
    }
    | {
        "otp",
        "passcode",
        "passphrase",
        "passwd",
        "password",
        "passwords",
        "privatekey",
        "pwd",
        "refreshtoken",
    }
    | {"secret", "secretkey", "secrets", "sessiontoken", "setcookie", "token"}
)
_SECRET_PAIRS = frozenset(
    {("pass", "phrase"), ("pass", "code"), ("pass", "word"), ("app", "key")}
    | {
        (kind, "key")
        for kind in ("api", "private", "access", "signing", "encryption", "ssh", "master", "account")
    }
)
# A secret's word beside one of these tells about it: token_count, auth_method, max_token.
_ABOUT_LAST = frozenset(
    {"at", "attempts", "budget", "changed", "consent", "count", "counts", "created", "domain", "enabled"}
    | {"endpoint", "error", "errors", "expiration", "expires", "expiry", "failed", "failures", "id", "ids"}
    | {"index", "kind", "length", "level", "limit", "method", "mode", "name", "names", "policy", "position"}
    | {
        "present",
        "provider",
        "required",
        "rotated",
        "scheme",
        "size",
        "status",
        "strength",
        "timestamp",
        "ts",
    }
    | {"ttl", "type", "types", "updated", "uri", "url", "usage", "used", "valid", "version"}
)
_ABOUT_FIRST = frozenset({"has", "is", "max", "min", "n", "no", "num", "requires", "total"})

_PHONE_KEYS = frozenset({"cell", "fax", "mobile", "msisdn", "phone", "tel", "telephone", "whatsapp"})
_NO_PHONE_KEYS = frozenset(
    {"checksum", "commit", "date", "digest", "hash", "id", "ids", "ip", "isbn", "sha", "time", "timestamp"}
    | {"timestamps", "ts", "uuid", "version", "versions"}
)


def redact(parts: Iterable[Json], masked: Counter[str], kept: frozenset[str] = frozenset()) -> list[Json]:
    """Copies of `parts` (plain JSON) with what is secret masked; `masked` counts by kind.

    The values of the keys `kept`, at the top of each part, stay as they are.
    """
    return [_Walk(masked).part(part, kept) for part in parts]


class _Walk:
    """The walk through one part. It depends on that part alone, so that a shard sent again comes out the same."""

    def __init__(self, masked: Counter[str]) -> None:
        self._masked = masked
        self._phones = Phones()

    def part(self, part: Json, kept: frozenset[str]) -> Json:
        return {key: item if key in kept else self.value(item, _words(key)) for key, item in part.items()}

    def value(self, value: Any, words: list[str]) -> Any:
        """The value, masked, that stood under a key of these words."""
        if words[-2:] == ["trace", "id"]:
            return value
        return self._whole(value) if is_secret(words) else self._inside(value, words)

    def _whole(self, value: Any) -> Any:
        """All text and all numbers in a value that is secret by its key."""
        if isinstance(value, dict):
            return {key: self._whole(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._whole(item) for item in value]
        if isinstance(value, bool) or value in (None, "", REDACTED):
            return value
        self._masked["key"] += 1
        return REDACTED

    def _inside(self, value: Any, words: list[str]) -> Any:
        if isinstance(value, dict):
            return {key: self.value(item, _words(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._inside(item, words) for item in value]
        return self._text(value, words) if isinstance(value, str) else value

    def _text(self, text: str, words: list[str]) -> str:
        text = mask_email(mask_secrets(text, self._masked), self._masked)
        if words and words[-1] in _NO_PHONE_KEYS:
            return text
        return self._phones.mask(text, self._masked, whole=not _PHONE_KEYS.isdisjoint(words))


def _words(key: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(key)]


def is_secret(words: list[str]) -> bool:
    """Whether a key of these words names a secret."""
    if not words or words[-1] in _ABOUT_LAST or words[0] in _ABOUT_FIRST:
        return False
    return not _SECRET.isdisjoint(words) or not _SECRET_PAIRS.isdisjoint(pairwise(words))
