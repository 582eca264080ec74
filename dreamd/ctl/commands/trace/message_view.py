"""A readable view of one message of the socket: unpacked as far as it was kept, with the texts of dreams hidden."""

import re
from math import isfinite
from typing import Any, NamedTuple

from dreamclient.messages import NESTING, Method
from dreamclient.protocol.rpc import NOTIFICATION, REQUEST, RESPONSE
from msgpack import Unpacker
from msgpack.exceptions import OutOfData

from dreamd.ctl.daemon.completers import METHODS

CUT = "…"  # shown if the data ends here, or nests too deep

TYPES = {(4, REQUEST): "call", (4, RESPONSE): "answer", (3, NOTIFICATION): "notification"}

# The known keys of a host, which may send others. docs/reference/protocol.md describes them.
KEYS = frozenset({
    "added", "added_at", "arousal", "cap_token", "dialog", "entropy", "expert", "failures", "field", "math_state",
    "missing", "name", "novelty", "origin", "overlap", "pid", "private", "prompt", "protocol", "provides", "pulse",
    "quality", "readme", "reply", "result", "seed", "taken", "text", "themes", "trauma", "trauma_level", "type",
    "undone", "version", "weight", "where",
})  # fmt: skip
# The keys of leo's own `math_state`, which docs/reference/protocol.md lists. Other hosts may put anything there.
MATH_STATE = frozenset({
    "active_theme_count", "arousal", "emerging_score", "entropy", "expert_id", "expert_semantic", "expert_temp",
    "fading_score", "metaleo_weight", "novelty", "overthinking_enabled", "pulse", "quality", "reply_len",
    "rings_present", "total_themes", "trauma_level", "unique_ratio", "used_metaleo",
})  # fmt: skip
# The keys whose values are names. A value of theirs that is no name is hidden, as is every other text.
_NAMES = frozenset({
    "client", "folder", "kind", "method", "name", "outcome", "path", "provides", "reason", "role", "socket",
    "speaker", "state", "state_dir", "trace_id", "trouble", "type", "version", "where",
})  # fmt: skip
_NAME = re.compile(r"[\w.:/<>+-]{1,200}( in [\w.<>]{1,100})?|", re.ASCII)
# Below these keys a host, or another memory system, may put anything.
_FREE = frozenset({"added", "cap_token", "math_state", "matada_nodes", "payload", "result", "seed", "shards"})
_KEY, _STATE_KEY, _ERROR, _METHOD = "\0key", "\0state", "\0error", "\0method"  # for values that have no key
# What the texts among the params of a method are: all of them, or each in its place.
_PARAMS: dict[str, str | tuple[str, ...]] = {
    Method.CHECKPOINT: "name",
    Method.DELETE_CHECKPOINT: "name",
    Method.RESTORE: "name",
    Method.FRAGMENTS: "name",
    Method.INBOX_READ: "trace_id",
    Method.INBOX_ACK: "trace_id",
    Method.ERROR: _ERROR,
    Method.UNOBSERVE: ("added", ""),
}


class Unpacked(NamedTuple):
    """An unpacked message. `type`: one of TYPES, or `unreadable`. `values`: the params or the result. `hidden`: the
    places in the data that must not be shown."""

    type: str
    msgid: int | None
    method: str | None
    error: Any
    values: Any
    hidden: list[slice]


def unpack_message(data: bytes, *, ours: bool, show_text: bool) -> Unpacked:
    """Unpack a message, or the beginning of one. `ours`: the daemon sent it, so its errors hold no text (P14)."""
    everything = [] if show_text else [slice(None)]
    return _Reader(data, ours, show_text).message() or Unpacked(
        "unreadable", None, None, None, None, everything
    )


def in_hex(data: bytes, hidden: list[slice]) -> str:
    """Return the bytes in hexadecimal, each hidden byte as `..`."""
    pairs = data.hex(" ").split()
    for part in hidden:
        pairs[part] = [".."] * len(pairs[part])
    return "".join(pairs)


