"""Calling a host's hooks: which arguments each takes, what each may return, and how its failure is told.

A failure names the type of the exception and its place, never a text of leo or his friend (P14).
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple

from dreamclient.messages import Code, LineMetrics, Method

Hook = Callable[..., Any]

METRICS = tuple(LineMetrics.__annotations__)
# A line is 400 characters in the end; what is far beyond any line is a bug in the hook, and no reason to
# send a message that the daemon would close the connection for.
TEXT_CHARS = 64 * 1024
# What each hook is called with, `meta` not counted, and whether it may get `meta` behind it.
_ARGUMENTS = {Method.GENERATE: (3, True), Method.OBSERVE: (1, True), Method.RECALL: (2, False)}


class Failure(NamedTuple):
    """The error that answers a call which a hook did not: `Peer.fail(msgid, *failure)`."""

    code: int
    message: str
    detail: dict[str, Any] | None = None


class _Refused(Exception):
    """The call is not one that a hook of this host can get."""


class _WrongAnswer(Exception):
    """The hook returned what it may not. The message names types, not values."""


class Hooks:
    """The hooks of one host, any of which may be missing."""

    def __init__(
        self, generate: Hook | None = None, observe: Hook | None = None, recall: Hook | None = None
    ) -> None:
        given = {Method.GENERATE: generate, Method.OBSERVE: observe, Method.RECALL: recall}
        self._hooks = {method: hook for method, hook in given.items() if hook is not None}
        self._arguments: dict[str, int] = {}

    @property
    def provides(self) -> list[str]:
        """The methods that this host serves, as `hello` tells them."""
        return list(self._hooks)

    def invoke(self, method: str, params: list[Any]) -> Any:
        """Call the hook; return what it returned (an awaitable from an async hook). Raises what it raised."""
        hook = self._hooks.get(method)
        if hook is None:
            raise _Refused(Code.UNKNOWN_METHOD, f"this host provides no such hook; it has {self.provides}")
        least, _ = _ARGUMENTS[method]
        if len(params) < least:
            raise _Refused(Code.INVALID_PARAMS, f"{method} takes {least} arguments, got {len(params)}")
        most = self._arguments.get(method) or self._examine(method, hook)
        return hook(*params[:most])

    def _examine(self, method: str, hook: Hook) -> int:
        least, may_get_meta = _ARGUMENTS[method]
        most = least + (may_get_meta and takes(hook, least + 1))
        self._arguments[method] = most
        return most

    def settle(self, method: str, params: list[Any], value: Any) -> Any:
        """What the hook returned as it may cross the wire. Raises where it may not."""
        if method == Method.RECALL:
            return _recalled(value, params[1])
        if method == Method.OBSERVE and value is None:
            return None
        if isinstance(value, Mapping):
            if method == Method.GENERATE:
                return {"text": _text(method, value.get("text")), **_metrics(method, value)}
            taken = value.get("taken")  # whether the host's field got the line
            return _metrics(method, value) | ({"taken": taken} if isinstance(taken, bool) else {})
        if method == Method.GENERATE:
            return _text(method, value)
        raise _WrongAnswer(f"observe returned {type(value).__name__}; expected None or a mapping")

    def failure(self, method: str, error: BaseException) -> Failure:
        """How the peer is told that `invoke` or `settle` raised `error`."""
        if isinstance(error, _Refused):
            return Failure(*error.args)
        hook = self._hooks[method]
        if isinstance(error, _WrongAnswer):
            return Failure(
                Code.HOOK_FAILED, str(error), {"type": "TypeError", "where": defined_at(hook) or method}
            )
        name = type(error).__name__
        where = _raised_at(error.__traceback__) or defined_at(hook) or method
        return Failure(Code.HOOK_FAILED, f"{method} raised {name}", {"type": name, "where": where})


def takes(hook: Hook, count: int) -> bool:
    """Whether `hook` takes `count` positional arguments. One with *args does, but not where **kwargs stands
    beside it: that is a wrapper, which says nothing about what it wraps."""
    try:
        kinds = [parameter.kind for parameter in inspect.signature(hook).parameters.values()]
    except (TypeError, ValueError):  # some builtins have none
        return False
    one = inspect.Parameter
    positional = kinds.count(one.POSITIONAL_ONLY) + kinds.count(one.POSITIONAL_OR_KEYWORD)
    return positional >= count or (one.VAR_POSITIONAL in kinds and one.VAR_KEYWORD not in kinds)


def defined_at(hook: Hook) -> str | None:
    """`file.py:12 in name` of a hook written in Python."""
    function = getattr(hook, "func", hook)  # a partial's
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return f"{_base(code.co_filename)}:{code.co_firstlineno} in {code.co_name}" if code else None


def _raised_at(traceback: TracebackType | None) -> str | None:
    """Where an exception came from: its innermost frame, or None where that is our own call of the hook."""
    where = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        where = None if code.co_filename == __file__ else (code, traceback.tb_lineno)
        traceback = traceback.tb_next
    return f"{_base(where[0].co_filename)}:{where[1]} in {where[0].co_name}" if where else None


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _text(method: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _WrongAnswer(f"{method} returned {type(value).__name__} for a text; expected str")
    if len(value) > TEXT_CHARS:
        raise _WrongAnswer(f"{method} returned {len(value)} characters; at most {TEXT_CHARS} are taken")
    return value


def _metrics(method: str, value: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for name in METRICS:
        measure = value.get(name)
        if measure is None:
            continue
        number = float(measure) if hasattr(measure, "__float__") else math.nan
        if not math.isfinite(number):
            raise _WrongAnswer(f"{method}: {name} is {type(measure).__name__}; expected a finite number")
        found[name] = number
    return found


def _recalled(value: Any, most: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _WrongAnswer(f"recall returned {type(value).__name__}; expected a sequence of str")
    return [_text(Method.RECALL, text) for text in islice(value, most)]
