"""The answer to `status`: everything an operator asks first. No text of a dream is in it (P14)."""

import asyncio
import os
from typing import TYPE_CHECKING, Any

from dreamclient.messages import PROTOCOL_VERSION

import dreamd
from dreamd.inbox import InboxError
from dreamd.wire.session import Session

if TYPE_CHECKING:
    from dreamd.wire.service import Service


async def status_of(service: "Service") -> dict[str, Any]:
    """The map of DESIGN §12."""
    engine, store = service.engine, service.engine.store
    return {
        "version": dreamd.__version__,
        "protocol": PROTOCOL_VERSION,
        "pid": os.getpid(),
        "uptime_s": service.clock.monotonic() - service.started,
        "socket": service.socket,
        "state_dir": str(service.state_dir),
        "state": f"degraded: {engine.ailment}" if engine.ailment else "ok",
        "seeded": engine.keeper.seeded,
        "sessions": [_session(service, session) for session in service.sessions.values()],
        "decisions": dict(engine.reasons),
        "dialogues": {outcome: n for outcome, n in engine.outcomes.items() if n},
        "hooks": engine.latency.figures(),
        "database": {
            "path": str(store.path),
            **store.sizes(),
            "trouble": store.trouble,
            "notes": store.notes,
        },
        "inbox": await _inbox(service),
        "failures": service.failures.counts,
        "last_errors": list(service.failures.last),
    }


def _session(service: "Service", session: Session) -> dict[str, Any]:
    dreamer = service.engine.dreamer(session.number)
    return {
        "session": session.number,
        "name": session.name,
        "version": session.version,
        "pid": session.pid,
        "provides": sorted(session.provides),
        "connected_s": asyncio.get_running_loop().time() - session.connected_at,
        "dreaming": dreamer.run.dialog if dreamer and dreamer.run else None,
        "mute_s": service.engine.names[dreamer.name].mute_left_s(service.clock.monotonic())
        if dreamer
        else 0.0,
    }


async def _inbox(service: "Service") -> dict[str, Any]:
    delivery = service.engine.delivery
    inbox = delivery.inbox
    about: dict[str, Any] = {"folder": str(inbox.folder), "enabled": inbox.settings.enabled}
    try:
        about |= await asyncio.to_thread(inbox.counts)
    except InboxError as error:
        return about | {"trouble": type(error).__name__}
    return about | {"trouble": delivery.trouble}
