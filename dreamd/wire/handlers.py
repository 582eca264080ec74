"""One function a method, behind one flat table.

A handler gets the session and its decoded params, and returns the result, or a coroutine of it, which then runs
as a task of that session. Refusals are exceptions that carry their code.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from dreamclient.messages import PROTOCOL_VERSION, Code, Method
from dreamclient.rpc import Notification, Request

import dreamd
from dreamd.clock import Clock
from dreamd.dream.shapes import settle_context
from dreamd.engine import Engine
from dreamd.errors import Refusal, StoreUnavailable
from dreamd.failures import Failures
from dreamd.wire import params
from dreamd.wire.session import Session
from dreamd.wire.typed import UNREADABLE


@dataclass
class Service:
    """What the handlers answer from, and who they ask to stop."""

    engine: Engine
    failures: Failures
    socket: str
    state_dir: Path
    clock: Clock
    stop: Callable[[], None]
    subscribers: set[Session] = field(default_factory=set)
    sessions: Mapping[int, Session] = field(default_factory=dict)  # the server's
    started: float = 0.0  # monotonic s

    def __post_init__(self) -> None:
        self.started = self.clock.monotonic()

    def dispatch(self, session: Session, message: Request | Notification) -> None:
        """Serve one message of a session: the one place where a request becomes an answer."""
        method = TABLE.get(message.method)
        try:
            if method is None:
                raise Refusal(Code.UNKNOWN_METHOD, f"no such method; this is dreamd {dreamd.__version__}")
            if not (session.greeted or method.frozen):
                raise Refusal(Code.HELLO_REQUIRED, "say hello first; see docs/protocol.md")
            result = method.serve(self, session, method.params.decode(message.params))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted and answered
            self._failed(session, message, error)
            return
        if isinstance(result, Coroutine):
            session.own(self._later(session, message, result))
        elif isinstance(message, Request):
            session.respond(message.msgid, result)

    async def _later(
        self, session: Session, message: Request | Notification, work: Coroutine[Any, Any, Any]
    ) -> None:
        try:
            result = await work
        except Exception as error:  # noqa: BLE001 - whatever it is, it is counted and answered
            self._failed(session, message, error)
            return
        if isinstance(message, Request):
            session.respond(message.msgid, result)

    def _failed(self, session: Session, message: Request | Notification, error: Exception) -> None:
        """Every failure is counted; a request is always answered."""
        where = message.method if message.method in TABLE else "unknown method"
        if isinstance(error, Refusal):
            code, text, reason = error.code, str(error), f"refused ({error.code})"
        elif isinstance(error, UNREADABLE):
            code, reason = Code.INVALID_PARAMS, "invalid params"
            text = f"{where}: {params.explain(error, TABLE[where].shape)}"
        elif isinstance(error, StoreUnavailable):
            code, text, reason = Code.UNAVAILABLE, f"{where}: {error}", error.trouble
        else:
            code, text, reason = (
                Code.INTERNAL,
                f"{where}: failed ({type(error).__name__})",
                type(error).__name__,
            )
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

    def forget(self, session: Session) -> None:
        """A session has gone."""
        self.subscribers.discard(session)
        self.engine.leave(session.number)


# --- the session itself ------------------------------------------------------------------------------


def hello(service: Service, session: Session, asked: params.HelloParams) -> dict[str, Any]:
    said = asked.hello
    if said.protocol != PROTOCOL_VERSION:
        raise Refusal(
            Code.WRONG_PROTOCOL,
            f"{said.name} {said.version} speaks protocol {said.protocol}, dreamd {dreamd.__version__} speaks "
            f"{PROTOCOL_VERSION}; upgrade the older of the two and restart it",
        )
    session.name, session.version, session.pid = said.name, said.version, said.pid
    session.provides = frozenset(said.provides) & HOOKS
    session.greeted = True
    service.engine.join(session)
    if said.failures:
        service.failures.from_host(said.failures)
    return {
        "protocol": PROTOCOL_VERSION,
        "name": "dreamd",
        "version": dreamd.__version__,
        "pid": os.getpid(),
        "provides": sorted(TABLE),
        "session": session.number,
        "seeded": service.engine.seeded,
    }


def status(service: Service, session: Session, asked: params.NoParams) -> Coroutine[Any, Any, dict[str, Any]]:
    from dreamd.wire.status import status_of  # not needed by a daemon that nobody looks at

    return status_of(service)


def shutdown(service: Service, session: Session, asked: params.NoParams) -> bool:
    # After this answer has been written.
    asyncio.get_running_loop().call_soon(service.stop)
    return True


def subscribe(service: Service, session: Session, asked: params.NoParams) -> None:
    service.subscribers.add(session)


# --- dreaming ----------------------------------------------------------------------------------------


def context(service: Service, session: Session, asked: params.ContextParams) -> Any:
    ctx = settle_context(asked.context)
    if ctx.failures:
        service.failures.from_host(ctx.failures)
    return service.engine.offer(session, ctx)


def now(service: Service, session: Session, asked: params.NowParams) -> Coroutine[Any, Any, dict[str, Any]]:
    ctx = None if asked.context is None else settle_context(asked.context)
    return service.engine.dream_now(session, ctx, asked.session)


def seed(service: Service, session: Session, asked: params.SeedParams) -> Coroutine[Any, Any, int]:
    return service.engine.seed(asked.seed.origin, asked.seed.readme)


def why(service: Service, session: Session, asked: params.CountParams) -> Any:
    return service.engine.why(asked.n)


# --- looking -----------------------------------------------------------------------------------------


def recent(service: Service, session: Session, asked: params.CountParams) -> Coroutine[Any, Any, Any]:
    return service.engine.store.recent(asked.n)


async def get(service: Service, session: Session, asked: params.DialogParams) -> dict[str, Any]:
    found = await service.engine.store.get(asked.id)
    if found is None:
        raise Refusal(Code.NOT_FOUND, f"no dialogue {asked.id}; `dreamctl recent` lists them")
    return found


def fragments(service: Service, session: Session, asked: params.NoParams) -> Any:
    return sorted(service.engine.friend.fragments, key=lambda fragment: -fragment.weight)


def drift(service: Service, session: Session, asked: params.CountParams) -> Coroutine[Any, Any, Any]:
    return service.engine.store.drift(asked.n)


def stats(service: Service, session: Session, asked: params.NoParams) -> Coroutine[Any, Any, Any]:
    return service.engine.store.stats()


# --- the table ---------------------------------------------------------------------------------------

HOOKS = frozenset({Method.GENERATE, Method.OBSERVE, Method.RECALL})


class _Method(NamedTuple):
    serve: Callable[[Service, Session, Any], Any]
    shape: type[msgspec.Struct]
    params: msgspec.msgpack.Decoder[Any]
    frozen: bool


def _served(
    serve: Callable[[Service, Session, Any], Any], shape: type[msgspec.Struct], *, frozen: bool = False
) -> _Method:
    return _Method(serve, shape, msgspec.msgpack.Decoder(shape), frozen)


TABLE: dict[str, _Method] = {
    Method.HELLO: _served(hello, params.HelloParams, frozen=True),
    Method.STATUS: _served(status, params.NoParams, frozen=True),
    Method.SHUTDOWN: _served(shutdown, params.NoParams, frozen=True),
    Method.SUBSCRIBE: _served(subscribe, params.NoParams),
    Method.CONTEXT: _served(context, params.ContextParams),
    Method.NOW: _served(now, params.NowParams),
    Method.SEED: _served(seed, params.SeedParams),
    Method.WHY: _served(why, params.CountParams),
    Method.DIALOGS_RECENT: _served(recent, params.CountParams),
    Method.DIALOGS_GET: _served(get, params.DialogParams),
    Method.FRAGMENTS: _served(fragments, params.NoParams),
    Method.DRIFT: _served(drift, params.CountParams),
    Method.STATS: _served(stats, params.NoParams),
}
