"""The conversation of the demo: replies, decisions, dreams, and how they change the friend.

The field is connected as any leo is: its hooks run on the client's thread, its replies on the caller's.
"""

import os
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
from dreamclient.clients.thread import DreamClient
from dreamclient.messages import DIALOGUE_S, DreamContext, Method

from dreamd.ctl.daemon.connection import Daemon, start_client
from dreamd.ctl.daemon.source import ANSWER_S, Refused, Unreachable
from dreamd.ctl.stand_in.field import TrigramField
from dreamd.ctl.stand_in.leo import StandInLeo

NAME = "leo-demo"
ORIGIN = 256  # the most sentences that a daemon accepts
ORIGIN_CHARS = 400  # the longest sentence that it accepts
LOOK_S = 0.25  # interval of the checks whether the daemon still lives
SHARD_S = 5.0  # wait for the files of the dreams, which usually come within milliseconds

Event = dict[str, Any]
Show = Callable[[Event], None]


@contextmanager
def open_talk(field: TrigramField, origin: Sequence[str], socket: Path, show: Show) -> Iterator["Talk"]:
    """Open a conversation with `field` for the block. A friend without an origin gets `origin`."""
    leo = StandInLeo(field)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    client = DreamClient(leo.generate, leo.observe, socket_path=socket, name=NAME, on_event=events.put)
    with closing(client):
        start_client(client)
        daemon = Daemon(client, socket)
        daemon.call(Method.SUBSCRIBE)
        fragments = [sentence[:ORIGIN_CHARS] for sentence in origin[:ORIGIN]]
        before = sum(daemon.call(Method.STATUS).get("dialogues", {}).values())
        daemon.call(Method.SEED, {"origin": fragments, "readme": []})
        yield Talk(leo, client, daemon, events, show, before)


class Talk:
    """A conversation. It passes each step to `show`, as a map with a `type`."""

    def __init__(
        self,
        leo: StandInLeo,
        client: DreamClient,
        daemon: Daemon,
        events: "queue.SimpleQueue[Event]",
        show: Show,
        before: int = 0,
    ) -> None:
        self._leo = leo
        self._client = client
        self._daemon = daemon
        self._events = events
        self._show = show
        self.before = before  # dialogues of earlier demos
        self._dialogues = self._lines = 0
        self._awaited: set[int] = set()  # dialogues whose inbox file is still to come
        self._files: dict[int, str] = {}

    def say(self, prompt: str) -> None:
        """Show the reply to `prompt`, and the dream after it."""
        before = self._fragments()
        ctx = self._leo.answer(prompt)
        self._show({"type": "reply", "prompt": prompt, "reply": ctx.reply})
        dialog = self._decide(ctx)
        if dialog is not None and self._follow(dialog):
            self._compare(before, dialog)

    def end(self) -> Event:
        """Return the event `end`: the counts, and where the rows and files are."""
        status = self._daemon.call(Method.STATUS)
        if status["inbox"]["enabled"]:
            deadline = time.monotonic() + SHARD_S
            while self._awaited - self._files.keys() and time.monotonic() < deadline:
                self._take()
        return {
            "type": "end",
            "dialogues": self._dialogues,
            "lines": self._lines,
            "rows": nearest_path(status["database"]["path"]),
            "files": [nearest_path(path) for _, path in sorted(self._files.items())],
        }

    def _decide(self, ctx: DreamContext) -> int | None:
        """Return the dialogue that the daemon starts after a reply, or else when asked for one. None if it refuses."""
        decision = self._offer(ctx)
        self._show({"type": "decision", **decision})
        if decision["dream"]:
            dialog: int = decision["dialog"]
            return dialog
        try:
            asked: int = self._daemon.call(Method.NOW, None, None, timeout_s=DIALOGUE_S)["dialog"]
        except Refused as refused:
            self._show({"type": "refused", "words": refused.message})
            return None
        return asked

    def _offer(self, ctx: DreamContext) -> Event:
        """Offer a reply as leo does and return the decision. Offer it again while the daemon is busy dreaming."""
        deadline = time.monotonic() + DIALOGUE_S
        while True:
            self._client.offer(ctx)
            decision = self._decision()
            if decision["reason"] != "busy" or time.monotonic() > deadline:
                return decision
            self._take()  # the end of that dream, or a moment

    def _decision(self) -> Event:
        session = self._client.daemon.get("session")
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            event = self._take()
            if event is not None and event.get("decision", {}).get("session") == session:
                decision: Event = event["decision"]
                return decision
        raise click.ClickException(f"the daemon decided nothing in {ANSWER_S:g} s")

    def _follow(self, dialog: int) -> bool:
        """Show the lines of a dialogue as they are said. Return True if it spoke and was stored."""
        self._dialogues += 1
        lines, outcome = 0, ""
        for event in self._events_of(dialog):
            self._show(event)
            lines += event["type"] == "line"
            outcome = event.get("outcome", "")
        self._lines += lines
        if not lines or outcome == "store_error":
            return False
        self._awaited.add(dialog)
        return True

    def _events_of(self, dialog: int) -> Iterator[Event]:
        """Yield the lines and the end of a dialogue. If its end could not be stored, no event reports it: make one."""
        over = False
        while True:
            event = self._take()
            if event is None and over:
                event = {"type": "dialog.finished", "dialog": dialog, "outcome": "store_error"}
            if event is None:
                over = not self._dreams(dialog)
            elif event.get("dialog") == dialog and event["type"] in ("line", "dialog.finished"):
                yield event
                if event["type"] == "dialog.finished":
                    return

    def _dreams(self, dialog: int) -> bool:
        sessions = self._daemon.call(Method.STATUS)["sessions"]
        return any(session["dreaming"] == dialog for session in sessions)

    def _compare(self, before: dict[int, Event], dialog: int) -> None:
        """Show what the dream did to the friend: what it drew, what came, what grew, what left."""
        after = self._fragments()
        # A fragment that the dream drew is in the seeds of all its lines, other sentences only in some.
        seeds = [turn["seed"] for turn in self._daemon.call(Method.DIALOGS_GET, dialog)["turns"][:2]]
        moved = [
            {"text": fragment["text"], "before": _weight_of(before, key), "after": _weight_of(after, key)}
            for key, fragment in (before | after).items()
            if key not in before
            or key not in after
            or after[key]["weight"] > before[key]["weight"]
            or all(fragment["text"] in seed for seed in seeds)
        ]
        self._show({"type": "friend", "fragments": len(after), "moved": moved})

    def _fragments(self) -> dict[int, Event]:
        return {fragment["id"]: fragment for fragment in self._daemon.call(Method.FRAGMENTS)}

    # events

    def _take(self) -> Event | None:
        """Return the next event, or None if none comes for LOOK_S. Raise Unreachable if the daemon is gone."""
        try:
            event = self._events.get(timeout=LOOK_S)
        except queue.Empty:
            if not self._client.connected:
                raise Unreachable(f"the daemon went away: {self._client.trouble}") from None
            return None
        if event["type"] == "inbox.written":
            self._files[event["dialog"]] = event["path"]
        return event


def nearest_path(path: str) -> str:
    """Return a path to show: relative if it is below the working folder."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _weight_of(fragments: dict[int, Event], key: int) -> float | None:
    return fragments[key]["weight"] if key in fragments else None
