"""The service behind the wire: one place where a request becomes an answer, and an event reaches who subscribed."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from dreamclient.messages import Code
from dreamclient.protocol.rpc import Notification, Request

import dreamd
from dreamd.clock import Clock
from dreamd.engine.engine import Engine
from dreamd.errors import Refusal, StoreUnavailable
from dreamd.failures import Failures
from dreamd.inbox import CapabilityError, DamagedFile, InboxUnavailable, UnknownTrace, ValidationError
from dreamd.process.threads import Looker
from dreamd.wire import params
from dreamd.wire.session import UNTAPPED, Session, Tap
from dreamd.wire.trace import Trace


class Served(NamedTuple):
    """How one method is served: by whom, the shape of its params, whether also before `hello` (frozen), and
    whether also as a notification (told), which nobody waits for and no cap of calls holds back."""

    serve: "Callable[[Service, Session, Any], Any]"
    shape: type[msgspec.Struct]
    params: msgspec.msgpack.Decoder[Any]
    frozen: bool
    told: bool


# What a handler may raise on purpose, as the peer is told it.
CODES: dict[type[Exception], int] = {
    CapabilityError: Code.CAPABILITY,
    ValidationError: Code.VALIDATION,
    DamagedFile: Code.VALIDATION,
    UnknownTrace: Code.NOT_FOUND,
    InboxUnavailable: Code.UNAVAILABLE,
    StoreUnavailable: Code.UNAVAILABLE,
}


def _known(error: Exception) -> tuple[int, str]:
    """The code for an error, and the reason under which it is counted."""
    if isinstance(error, InvalidParams):
        return error.code, "invalid params"
    if isinstance(error, Refusal):
        return error.code, f"refused ({error.code})"
    for kind, code in CODES.items():
        if isinstance(error, kind):
            reason = getattr(error, "reason", None) or getattr(error, "trouble", None)
            return code, reason or type(error).__name__
    return Code.INTERNAL, type(error).__name__


class InvalidParams(Refusal):
    """Params that are not of their method's types."""


def _read_params(method: Served, message: Request | Notification) -> Any:
    """Return the params of a message as their type. Whatever reading them raises, they are what is wrong."""
    try:
        return params.read(message.params, method.params)
    except Exception as error:  # noqa: BLE001 - ValueError, OverflowError and RecursionError are among them
        text = f"{message.method}: {params.explain(error, method.shape)}"
        raise InvalidParams(Code.INVALID_PARAMS, text) from None


@dataclass
class Service:
    """What the handlers answer from, and who they ask to stop. Times are monotonic seconds."""

    table: "Mapping[str, Served]"
    engine: Engine
    failures: Failures
    socket: str
    state_dir: Path
    clock: Clock
    stop: Callable[[], None]
    subscribers: set[Session] = field(default_factory=set)
    taps: dict[int, Tap] = field(default_factory=dict)  # of those who trace, by their session
    sessions: Mapping[int, Session] = field(default_factory=dict)  # the server's
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock.monotonic()
        # What `status` looks up on disks that may hang.
        self.sizes: Looker[dict[str, int]] = Looker("dreamd-sizes", lambda: self.engine.store.sizes())
        self.counts: Looker[dict[str, Any]] = Looker(
            "dreamd-counts", lambda: self.engine.delivery.inbox.counts()
        )

    def close(self) -> None:
        """End the threads that look."""
        self.sizes.close()
        self.counts.close()

    def dispatch(self, session: Session, message: Request | Notification) -> None:
        """Serve one message of a session: the one place where a request becomes an answer."""
        method = self.table.get(message.method)
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
            result = method.serve(self, session, _read_params(method, message))
            if isinstance(message, Notification):
                return
            if isinstance(result, Coroutine):
                session.own(self._later(session, message, result))
            else:
                session.respond(message.msgid, result)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted and answered
            self._failed(session, message, error)

    async def _later(self, session: Session, message: Request, work: Coroutine[Any, Any, Any]) -> None:
        try:
            result = await work
            await session.caught_up()
            session.respond(message.msgid, result)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted and answered
            self._failed(session, message, error)

    def _failed(self, session: Session, message: Request | Notification, error: Exception) -> None:
        """Every failure is counted; a request is always answered."""
        where = message.method if message.method in self.table else "unknown method"
        code, reason = _known(error)
        text = str(error)
        if code == Code.INTERNAL:
            text = f"{where}: failed ({reason}); the daemon's status counts it"
            fault = {"message": where, "exception": error, "counted": True}
            asyncio.get_running_loop().call_exception_handler(fault)
        self.failures.count(where, reason, place=f"session {session.number}")
        if isinstance(message, Request):
            session.fail(message.msgid, code, text)

    def publish(self, event: dict[str, Any]) -> None:
        """Tell all subscribers, encoded once."""
        if self.subscribers:
            data = params.encode_event(event)
            for session in self.subscribers:
                session.event(data)

    def trace(self, tracer: Session, only: int | None) -> None:
        """Show a session the messages of all others, or of one, from now on; but never those of who traces: two
        would trace each other's traces without end."""
        tracer.taps = UNTAPPED
        self.taps[tracer.number] = Trace(tracer, only, self.clock).see

    def forget(self, session: Session) -> None:
        """A session has gone."""
        self.subscribers.discard(session)
        self.taps.pop(session.number, None)
        self.engine.leave(session.number)
