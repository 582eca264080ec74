"""The activity of leo: when the last dream was, when the next may begin, and whether the dreams speak."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dreamclient.messages import Method

from dreamd.ctl.daemon.source import Refused, Source, Unreachable
from dreamd.ctl.terminal.dialogues import count_of, ending_in_words, paused_in_words
from dreamd.ctl.terminal.layout import format_moment, format_span
from dreamd.ctl.terminal.output import command_to_copy

LATEST = 10  # dialogues that are counted
PATIENCE_S = 1.0  # a daemon whose disk hangs still answers `status`

Row = Mapping[str, Any]


def activity_of(daemon: Source, status: Row, now: float) -> dict[str, Any]:
    """Return {last: {dialog, at, outcome, lines, fed}, next: {reason, not_before}, dreams: {spoke, of}}. `last` and
    `dreams` are None if the database does not answer, `last` also if there was no dialogue."""
    try:
        recent = daemon.call(Method.DIALOGS_RECENT, LATEST, timeout_s=PATIENCE_S)
        found: dict[str, Any] = {"last": _last_dream(recent), "dreams": _spoken_counts(recent)}
    except (Refused, Unreachable, KeyError, TypeError):  # the last two: of another version
        found = {"last": None, "dreams": None}
    return {**found, "next": _next_dream(status, now)}


def _last_dream(recent: Sequence[Row]) -> dict[str, Any] | None:
    if not recent:
        return None
    last = recent[0]
    return {
        "dialog": last["id"],
        "at": last["finished_at"] or last["started_at"],
        "outcome": last["outcome"],
        "lines": last["lines"],
        "fed": last.get("fed", True),
    }


def _spoken_counts(recent: Sequence[Row]) -> dict[str, int]:
    ended = [dialogue["lines"] > 0 for dialogue in recent if dialogue["finished_at"] is not None]
    return {"spoke": sum(ended), "of": len(ended)}


def can_dream(session: Row) -> bool:
    """Return whether a session provides the hooks that a dialogue needs."""
    return {Method.GENERATE, Method.OBSERVE} <= set(session["provides"])


def hook_rows(hooks: Row) -> Iterator[tuple[str, str]]:
    """Yield the latencies of the hooks as labelled text."""
    for name, hook in hooks.items():
        calls = count_of(hook["calls"], "call")
        yield name, f"{calls}, p50 {hook['p50_ms']:.1f} ms, p99 {hook['p99_ms']:.1f} ms"


def is_silent(dreams: Row | None) -> bool:
    """Return whether dialogues ended, and none of them spoke."""
    return bool(dreams and dreams["of"] and not dreams["spoke"])


def _next_dream(status: Row, now: float) -> dict[str, Any]:
    """Return what prevents the next dream, in the order in which the gate decides."""
    able = [one for one in status.get("sessions", ()) if can_dream(one)]
    idle = [one for one in able if one.get("dreaming") is None]
    waits = [max((one.get("mute_s", 0.0), "mute"), (one.get("cooldown_s", 0.0), "cooldown")) for one in idle]
    wait_s, reason = min(waits, default=(0.0, "busy"))
    if not status.get("enabled", True):
        reason = "disabled"
    elif status.get("state") != "ok":
        reason = "degraded"
    elif paused := status.get("paused"):
        return {"reason": "paused", "not_before": paused["until"]}
    elif not able:
        reason = "no_hooks"
    elif idle and not wait_s:
        reason = "gate"
    return {"reason": reason, "not_before": now + wait_s if reason in ("mute", "cooldown") else None}


_NEXT = {
    "disabled": "not while the setting gate.enabled is false",
    "degraded": "not while the daemon is degraded",
    "no_hooks": "when a leo is connected",
    "busy": "after the dialogue that is running",
    "gate": "after any reply for which a gate opens",
    "mute": "not before {} (the last dialogue said nothing)",
    "cooldown": "not before {} (cooldown)",
}


def activity_rows(found: Row, now: float) -> Iterator[tuple[str, str]]:
    """Yield the result of `activity_of` as labelled text."""
    if found["dreams"] is None:
        yield "last", "not known: the database does not answer"
    elif found["last"] is None:
        yield "last", "no dialogue yet"
    else:
        last = found["last"]
        ago = f"{format_span(max(0.0, now - last['at']))} ago" if last["outcome"] else "now"
        yield "last", f"{ago}, dialogue {last['dialog']}, {ending_in_words(last)}"
    coming = found["next"]
    words = _NEXT.get(coming["reason"], "").format(format_moment(coming["not_before"], now))
    if coming["reason"] == "paused":
        words = f"{paused_in_words(coming['not_before'], now)} (`{command_to_copy('resume')}`)"
    yield "next", words
    if found["dreams"] and found["dreams"]["of"]:
        yield "dreams", f"{found['dreams']['spoke']} of the last {found['dreams']['of']} spoke"
