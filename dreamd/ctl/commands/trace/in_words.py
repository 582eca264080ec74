"""What a message of the socket holds, in words: its parameters with their names, long lists folded."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from dreamclient.messages import Method

from dreamd.ctl.commands.trace.message_view import CUT
from dreamd.ctl.daemon.source import CODES

LONGEST, SHOWN = 8, 3  # entries of a list that is shown whole, and of a longer one
# The names of the params of each method that has any, but for those whose one param is a map.
PARAMS: Mapping[str, Sequence[str]] = {
    Method.NOW: ("context", "session"),
    Method.PAUSE: ("seconds",),
    **dict.fromkeys((Method.WHY, Method.CHECKPOINTS), ("n",)),
    **dict.fromkeys((Method.DIALOGS_RECENT, Method.DRIFT), ("n", "before")),
    **dict.fromkeys((Method.DIALOGS_GET, Method.DIALOGS_REPLAY), ("id",)),
    Method.DIALOGS_SEARCH: ("words", "n", "before"),
    Method.FRAGMENTS: ("checkpoint", "before"),
    Method.DIALOGS_WHENCE: ("words", "n", "skip"),
    Method.DROP: ("ids",),
    Method.CHECKPOINT: ("name", "again"),
    Method.RESTORE: ("name", "before"),
    Method.DELETE_CHECKPOINT: ("name",),
    Method.IMPORT: ("fragments",),
    Method.TRACE: ("session",),
    Method.INBOX_LIST: ("n", "after"),
    Method.INBOX_READ: ("trace_id",),
    Method.INBOX_ACK: ("trace_id", "saved_ts"),
    Method.GENERATE: ("seed", "temperature", "semantic_weight", "meta"),
    Method.OBSERVE: ("text", "meta"),
    Method.RECALL: ("query", "n"),
    Method.UNOBSERVE: ("what", "meta"),
    Method.ERROR: ("code", "message"),
}
_HIDDEN = re.compile(r"<\d+ (chars|bytes)>( #\d+)?")


def params_in_words(method: str | None, params: Any) -> str:
    """Return the params of a call or a notification, each behind its name. One map alone stands for its entries."""
    if not isinstance(params, list):
        return _in_words(params)
    if len(params) == 1 and isinstance(params[0], dict):
        return _entries(params[0])
    names = PARAMS.get(method or "", ())
    named = [f"{name}: {_in_words(value)}" for name, value in zip(names, params, strict=False)]
    return ", ".join([*named, *map(_in_words, params[len(named) :])]) or "nothing"


def result_in_words(result: Any) -> str:
    """Return the result of a call."""
    return _entries(result) if isinstance(result, dict) else _in_words(result)


def error_in_words(error: Any) -> str:
    """Return the error of an answer: the name and number of its code, its message, and its details."""
    if not isinstance(error, list) or not error:
        return _in_words(error)
    code, *rest = error
    name = CODES.get(code) if isinstance(code, int) else None
    head = f"{name} ({code})" if name else _in_words(code)
    return ", ".join([head, *map(result_in_words, rest)])


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{_entries(value)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_folded(value))}]"
    if isinstance(value, str) and (value == CUT or _HIDDEN.fullmatch(value)):
        return value
    return json.dumps(round(value, 3) if isinstance(value, float) else value, ensure_ascii=False)


def _entries(found: Mapping[str, Any]) -> str:
    """Return the entries of a map. Those whose keys are hidden are counted."""
    shown = {key: value for key, value in found.items() if not _HIDDEN.fullmatch(key)}
    entries = [f"{key}: {_in_words(value)}" for key, value in shown.items()]
    hidden = [f"{len(found) - len(shown)} with hidden names"] if len(shown) < len(found) else []
    return ", ".join(entries + hidden)


def _folded(values: Sequence[Any]) -> list[str]:
    if len(values) <= LONGEST:
        return [*map(_in_words, values)]
    more = CUT if values[-1] == CUT else f"{len(values) - SHOWN} more"
    return [*map(_in_words, values[:SHOWN]), f".. {more}"]
