"""`trace`: print each message on the socket, decoded."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.commands.trace.in_words import error_in_words, params_in_words, result_in_words
from dreamd.ctl.commands.trace.message_view import in_hex, unpack_message
from dreamd.ctl.daemon.completers import complete_methods, complete_sessions
from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.events import follow_events, tell_lost, until_ctrl_c
from dreamd.ctl.terminal.layout import fold_text, format_size, terminal_width
from dreamd.ctl.terminal.numbers import Count
from dreamd.ctl.terminal.output import emit_line, json_option, utc_option

Message = dict[str, Any]
_Call = tuple[int, str, int | None]  # by session, the way the call went, and its id

OPEN_CALLS = 4096  # that an answer is expected to; beyond, the oldest is given up
INDENT = " " * 4  # of what a message holds
COLOURS = {"in": "cyan", "out": "magenta"}
VERBS = {
    "call": "calls",
    "answer": "answers",
    "notification": "sends",
    "unreadable": "sends what cannot be read",
}


@click.command(short_help="Print each message on the socket, until Ctrl-C.")
@click.option("--session", type=Count(1), shell_complete=complete_sessions, help="Show only this session.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="METHOD",
    shell_complete=complete_methods,
    help="Show only this method. May be repeated.",
)
@click.option("--show-text", is_flag=True, help="Also show what leo, the friend and the user say.")
@click.option("--raw", is_flag=True, help="Print the bytes in hexadecimal, those of hidden texts as dots.")
@json_option
@utc_option
@click.pass_obj
def trace(target: Target, session: int | None, methods: tuple[str, ...], show_text: bool, raw: bool) -> None:
    """Print each message on the socket, until Ctrl-C: who sends it, what it is, its size, how long an answer took, and
    what it holds. Texts are hidden. The sessions never wait for a trace: if it is too slow, messages are dropped and
    counted.

    \b
    dreamctl trace
    dreamctl trace --method generate --show-text
    dreamctl trace --json | jq 'select(.took_ms > 100)'

    Sessions that are running a trace are not shown. What a `watch` is sent is shown with --session, --method event or
    --json.
    """
    reading = Reading(show_text, raw)
    columns = terminal_width()
    asked = bool(methods or session)  # for what a `watch` is sent: a copy of what happens anyway

    def begun(_: object) -> None:
        reading.forget()  # another daemon counts its sessions from 1 again
        click.echo("Tracing; Ctrl-C ends.", err=True)

    with until_ctrl_c():
        for event in follow_events(target, begun, Method.TRACE, session):
            for message in reading.read(event):
                lost = message["type"] == "lost"
                if methods and not lost and message["method"] not in methods:
                    continue
                if target.as_json:
                    emit_line(message)
                elif lost:
                    tell_lost(message, "messages")
                elif message["method"] != Method.EVENT or asked:
                    click.echo(show_message(message, columns))


class Reading:
    """A reader of the daemon's trace events. It makes a map of each message, and pairs answers with their calls."""

    def __init__(self, show_text: bool = False, raw: bool = False) -> None:
        self._show_text = show_text
        self._raw = raw
        self._calls: dict[_Call, tuple[str | None, float]] = {}  # their methods, and when they were seen

    def read(self, event: Mapping[str, Any]) -> Iterator[Message]:
        """Yield the messages of an event, and how many were lost after them."""
        for seen in event["messages"]:
            yield self._message(seen, event["at"] - event["clock"])
        if event["lost"]:
            self.forget()
            yield {"type": "lost", "at": event["at"], "count": event["lost"]}

    def forget(self) -> None:
        """Forget the open calls: an id that comes later may belong to a call that was not seen."""
        self._calls.clear()

    def _message(self, seen: Mapping[str, Any], offset: float) -> Message:
        data, clock, session, way = seen["data"], seen["clock"], seen["session"], seen["way"]
        found = unpack_message(data, ours=way == "out", show_text=self._show_text)
        method, took_ms = found.method, None
        if found.type == "call":
            self._called((session, way, found.msgid), method, clock)
        elif found.type == "answer":
            other = "in" if way == "out" else "out"
            method, called = self._calls.pop((session, other, found.msgid), (None, None))
            took_ms = None if called is None else round((clock - called) * 1000, 3)
        message = {
            "type": found.type,
            "at": clock + offset,
            "session": session,
            "way": way,
            "id": found.msgid,
            "method": method,
            "size": seen["size"],
            "cut": len(data) < seen["size"],
        }
        if found.type == "answer":
            message |= {"took_ms": took_ms, "error": found.error, "result": found.values}
        elif found.type != "unreadable":
            message["params"] = found.values
        return message | ({"raw": in_hex(data, found.hidden)} if self._raw else {})

    def _called(self, call: _Call, method: str | None, clock: float) -> None:
        self._calls.pop(call, None)
        self._calls[call] = method, clock
        if len(self._calls) > OPEN_CALLS:
            del self._calls[next(iter(self._calls))]


def show_message(message: Message, columns: int) -> str:
    """Return a message as text: a line about it, and its contents below."""
    colour = "red" if message.get("error") or message["type"] == "unreadable" else COLOURS[message["way"]]
    head = fold_text(_about_message(message), columns, INDENT, f"{_moment_ms(message['at'])}  ")
    held = fold_text(_held_words(message), columns, INDENT)
    return click.style(head, fg=colour) + (f"\n{held}" if held else "")


def _about_message(message: Message) -> str:
    session, ours = f"session {message['session']}", message["way"] == "out"
    what = ["daemon" if ours else session, VERBS[message["type"]]]
    if message["type"] != "unreadable":
        what.append(message["method"] or "a call that was not seen")
    if message["id"] is not None:
        what.append(f"#{message['id']}")
    if ours:
        what.append(f"{'of' if message['type'] == 'call' else 'to'} {session}")
    parts = [" ".join(what), format_size(message["size"])]
    if message.get("took_ms") is not None:
        parts.append(f"{message['took_ms']:.1f} ms")
    if message.get("error"):
        parts.append("an error")
    if message["cut"]:
        parts.append("cut")
    return ", ".join(parts)


def _held_words(message: Message) -> str:
    if raw := message.get("raw"):
        return " ".join(raw[at : at + 2] for at in range(0, len(raw), 2))
    if message["type"] == "unreadable":
        return ""
    if message.get("error"):
        return error_in_words(message["error"])
    if message["type"] == "answer":
        return result_in_words(message["result"])
    return params_in_words(message["method"], message["params"])


def _moment_ms(at: float) -> str:
    """Return the local time, to the millisecond."""
    whole, part = divmod(int(at * 1000), 1000)
    return f"{time.strftime('%H:%M:%S', time.localtime(whole))}.{part:03}"
