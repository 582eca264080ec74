"""The answer to `status`: everything an operator asks first. No text of a dream is in it (P14)."""

import asyncio
import os
from typing import TYPE_CHECKING, Any

from dreamclient.messages import PROTOCOL_VERSION

import dreamd
from dreamd.engine.dialogues import Dialogues
from dreamd.inbox import InboxError
from dreamd.store.suspension import SUSPENDED
from dreamd.wire.session import Session

if TYPE_CHECKING:
    from dreamd.wire.dispatch import Service


# For what is looked up on a disk, which may hang: `status` is answered within 0.5 s all the same.
PATIENCE_S = 0.3
UNKNOWN_COUNTS = dict.fromkeys(("waiting", "done", "set_aside", "temporaries"))
UNKNOWN_SIZES = dict.fromkeys(("database_bytes", "wal_bytes"))


async def status_of(service: "Service") -> dict[str, Any]:
    """Return what is known of the daemon now; what a disk does not tell in time is null."""
    engine, store = service.engine, service.engine.store
    sizes, inbox = await asyncio.gather(service.sizes.ask(PATIENCE_S), _inbox(service))
    return {
        "version": dreamd.__version__,
        "protocol": PROTOCOL_VERSION,
        "pid": os.getpid(),
        "uptime_s": service.clock.monotonic() - service.started,
        "socket": service.socket,
        "state_dir": str(service.state_dir),
        "state": f"degraded: {engine.ailment}" if engine.ailment else "ok",
        "enabled": engine.settings.gate.enabled,
        "seeded": engine.keeper.seeded,
        "sessions": [_session(service, session) for session in service.sessions.values()],
        "decisions": dict(engine.reasons),
        "dialogues": _dialogues(engine.dialogues),
        "hooks": engine.dialogues.latency.figures(),
        "database": {
            "path": str(store.path),
            **(sizes or UNKNOWN_SIZES),
            "trouble": store.trouble,
            "notes": store.notes,
        },
        "inbox": inbox,
        "failures": service.failures.counts,
        "last_errors": list(service.failures.last),
    }


def _dialogues(dialogues: Dialogues) -> dict[str, int]:
    """Return the dialogues that have ended, by outcome, and those that are suspended."""
    counted = {**dialogues.outcomes, SUSPENDED: len(dialogues.suspended)}
    return {outcome: n for outcome, n in counted.items() if n}


def _session(service: "Service", session: Session) -> dict[str, Any]:
    dreamer = service.engine.dreamer(session.number)
    named = service.engine.names[dreamer.name] if dreamer else None
    cooldown_s = service.engine.settings.gate.cooldown_s
    return {
        "session": session.number,
        "name": session.name,
        "version": session.version,
        "pid": session.pid,
        "provides": sorted(session.provides),
        "connected_s": asyncio.get_running_loop().time() - session.connected_at,
        "dreaming": dreamer.run.about.id if dreamer and dreamer.run else None,
        "mute_s": named.mute_left_s(service.clock.monotonic()) if named else 0.0,
        "cooldown_s": named.cooldown_left_s(service.clock.wall(), cooldown_s) if named else 0.0,
    }


async def _inbox(service: "Service") -> dict[str, Any]:
    delivery = service.engine.delivery
    inbox = delivery.inbox
    about: dict[str, Any] = {"folder": str(inbox.folder), "enabled": inbox.settings.enabled}
    try:
        about |= await service.counts.ask(PATIENCE_S) or UNKNOWN_COUNTS
    except InboxError as error:
        return about | {"trouble": type(error).__name__}
    return about | {"trouble": delivery.trouble}
