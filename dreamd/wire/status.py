"""The answer to `status`: everything that an operator asks first, and no text of a dream (P14)."""

import asyncio
import os
from typing import Any

from dreamclient.messages import PROTOCOL_VERSION

import dreamd
from dreamd.dream.outcomes import SUSPENDED
from dreamd.engine.dialogues import Dialogues
from dreamd.inbox import InboxError
from dreamd.wire.parts import Parts
from dreamd.wire.session import Session

# How long to wait for facts from a disk, which may hang: `status` is always answered within 0.5 s.
PATIENCE_S = 0.3
UNKNOWN_COUNTS = dict.fromkeys(("waiting", "done", "set_aside", "temporaries"))
UNKNOWN_SIZES = dict.fromkeys(("database_bytes", "wal_bytes"))


async def status_of(parts: Parts) -> dict[str, Any]:
    """Return the state of the daemon. Facts that a disk does not give in time are null."""
    engine, store = parts.engine, parts.store
    sizes, inbox = await asyncio.gather(parts.sizes.ask(PATIENCE_S), _inbox_figures(parts))
    return {
        "version": dreamd.__version__,
        "protocol": PROTOCOL_VERSION,
        "pid": os.getpid(),
        "uptime_s": parts.clock.monotonic() - parts.started_s,
        "socket": parts.socket,
        "state_dir": str(parts.state_dir),
        "state": f"degraded: {engine.degraded_reason}" if engine.degraded_reason else "ok",
        "enabled": engine.gate.settings.enabled,
        "paused": engine.pause.report(),
        "chance": engine.gate.settings.chance,
        "feed": engine.settings.dialogue.feed,
        "seeded": parts.friend.seeded,
        "sessions": [_session_figures(parts, session) for session in parts.sessions.values()],
        "decisions": dict(engine.reasons),
        "dialogues": _dialogue_counts(engine.dialogues),
        "undreams": len(parts.undreaming.waiting),
        "hooks": engine.dialogues.latency.figures(),
        "database": {
            "path": str(store.path),
            **(sizes or UNKNOWN_SIZES),
            "trouble": store.unavailable_reason,
            "notes": store.notes,
        },
        "inbox": inbox,
        "failures": parts.failures.counts,
        "refusals": parts.failures.refusals,
        "last_errors": list(parts.failures.last),
    }


def _dialogue_counts(dialogues: Dialogues) -> dict[str, int]:
    """Return the numbers of ended dialogues, by outcome, and of suspended ones."""
    counted = {**dialogues.outcomes, SUSPENDED: len(dialogues.suspended)}
    return {outcome: n for outcome, n in counted.items() if n}


def _session_figures(parts: Parts, session: Session) -> dict[str, Any]:
    dreamer = parts.engine.dreamer(session.number)
    named = parts.engine.clients[dreamer.name] if dreamer else None
    cooldown_s = parts.engine.gate.settings.cooldown_s
    return {
        "session": session.number,
        "name": session.name,
        "version": session.version,
        "pid": session.pid,
        "provides": sorted(session.provides),
        "connected_s": asyncio.get_running_loop().time() - session.connected_at,
        "dreaming": dreamer.run.about.id if dreamer and dreamer.run else None,
        "mute_s": named.mute_left_s(parts.clock.monotonic()) if named else 0.0,
        "cooldown_s": named.cooldown_left_s(parts.clock.wall(), cooldown_s) if named else 0.0,
    }


async def _inbox_figures(parts: Parts) -> dict[str, Any]:
    inbox = parts.inbox
    about: dict[str, Any] = {"folder": str(inbox.folder), "enabled": inbox.settings.enabled}
    try:
        about |= await parts.counts.ask(PATIENCE_S) or UNKNOWN_COUNTS
    except InboxError as error:
        return about | {"trouble": type(error).__name__}
    return about | {"trouble": parts.delivery.undelivered_reason, "dropped": parts.delivery.dropped}
