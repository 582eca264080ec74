"""`status`: show how the daemon is, and when leo dreams."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from dreamclient.messages import PROTOCOL_VERSION, Method

from dreamd import __version__
from dreamd.ctl.daemon.activity import activity_of, activity_rows, can_dream, hook_rows, is_silent
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine.relay_state import read_relay_state
from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.layout import (
    format_counts,
    format_moment,
    format_size,
    format_span,
    label_rows,
    terminal_width,
)
from dreamd.ctl.terminal.output import emit_answer, json_option, utc_option


@click.command(short_help="Show health and activity.")
@json_option
@utc_option
@click.pass_obj
def status(target: Target) -> None:
    """Show health and activity: the last dream, the daemon, who is connected, and what went wrong.

    Exit code 1 if the daemon is not well, or if none of the last dialogues spoke.

    \b
    dreamctl status
    dreamctl status --json | jq .decisions
    """
    with target.daemon() as daemon:
        answer = daemon.call(Method.STATUS)
        answer |= activity_of(daemon, answer, time.time())
    if relay := read_relay_state(Path(str(answer.get("state_dir"))), time.time()):
        answer["relay"] = relay
    emit_answer(answer, lambda: show_status(answer, terminal_width(), time.time()))
    if answer.get("state") != "ok" or is_silent(answer["dreams"]):
        raise SystemExit(1)


def show_status(status: Mapping[str, Any], columns: int, now: float) -> str:
    """Return the answer of `status` as text."""
    return label_rows(_status_rows(status, now), columns)


def _status_rows(status: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    for key, rows in _PARTS.items():
        if key in status:
            try:
                yield from list(rows(status, now))
            except (KeyError, TypeError, AttributeError):
                yield key, "not as this dreamctl knows it; --json shows it"


def _daemon_rows(status: Mapping[str, Any], _: float) -> Iterator[tuple[str, str]]:
    words = (
        f"{status['state']}, up {format_span(status['uptime_s'])}, pid {status['pid']}, {status['version']}"
    )
    if (protocol := status.get("protocol")) != PROTOCOL_VERSION:
        words += f", protocol {protocol} (dreamctl {__version__} speaks {PROTOCOL_VERSION})"
    yield "daemon", words


def _session_rows(status: Mapping[str, Any], _: float) -> Iterator[tuple[str, str]]:
    looking = sum(session["name"] == "dreamctl" for session in status["sessions"])
    for session in status["sessions"]:
        if session["name"] != "dreamctl":
            yield "session", _session_words(session)
    if looking > 1:  # besides the one that asks
        yield "session", f"{looking - 1} more of dreamctl"
    if not any(map(can_dream, status["sessions"])):
        yield "session", "none that could dream"


def _hook_rows(status: Mapping[str, Any], _: float) -> Iterator[tuple[str, str]]:
    yield from hook_rows(status["hooks"])


def _database_rows(status: Mapping[str, Any], _: float) -> Iterator[tuple[str, str]]:
    database = status["database"]
    sizes = f"{format_size(database['database_bytes'])}, WAL {format_size(database['wal_bytes'])}"
    yield "database", _with_trouble(sizes, database)
    for note in database.get("notes", ()):
        yield "note", note


def _undream_rows(status: Mapping[str, Any], _: float) -> Iterator[tuple[str, str]]:
    if waiting := status["undreams"]:
        yield (
            "undream",
            f"{count_of(waiting, 'dialogue')} to take back, as soon as leo is there and does not dream",
        )


def _failure_rows(status: Mapping[str, Any], _: float) -> Iterator[tuple[str, str]]:
    for name, count in status["failures"].items():
        yield "failed", f"{count} × {name}"


def _refusal_rows(status: Mapping[str, Any], _: float) -> Iterator[tuple[str, str]]:
    for name, count in status["refusals"].items():
        yield "refused", f"{count} × {name}"


def _error_rows(status: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    for error in status["last_errors"]:
        yield "error", f"{format_moment(error['at'], now)} {error['type']} in {error['where']}"


def _feed_rows(status: Mapping[str, Any], _: float) -> Iterator[tuple[str, str]]:
    if not status["feed"]:
        yield "feed", "off: dreams are shown and kept, and do not reach leo (dialogue.feed is false)"


def _relay_rows(status: Mapping[str, Any], now: float) -> Iterator[tuple[str, str]]:
    relay = status["relay"]
    words = f"{relay['state']}: {relay['waiting']} waiting, {relay['published']} published to {relay['to']}"
    if relay["last_at"]:
        words += f", the last {format_moment(relay['last_at'], now)}"
    yield "relay", words
    if relay["last_error"]:
        yield "error", f"{format_moment(relay['last_error_at'], now)} {relay['last_error']}"


_UNSEEDED = "not seeded yet: the first leo that connects brings it"

# In the order of showing. What a daemon of another version lacks is left out.
_PARTS: dict[str, Callable[[Mapping[str, Any], float], Iterator[tuple[str, str]]]] = {
    "dreams": activity_rows,
    "feed": _feed_rows,
    "state": _daemon_rows,
    "socket": lambda status, _: iter([("socket", status["socket"])]),
    "state_dir": lambda status, _: iter([("state", status["state_dir"])]),
    "sessions": _session_rows,
    "seeded": lambda status, _: iter([("origin", "seeded" if status["seeded"] else _UNSEEDED)]),
    "decisions": lambda status, _: iter([("decisions", format_counts(status["decisions"]))]),
    "dialogues": lambda status, _: iter([("dialogues", format_counts(status["dialogues"]))]),
    "undreams": _undream_rows,
    "hooks": _hook_rows,
    "database": _database_rows,
    "inbox": lambda status, _: iter([("inbox", _inbox_words(status["inbox"]))]),
    "relay": _relay_rows,
    "failures": _failure_rows,
    "refusals": _refusal_rows,
    "last_errors": _error_rows,
}


def _session_words(session: Mapping[str, Any]) -> str:
    who = (
        f"{session['name']} {session['version']}, pid {session['pid']}"
        if session["name"]
        else "no hello yet, or one refused"
    )
    parts = [
        f"{session['session']}: {who}",
        f"connected {format_span(session['connected_s'])}",
        f"provides {', '.join(session['provides'])}" if session["provides"] else "provides no hooks",
    ]
    if session["dreaming"] is not None:
        parts.append(f"dreaming dialogue {session['dreaming']}")
    if session["mute_s"]:
        parts.append(f"mute: asked again in {format_span(session['mute_s'])}")
    return ", ".join(parts)


def _inbox_words(inbox: Mapping[str, Any]) -> str:
    if not inbox["enabled"]:
        return "disabled"
    if any(inbox.get(key, 0) is None for key in _INBOX_COUNTS):
        return _with_trouble(f"counts not known, in {inbox['folder']}", inbox)
    counts = [f"{inbox[key]} {key.replace('_', ' ')}" for key in _INBOX_COUNTS if inbox.get(key)]
    return _with_trouble(f"{', '.join(counts) or 'nothing'} in {inbox['folder']}", inbox)


_INBOX_COUNTS = ("waiting", "done", "set_aside", "dropped")


def _with_trouble(text: str, part: Mapping[str, Any]) -> str:
    return f"{part['trouble']}: {text}" if part["trouble"] else text
