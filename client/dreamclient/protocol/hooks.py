"""Call a host's hooks: with the arguments that each takes, a check of what it returns, and a report of its failure.

A failure names the type of the exception and its place, never a text of leo or his friend (P14).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import Any, NamedTuple

from dreamclient.messages import ADDED_BYTES, MEASURES, Code, Method
from dreamclient.protocol.contexts import number
from dreamclient.protocol.packing import packed

Hook = Callable[..., Any]

# A line has 400 characters at most. A far longer text is a bug in the hook, and no reason to
# send a message that the daemon would close the connection for.
TEXT_CHARS = 64 * 1024
# What each hook is called with, `meta` not counted, and whether it may get `meta` behind it.
_ARGUMENTS = {
    Method.GENERATE: (3, True),
    Method.OBSERVE: (1, True),
    Method.RECALL: (2, False),
    Method.UNOBSERVE: (2, False),
}


class Failure(NamedTuple):
    """The error that answers a call if the hook failed: `Peer.fail(msgid, *failure)`."""

    code: int
    message: str
    detail: dict[str, Any] | None = None


class _Refused(Exception):
    """The daemon called a hook that this host does not have, or gave it too few arguments."""


class _WrongAnswer(Exception):
    """The hook returned what it may not. The message names the type that was returned and the expected one, no
    values."""


class Hooks:
    """The hooks of one host, any of which may be missing."""

    def __init__(
        self,
        generate: Hook | None = None,
        observe: Hook | None = None,
        recall: Hook | None = None,
        unobserve: Hook | None = None,
    ) -> None:
        given = {Method.GENERATE: generate, Method.OBSERVE: observe, Method.RECALL: recall}
        given[Method.UNOBSERVE] = unobserve
        self._hooks = {method: hook for method, hook in given.items() if hook is not None}
        self._arguments: dict[str, int] = {}  # how many each takes, once it was examined

    @property
    def provides(self) -> list[str]:
        """The methods that this host serves, as `hello` names them."""
        return list(self._hooks)

    def invoke(self, method: str, params: list[Any]) -> Any:
        """Call the hook, and return what it returns (an awaitable from an async hook). Raise what it raises."""
        hook = self._hooks.get(method)
        if hook is None:
            raise _Refused(Code.UNKNOWN_METHOD, f"this host provides no such hook; it has {self.provides}")
        least, may_get_meta = _ARGUMENTS[method]
        if len(params) < least:
            raise _Refused(Code.INVALID_PARAMS, f"{method} takes {least} arguments, got {len(params)}")
        if method not in self._arguments:
            self._arguments[method] = least + (may_get_meta and takes(hook, least + 1))
        return hook(*params[: self._arguments[method]])

    def settle(self, method: str, params: list[Any], value: Any) -> Any:
        """Return the hook's value in the form that is sent. Raise if the hook may not return it."""
        if method == Method.GENERATE and (isinstance(value, str) or not isinstance(value, Mapping)):
            return _text(value)
        if method == Method.RECALL and isinstance(value, Sequence) and not isinstance(value, str):
            return [_text(text) for text in islice(value, params[1])]
        if method in (Method.OBSERVE, Method.UNOBSERVE) and value is None:
            return None
        if method == Method.RECALL or not isinstance(value, Mapping):
            expected = "a sequence of str" if method == Method.RECALL else "None or a mapping"
            raise _WrongAnswer(f"returned {type(value).__name__}; expected {expected}")
        if method == Method.UNOBSERVE:
            return {"undone": bool(value.get("undone", True)), "missing": int(value.get("missing") or 0)}
        measures = {name: _measure(name, one) for name in MEASURES if (one := value.get(name)) is not None}
        if method == Method.GENERATE:
            return {"text": _text(value.get("text")), **measures}
        taken = value.get("taken")  # whether the host's field got the line
        return measures | ({"taken": taken} if isinstance(taken, bool) else {}) | _added(value.get("added"))

    def failure(self, method: str, error: BaseException) -> Failure:
        """Return the error to answer with if `invoke` or `settle` raised `error`."""
        if isinstance(error, _Refused):
            return Failure(*error.args)
        name, message = type(error).__name__, f"{method} raised {type(error).__name__}"
        where = _raised_at(error.__traceback__)
        if isinstance(error, _WrongAnswer):
            name, message, where = "TypeError", f"{method} {error}", None
        where = where or _defined_at(self._hooks[method]) or method
        return Failure(Code.HOOK_FAILED, message, {"type": name, "where": where})


def takes(hook: Hook, count: int) -> bool:
    """Return whether `hook` takes `count` positional arguments. A hook with *args does, unless it has **kwargs too:
    then it is a wrapper, and its signature does not show what the wrapped function takes."""
    try:
        kinds = [parameter.kind for parameter in inspect.signature(hook).parameters.values()]
    except (TypeError, ValueError):  # some builtins have none
        return False
    one = inspect.Parameter
    positional = kinds.count(one.POSITIONAL_ONLY) + kinds.count(one.POSITIONAL_OR_KEYWORD)
    return positional >= count or (one.VAR_POSITIONAL in kinds and one.VAR_KEYWORD not in kinds)


def _defined_at(hook: Hook) -> str | None:
    function = getattr(hook, "func", hook)  # a partial's
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return _place(code, code.co_firstlineno) if code else None


def _raised_at(traceback: TracebackType | None) -> str | None:
    """Return the place of the innermost frame, or None if that is the call of the hook in this file."""
    place = None
    while traceback is not None:
        code = traceback.tb_frame.f_code
        place = None if code.co_filename == __file__ else _place(code, traceback.tb_lineno)
        traceback = traceback.tb_next
    return place


def _place(code: Any, line: int) -> str:
    return f"{code.co_filename.rpartition('/')[2]}:{line} in {code.co_name}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _WrongAnswer(f"returned {type(value).__name__} for a text; expected str")
    if len(value) > TEXT_CHARS:
        raise _WrongAnswer(f"returned {len(value)} characters; at most {TEXT_CHARS} are taken")
    return value


def _added(value: Any) -> dict[str, Any]:
    """Return what a line added to the host's field, in whatever form, for `unobserve`."""
    if value is not None and (size := len(packed(value))) > ADDED_BYTES:
        raise _WrongAnswer(f"returned {size} bytes for added; at most {ADDED_BYTES} are taken")
    return {} if value is None else {"added": value}


def _measure(name: str, value: Any) -> float:
    if (found := number(value)) is None:
        raise _WrongAnswer(f"returned {type(value).__name__} for {name}; expected a finite number")
    return found