class _Reader:
    def __init__(self, data: bytes, ours: bool, show_text: bool) -> None:
        self._data = data
        self._ours = ours
        self._show_text = show_text
        self._unpacker = Unpacker(unicode_errors="replace")
        self._unpacker.feed(data)
        self._hidden: list[slice] = []
        self._ended = False

    def message(self) -> Unpacked | None:
        """Return the whole message, or None if it is no message."""
        if _opening_kind(self._data[0]) != "array":
            return None
        items, kind = self._unpacker.read_array_header(), self._value()
        name = TYPES.get((items, kind)) if type(kind) is int else None
        if name is None:
            return None
        msgid = None if name == "notification" else self._value()
        method = None if name == "answer" else self._value(_METHOD)
        if not (msgid is None or type(msgid) is int) or not (method is None or isinstance(method, str)):
            return None
        error = self._value(_ERROR) if name == "answer" else None
        values = self._value(_PARAMS.get(method or "", ""))
        return Unpacked(name, msgid, method, error, values, self._hidden)

    def _value(self, key: str | tuple[str, ...] = "", *, free: bool = False, depth: int = 0) -> Any:
        """Return the next value. `key`: the key that it belongs to. `free`: it may hold anything."""
        start = self._unpacker.tell()
        if self._ended or start >= len(self._data) or depth > NESTING + 2:
            self._ended = True
            self._hide(start)
            return CUT
        try:
            match _opening_kind(self._data[start]):
                case "array":
                    return self._array(key, free, depth + 1)
                case "map":
                    return self._map(_STATE_KEY if key == "math_state" else _KEY, free, depth + 1)
            value = self._unpacker.unpack()
        except (OutOfData, ValueError):
            self._ended = True
            self._hide(start)
            return CUT
        return self._shown(value, key, free, start)

    def _array(self, key: str | tuple[str, ...], free: bool, depth: int) -> list[Any]:
        values: list[Any] = []
        for place in range(self._unpacker.read_array_header()):
            if self._ended:
                break
            own = key if isinstance(key, str) else (*key, "")[min(place, len(key))]
            values.append(self._value(own, free=free or own in _FREE, depth=depth))
        return values

    def _map(self, keys: str, free: bool, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for place in range(self._unpacker.read_map_header()):
            key = str(self._value(keys, free=free, depth=depth))
            if self._ended:
                break
            key = f"{key} #{place}" if key in values else key  # two hidden keys may look equal
            made_up = not (self._ours or key in KEYS)
            values[key] = self._value(key, free=free or made_up or key in _FREE, depth=depth)
        return values

    def _shown(self, value: Any, key: str | tuple[str, ...], free: bool, start: int) -> Any:
        if isinstance(value, float) and not isfinite(value):
            return str(value)  # JSON has none of these
        if value is None or isinstance(value, bool | int | float):
            return value
        if key == _METHOD and isinstance(value, bytes):  # as pynvim sends it
            value = value.decode(errors="replace")
        if isinstance(value, str) and (self._show_text or self._is_name(value, key, free)):
            return value
        if isinstance(value, bytes) and self._show_text:
            return value.hex()
        self._hide(start, self._unpacker.tell())
        if isinstance(value, str | bytes):
            return f"<{len(value)} {'chars' if isinstance(value, str) else 'bytes'}>"
        return f"<{type(value).__name__}>"

    def _is_name(self, text: str, key: str | tuple[str, ...], free: bool) -> bool:
        """Return whether a text may be shown. The daemon's own keys and errors are never texts of a dream."""
        ours = self._ours and not free
        if key == _KEY:
            return ours or (not free and text in KEYS)
        if key == _STATE_KEY:
            return text in MATH_STATE
        if key == _METHOD:
            return text in METHODS
        if key == _ERROR:
            return ours
        return not free and key in _NAMES and _NAME.fullmatch(text) is not None

    def _hide(self, start: int, end: int | None = None) -> None:
        if not self._show_text:
            self._hidden.append(slice(start, end))


def _opening_kind(first: int) -> str:
    """Return "array" or "map" if a value that begins with this byte is one, or else an empty string."""
    if 0x90 <= first <= 0x9F or first in (0xDC, 0xDD):
        return "array"
    return "map" if 0x80 <= first <= 0x8F or first in (0xDE, 0xDF) else ""
