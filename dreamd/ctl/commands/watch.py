"""`watch`: show the dialogues live, line by line."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.events import follow_events, tell_lost, until_ctrl_c
from dreamd.ctl.terminal.ascii import is_plain
from dreamd.ctl.terminal.bars import draw_measures
from dreamd.ctl.terminal.dialogues import COLOURS, count_of_lines, ending_in_words, show_line
from dreamd.ctl.terminal.layout import fold_text, format_moment, format_number, terminal_width
from dreamd.ctl.terminal.output import emit_line, json_option, utc_option

Event = Mapping[str, Any]


@click.command
@json_option
@utc_option
@click.pass_obj
def watch(target: Target) -> None:
    """Watch the dialogues live, until Ctrl-C. If the daemon restarts, wait for it.

    \b
    dreamctl watch
    dreamctl watch --json | jq 'select(.type == "line").text'

    With --json every event is printed, one object a line: docs/reference/protocol.md lists them.
    """
    screen = Screen(terminal_width(), is_plain())
    with until_ctrl_c():
        for event in follow_events(target, lambda _: click.echo("Watching; Ctrl-C ends.", err=True)):
            if target.as_json:
                emit_line(event)
            elif event["type"] == "lost":
                tell_lost(event)
            elif text := screen.show(event, time.time()):
                click.echo(text)


class Screen:
    """A view of events as text. If two dialogues run at once, it marks whose lines follow."""

    def __init__(self, columns: int, plain: bool) -> None:
        self._columns = columns
        self._plain = plain
        self._shown: int | None = None  # the dialogue of the last line
        self._scenes: dict[str, Callable[[Event, float], str]] = {
            "dialog.started": self._started,
            "line": self._line,
            "dialog.suspended": self._suspended,
            "dialog.resumed": self._resumed,
            "dialog.finished": self._finished,
            "dialog.undone": self._undone,
            "friend.changed": self._friend_changed,
        }

    def show(self, event: Event, now: float) -> str:
        """Return an event as text, or an empty string if it is of neither a dialogue nor the friend."""
        scene = self._scenes.get(event["type"])
        return scene(event, now) if scene else ""

    def _started(self, event: Event, now: float) -> str:
        self._shown = event["dialog"]
        who = f"{event['client']} dreams, session {event['session']}"
        return self._told(event, now, f"dialogue {event['dialog']} begins: {who}")

    def _line(self, event: Event, now: float) -> str:
        head = ""
        if event["dialog"] != self._shown:
            self._shown = event["dialog"]
            head = self._told(event, now, f"dialogue {event['dialog']}") + "\n"
        said = click.style(show_line(event, self._columns), fg=COLOURS.get(event["speaker"]))
        return f"{head}{said}\n{click.style(draw_measures(event, self._columns, ' ' * 8, self._plain), dim=True)}"

    def _suspended(self, event: Event, now: float) -> str:
        words = f"dialogue {event['dialog']}: suspended after {count_of_lines(event['lines'])}"
        return self._told(event, now, f"{words}; it goes on when its client is back")

    def _resumed(self, event: Event, now: float) -> str:
        self._shown = event["dialog"]
        who = f"{event['client']} dreams, session {event['session']}"
        return self._told(event, now, f"dialogue {event['dialog']} goes on: {who}")

    def _finished(self, event: Event, now: float) -> str:
        learnt = "; ".join(event.get("admitted") or ())
        drift = event.get("drift")
        parts = [
            f"dialogue {event['dialog']}: {ending_in_words(event)}, {count_of_lines(event['lines'])}",
            *([f"drift {format_number(drift)}"] if drift is not None else []),
            *([f"the friend keeps: {learnt}"] if learnt else []),
        ]
        return self._told(event, now, ", ".join(parts))

    def _undone(self, event: Event, now: float) -> str:
        words = f"dialogue {event['dialog']}: taken back, {count_of_lines(event['lines'])}"
        return self._told(event, now, words)

    def _friend_changed(self, event: Event, now: float) -> str:
        words = f"the friend: {event['how']}, {event['added']} came, {event['left']} went"
        return self._told(event, now, words)

    def _told(self, event: Event, now: float, words: str) -> str:
        return fold_text(words, self._columns, " " * 10, f"{format_moment(event['at'], now)}  ")
