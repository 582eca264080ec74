"""Serving the messages of sessions: find the method, read its params, call its handler, and answer."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

import msgspec
from dreamclient.messages import Code
from dreamclient.protocol.rpc import Notification, Request

import dreamd
from dreamd.errors import Refusal, StoreUnavailable
from dreamd.inbox import CapabilityError, DamagedFile, InboxUnavailable, UnknownTrace, ValidationError
from dreamd.wire import params
from dreamd.wire.parts import Parts
from dreamd.wire.session import Session


class ServedMethod(NamedTuple):
    """A method: its handler and the type of its params. `frozen`: it is served before `hello` too. `told`: it is served
    as a notification too, which has no answer and does not count towards the cap of calls."""

    serve: Callable[[Parts, Session, Any], Any]
    shape: type[msgspec.Struct]
    params: msgspec.msgpack.Decoder[Any]
    frozen: bool
    told: bool


# The exceptions that a handler may raise on purpose, and the codes that the peer gets.
CODES: dict[type[Exception], int] = {
    CapabilityError: Code.CAPABILITY,
    ValidationError: Code.VALIDATION,
    DamagedFile: Code.VALIDATION,
    UnknownTrace: Code.NOT_FOUND,
    InboxUnavailable: Code.UNAVAILABLE,
    StoreUnavailable: Code.UNAVAILABLE,
}


# What the caller asked amiss, and is told: no failure of the daemon.
REFUSALS = (Refusal, CapabilityError, ValidationError, UnknownTrace)
NAMES = {code: name for name, code in vars(Code).items() if name.isupper()}


def _code_and_reason(error: Exception) -> tuple[int, str]:
    """Return the code of an error, and the reason under which it is counted."""
    if isinstance(error, Refusal):
        return error.code, NAMES.get(error.code, "REFUSED")
    for kind, code in CODES.items():
        if isinstance(error, kind):
            reason = getattr(error, "reason", None)
            return code, reason or type(error).__name__
    return Code.INTERNAL, type(error).__name__


class InvalidParams(Refusal):
    """The params have other types than the method's."""


def _read_params(method: ServedMethod, message: Request | Notification) -> Any:
    """Return the decoded params of a message. Raise InvalidParams for any exception while reading them."""
    if isinstance(message.params, params.Params):  # the codec has read them
        return message.params
    try:
        return params.read_params(message.params, method.params)
    except Exception as error:  # noqa: BLE001 - ValueError, OverflowError and RecursionError are among them
        text = f"{message.method}: {params.explain_error(error, method.shape)}"
        raise InvalidParams(Code.INVALID_PARAMS, text) from None


class Dispatcher:
    """The one place where a request becomes an answer: it serves the methods of a table from the parts of the
    daemon."""

    def __init__(self, table: Mapping[str, ServedMethod], parts: Parts) -> None:
        self._table = table
        self._parts = parts

    def dispatch(self, session: Session, message: Request | Notification) -> None:
        """Serve one message of a session."""
        method = self._table.get(message.method)
        try:
            if method is None:
                raise Refusal(
                    Code.UNKNOWN_METHOD,
                    f"no such method; docs/reference/protocol.md lists those of dreamd {dreamd.__version__}",
                )
            if not (session.greeted or method.frozen):
                raise Refusal(Code.HELLO_REQUIRED, "say hello first; see docs/reference/protocol.md")
            if isinstance(message, Notification) and not method.told:
                raise Refusal(Code.INVALID_PARAMS, f"{message.method} is a request")
            result = method.serve(self._parts, session, _read_params(method, message))
            if isinstance(message, Notification):
                return
            if isinstance(result, Coroutine):
                task = session.own(self._later(session, message, result))
                # It never began if the session was lost at once.
                task.add_done_callback(lambda _: result.close())
            else:
                session.respond(message.msgid, result)
        except Exception as error:  # noqa: BLE001 - every error is counted and answered
            self._failed(session, message, error)

    async def _later(self, session: Session, message: Request, work: Coroutine[Any, Any, Any]) -> None:
        try:
            result = await work
            await session.caught_up()
            session.respond(message.msgid, result)
        except Exception as error:  # noqa: BLE001 - every error is counted and answered
            self._failed(session, message, error)

    def _failed(self, session: Session, message: Request | Notification, error: Exception) -> None:
        """Answer a request with the error, and count it: as a refusal if it is one of a request, else as a failure."""
        where = message.method if message.method in self._table else "unknown method"
        code, reason = _code_and_reason(error)
        text = str(error)
        if code == Code.INTERNAL:
            text = f"{where}: failed ({reason}); the daemon's status counts it"
            fault = {"message": where, "exception": error, "counted": True}
            asyncio.get_running_loop().call_exception_handler(fault)
        if isinstance(message, Request) and isinstance(error, REFUSALS):
            self._parts.failures.refusals.add(where, reason)
        else:
            self._parts.failures.count(where, reason, place=f"session {session.number}")
        if isinstance(message, Request):
            session.fail(message.msgid, code, text)

    def forget(self, session: Session) -> None:
        """Remove a closed session from the subscriptions and the engine."""
        self._parts.subscriptions.forget(session)
        self._parts.engine.leave(session.number)
