"""Masking of secrets and personal data in shards, nodes and seeds, by key and by shape. Pure, and linear.

By key: the whole value of a key that names a secret (`secret_names.py`). By shape: everything that
`secret_patterns.py`, `secret_values.py` and `phones.py` find in other texts.
Mappings stay mappings and lists stay lists. Booleans, nil, numbers of other keys, and all keys stay unchanged.
`document.plain_copy` has bounded the depth.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from dreamd.inbox.document.document import Json
from dreamd.inbox.redaction.phones import Phones
from dreamd.inbox.redaction.secret_names import Secrecy, name_words, secrecy_of
from dreamd.inbox.redaction.secret_patterns import mask_email, mask_formats
from dreamd.inbox.redaction.secret_values import REDACTED, is_count, mask_named

# The keys that name a part: never masked at the top of a shard or a node.
SHARD_KEPT = frozenset({"trace_id", "index", "timestamp", "type"})
NODE_KEPT = frozenset({"id", "type", "version", "lane", "trace"})

_PHONE_KEYS = frozenset({"cell", "fax", "mobile", "msisdn", "phone", "tel", "telephone", "whatsapp"})
_NO_PHONE_KEYS = frozenset(
    {"checksum", "commit", "date", "digest", "hash", "id", "ids", "ip", "isbn", "sha", "time", "timestamp"}
    | {"timestamps", "ts", "uuid", "version", "versions"}
)


def redact_parts(
    parts: Iterable[Json],
    masked: Counter[str],
    kept: frozenset[str] = frozenset(),
    regions: tuple[str, ...] = (),
) -> list[Json]:
    """Return copies of `parts` (plain JSON) with secrets masked. `masked` counts them by kind.

    The values of the keys `kept`, at the top of each part, stay unchanged. `regions`: those whose national phone
    numbers are masked.
    """
    return [_Walk(masked, regions).part(part, kept) for part in parts]


class _Walk:
    """The walk through one part. It depends only on that part, so that equal shards give equal results."""

    def __init__(self, masked: Counter[str], regions: tuple[str, ...]) -> None:
        self._masked = masked
        self._phones = Phones(regions)

    def part(self, part: Json, kept: frozenset[str]) -> Json:
        return {key: item if key in kept else self.value(item, key) for key, item in part.items()}

    def value(self, value: Any, key: str) -> Any:
        """Return the masked value of a key."""
        parts = name_words(key)
        if parts[-2:] == ["trace", "id"]:
            return value
        what = secrecy_of(key)
        return self._whole(value, what) if what else self._inside(value, parts)

    def _whole(self, value: Any, what: Secrecy) -> Any:
        """Mask all texts and numbers in the value of a secret key, except counts."""
        if isinstance(value, dict):
            return {key: self._whole(item, what) for key, item in value.items()}
        if isinstance(value, list):
            return [self._whole(item, what) for item in value]
        if isinstance(value, bool) or value in (None, "", REDACTED) or (what == "count" and is_count(value)):
            return value
        self._masked["key"] += 1
        return REDACTED

    def _inside(self, value: Any, parts: list[str]) -> Any:
        if isinstance(value, dict):
            return {key: self.value(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [self._inside(item, parts) for item in value]
        return self._text(value, parts) if isinstance(value, str) else value

    def _text(self, text: str, parts: list[str]) -> str:
        text = mask_named(mask_formats(text, self._masked), self._masked)
        text = mask_email(text, self._masked)
        if parts and parts[-1] in _NO_PHONE_KEYS:
            return text
        return self._phones.mask(text, self._masked, whole=not _PHONE_KEYS.isdisjoint(parts))
