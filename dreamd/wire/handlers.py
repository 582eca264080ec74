"""One function for each method, in one flat table. Those of the friend are in friend_handlers.py.

A handler gets the session and its decoded params. It returns the result, or a coroutine of it that runs as a task of
the session. A refusal is an exception with a code (`dispatch.CODES`).
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from dreamclient.messages import MESSAGE_BYTES, NESTING, PROTOCOL_VERSION, Code, Method

import dreamd
from dreamd.dream.model import Context
from dreamd.dream.replay import first_difference
from dreamd.errors import Refusal, Unreadable
from dreamd.wire import friend_handlers, params
from dreamd.wire.codec import codec_that_reads, encode_message, too_deep
from dreamd.wire.dispatch import ServedMethod
from dreamd.wire.parts import Parts
from dreamd.wire.session import Session

# --- the session itself ------------------------------------------------------------------------------


def greet_session(parts: Parts, session: Session, asked: params.HelloParams) -> dict[str, Any]:
    said = asked.hello
    if said.protocol != PROTOCOL_VERSION:
        version = said.version or "(version not said)"
        raise Refusal(
            Code.WRONG_PROTOCOL,
            f"{said.name} {version} speaks protocol {said.protocol}, dreamd {dreamd.__version__} speaks "
            f"{PROTOCOL_VERSION}; upgrade the older of the two and restart it",
        )
    session.name, session.version, session.pid = said.name, said.version, said.pid
    session.provides = frozenset(said.provides) & HOOKS
    session.field = said.field
    session.greeted = True
    parts.engine.join(session)
    parts.undreaming.wake()  # after what the session may have to dream
    _count(parts, said)
    return {
        "protocol": PROTOCOL_VERSION,
        "name": "dreamd",
        "version": dreamd.__version__,
        "pid": os.getpid(),
        "provides": sorted(TABLE),
        "session": session.number,
        "seeded": parts.friend.seeded,
    }


def get_status(parts: Parts, session: Session, asked: params.NoParams) -> Coroutine[Any, Any, dict[str, Any]]:
    from dreamd.wire.status import status_of  # imported only if needed

    return status_of(parts)


def shut_down(parts: Parts, session: Session, asked: params.NoParams) -> bool:
    # Stop after this answer has been written.
    asyncio.get_running_loop().call_soon(parts.stop)
    return True


def subscribe_events(parts: Parts, session: Session, asked: params.NoParams) -> None:
    parts.subscriptions.subscribers.add(session)


def trace_messages(parts: Parts, session: Session, asked: params.TraceSubscribeParams) -> None:
    if asked.session is not None and asked.session not in parts.sessions:
        raise Refusal(Code.NOT_FOUND, f"no session {asked.session}; `dreamctl status` lists them")
    parts.subscriptions.trace(session, asked.session)


# --- dreaming ----------------------------------------------------------------------------------------


def offer_context(
    parts: Parts, session: Session, asked: params.ContextParams | params.UsualContextParams
) -> Any:
    return parts.engine.offer(session, _take_counts(parts, asked.context))


def _take_counts(parts: Parts, ctx: Context) -> Context:
    """Count what the host counted since its last message, and remove it from the context."""
    if ctx.failures or ctx.private:
        _count(parts, ctx)
        ctx.failures = ctx.private = None
    return ctx


def _count(parts: Parts, told: Context | params.Hello | params.Counted) -> None:
    if told.failures:
        parts.failures.from_host(told.failures)
    if told.private:
        parts.engine.decisions.count_private(told.private, parts.clock.wall())


def count_private(parts: Parts, session: Session, asked: params.CountedParams) -> None:
    _count(parts, asked.counted)


def dream_now(parts: Parts, session: Session, asked: params.NowParams) -> Coroutine[Any, Any, dict[str, Any]]:
    ctx = None if asked.context is None else _take_counts(parts, asked.context)
    return parts.engine.dream_now(session, ctx, asked.session)


def pause_dreams(parts: Parts, session: Session, asked: params.PauseParams) -> Coroutine[Any, Any, Any]:
    return parts.engine.pause.begin(asked.seconds)


def resume_dreams(parts: Parts, session: Session, asked: params.NoParams) -> Coroutine[Any, Any, Any]:
    return parts.engine.pause.end()


def seed_friend(parts: Parts, session: Session, asked: params.SeedParams) -> Coroutine[Any, Any, int]:
    return parts.friend.seed(asked.seed.origin, asked.seed.readme)


def list_decisions(parts: Parts, session: Session, asked: params.CountParams) -> Any:
    return parts.engine.why(asked.n)


# --- looking -----------------------------------------------------------------------------------------


def _packed(page: Any) -> msgspec.Raw:
    """Return an encoded page: 64 pages that wait for a slow reader are 50 MB of rows, most of which Python would keep
    for good."""
    return msgspec.Raw(encode_message(page))


async def list_dialogs(parts: Parts, session: Session, asked: params.PageParams) -> msgspec.Raw:
    async with parts.reading:
        return _packed(await parts.store.recent(asked.n, asked.before))


async def get_dialog(parts: Parts, session: Session, asked: params.DialogParams) -> dict[str, Any]:
    found = await parts.store.get(asked.id)
    if found is None:
        raise Refusal(Code.NOT_FOUND, f"no dialogue {asked.id}; `dreamctl recent` lists them")
    return found


async def replay_dialog(parts: Parts, session: Session, asked: params.DialogParams) -> dict[str, Any]:
    try:
        found = await parts.store.replayable_script(asked.id)
    except Unreadable as error:
        lines = (await get_dialog(parts, session, asked))["lines"]
        return {"id": asked.id, "lines": lines, "same": False, "difference": str(error)}
    difference = first_difference(found)
    return {"id": asked.id, "lines": len(found.lines), "same": difference is None, "difference": difference}


async def search_lines(parts: Parts, session: Session, asked: params.SearchParams) -> msgspec.Raw:
    return _packed(await parts.store.search(asked.words, asked.n, asked.before))


async def find_sources(parts: Parts, session: Session, asked: params.WhenceParams) -> msgspec.Raw:
    return _packed(await parts.store.whence(asked.words, asked.n, asked.skip))


def forget_dialogs(
    parts: Parts, session: Session, asked: params.ForgetParams
) -> Coroutine[Any, Any, dict[str, Any]]:
    return parts.forgetting.forget(asked.what)


def undream_dialogs(
    parts: Parts, session: Session, asked: params.UndreamParams
) -> Coroutine[Any, Any, dict[str, Any]]:
    return parts.undreaming.undream(asked.what)


def get_stats(parts: Parts, session: Session, asked: params.NoParams) -> Coroutine[Any, Any, Any]:
    return parts.store.stats()


# --- the inbox ---------------------------------------------------------------------------------------


async def persist_shards(parts: Parts, session: Session, asked: params.PersistParams) -> dict[str, Any]:
    if not parts.inbox.settings.enabled:
        raise Refusal(Code.UNAVAILABLE, "the inbox is off: inbox.enabled is false")
    what = asked.request
    report = await parts.delivery.for_a_client(parts.inbox.persist, what.seed, what.result, what.cap_token)
    trace_id = what.result["trace_id"]
    parts.events.publish(
        {
            "type": "inbox.written",
            "at": parts.clock.wall(),
            "trace_id": trace_id,
            "path": report["path"],
            "shards": report["shards_written"],
        }
    )
    return report


def list_waiting(parts: Parts, session: Session, asked: params.WaitingParams) -> Coroutine[Any, Any, Any]:
    return parts.delivery.reading(parts.inbox.list, asked.n, asked.after)


ENVELOPE_BYTES = 8  # of an answer besides its result: [1, msgid, nil, ..]


async def read_trace(parts: Parts, session: Session, asked: params.TraceParams) -> msgspec.Raw:
    document = await parts.delivery.reading(parts.inbox.read, asked.trace_id)
    why = f"has more than the {MESSAGE_BYTES} bytes of one message"
    try:
        if too_deep(document, 2 * NESTING):
            raise RecursionError
        data = msgspec.msgpack.encode(document)
    except (OverflowError, RecursionError, UnicodeEncodeError):  # JSON has values that MessagePack lacks
        data, why = (
            b"",
            "holds what no message can: a number of more than 64 bits, text that is no Unicode, or depth",
        )
    if not 0 < len(data) <= MESSAGE_BYTES - ENVELOPE_BYTES:
        remedy = f"`dreamctl inbox show {asked.trace_id}` reads it, or read its file"
        raise Refusal(Code.TOO_LARGE, f"the trace {why}; {remedy}")
    return msgspec.Raw(data)


def acknowledge_trace(parts: Parts, session: Session, asked: params.AckParams) -> Coroutine[Any, Any, Any]:
    return parts.delivery.for_a_client(parts.inbox.ack, asked.trace_id, asked.saved_ts)


# --- the table ---------------------------------------------------------------------------------------

HOOKS = frozenset({Method.GENERATE, Method.OBSERVE, Method.RECALL, Method.UNOBSERVE})


def _serve_with(
    serve: Callable[[Parts, Session, Any], Any],
    shape: type[msgspec.Struct],
    *,
    frozen: bool = False,
    told: bool = False,
) -> ServedMethod:
    return ServedMethod(serve, shape, msgspec.msgpack.Decoder(shape), frozen, told)


TABLE: dict[str, ServedMethod] = {
    Method.HELLO: _serve_with(greet_session, params.HelloParams, frozen=True),
    Method.STATUS: _serve_with(get_status, params.NoParams, frozen=True),
    Method.SHUTDOWN: _serve_with(shut_down, params.NoParams, frozen=True),
    Method.SUBSCRIBE: _serve_with(subscribe_events, params.NoParams),
    Method.TRACE: _serve_with(trace_messages, params.TraceSubscribeParams),
    Method.CONTEXT: _serve_with(offer_context, params.ContextParams, told=True),
    Method.PRIVATE: _serve_with(count_private, params.CountedParams, told=True),
    Method.NOW: _serve_with(dream_now, params.NowParams),
    Method.PAUSE: _serve_with(pause_dreams, params.PauseParams),
    Method.RESUME: _serve_with(resume_dreams, params.NoParams),
    Method.SEED: _serve_with(seed_friend, params.SeedParams),
    Method.WHY: _serve_with(list_decisions, params.CountParams),
    Method.DIALOGS_RECENT: _serve_with(list_dialogs, params.PageParams),
    Method.DIALOGS_GET: _serve_with(get_dialog, params.DialogParams),
    Method.DIALOGS_REPLAY: _serve_with(replay_dialog, params.DialogParams),
    Method.DIALOGS_SEARCH: _serve_with(search_lines, params.SearchParams),
    Method.DIALOGS_WHENCE: _serve_with(find_sources, params.WhenceParams),
    Method.DIALOGS_FORGET: _serve_with(forget_dialogs, params.ForgetParams),
    Method.DIALOGS_UNDREAM: _serve_with(undream_dialogs, params.UndreamParams),
    Method.FRAGMENTS: _serve_with(friend_handlers.list_fragments, params.FragmentsParams),
    Method.DRIFT: _serve_with(friend_handlers.list_drift, params.PageParams),
    Method.CHECKPOINT: _serve_with(friend_handlers.keep_checkpoint, params.CheckpointParams),
    Method.CHECKPOINTS: _serve_with(friend_handlers.list_checkpoints, params.CountParams),
    Method.DELETE_CHECKPOINT: _serve_with(friend_handlers.delete_checkpoint, params.NameParams),
    Method.RESTORE: _serve_with(friend_handlers.restore_friend, params.RestoreParams),
    Method.DROP: _serve_with(friend_handlers.drop_fragments, params.DropParams),
    Method.IMPORT: _serve_with(friend_handlers.import_fragments, params.ImportParams),
    Method.RESEED: _serve_with(friend_handlers.reseed_friend, params.SeedParams),
    Method.STATS: _serve_with(get_stats, params.NoParams),
    Method.INBOX_PERSIST: _serve_with(persist_shards, params.PersistParams),
    Method.INBOX_LIST: _serve_with(list_waiting, params.WaitingParams),
    Method.INBOX_READ: _serve_with(read_trace, params.TraceParams),
    Method.INBOX_ACK: _serve_with(acknowledge_trace, params.AckParams),
}

# After each reply of each leo comes a context: no other message is so frequent.
CODEC = codec_that_reads(Method.CONTEXT, params.UsualContextParams)
