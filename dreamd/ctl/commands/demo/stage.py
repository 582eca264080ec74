"""The stage of the demo: it shows each event as some lines, on a terminal of any width or into a pipe.

The events are the maps that `dreamctl demo --json` prints. Their `type` selects the method that shows them.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from shlex import quote
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from dreamd.ctl.commands.demo.conversation import nearest_path
from dreamd.ctl.terminal.decisions import in_words
from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.layout import GAP, WIDEST, clean_text, fold_text

Event = Mapping[str, Any]

SHOWN = 6  # sentences of the friend, at most, and dreams that are offered to be read again
FILES = 5  # of the dreams that are listed


class Stage:
    """A view of the demo on `console`. If the user types, the prompts are on the screen already."""

    def __init__(self, console: Console, *, typed: bool) -> None:
        self._console = console
        self._typed = typed
        self._explained = False  # that here any novelty is enough
        self._scenes: dict[str, Callable[[Event], None]] = {
            "intro": self._intro,
            "help": self._help,
            "reply": self._reply,
            "decision": self._decision,
            "refused": self._refused,
            "line": self._line,
            "dialog.finished": self._finished,
            "friend": self._friend,
            "end": self._end,
        }

    def show(self, event: Event) -> None:
        """Show one event. An event of an unknown type is ignored."""
        scene = self._scenes.get(event["type"])
        if scene is not None:
            scene(event)

    def _intro(self, event: Event) -> None:
        self._heading("dreamd, a demonstration")
        self._prose(
            "Here is a small organism made of nothing but counts: which word followed which in"
            f" {event['source']} ({event['words']} different words). You say something, and it replies. Then it"
            " dreams: unseen, it talks with an imaginary friend, and what they say changes both. The friend is a"
            " heap of remembered sentences, some heavier than others. A daemon, a program in the background, leads"
            " the dream and keeps it. In real life dreams are unseen and rare. Here you may watch."
        )
        if not event["ours"]:
            self._prose("A daemon serves this folder already. It decides by its own settings.")
        if before := event.get("before"):
            self._prose(
                f"This goes on from {count_of(before, 'earlier dream')}; --fresh begins without them."
            )
        if self._typed:
            self._prose("Say something and press Enter. Or type ? for help, or quit to end.")

    def _help(self, _: Event) -> None:
        self._prose(
            "Type any sentence: the organism replies, and then it dreams. Use words that it knows from its text, or"
            " new ones, which it learns. `quit` or Ctrl-D ends, and then you read how to look at the dreams again.",
            "dim",
        )

    def _reply(self, event: Event) -> None:
        if not self._typed:
            self._heading()
            self._said("you", event["prompt"], "bold")
        self._said("it", event["reply"], "bold green")

    def _decision(self, event: Event) -> None:
        self._console.print()
        novelty, above = event.get("novelty"), (event.get("gate") or {}).get("novelty_above")
        if event["dream"] and novelty is not None and above is not None and above < 0:
            enough = "" if self._explained else ", and in this demo any share will do"
            self._explained = True
            self._prose(f"Does it dream? Yes: {novelty:.0%} of what was said is new to it{enough}.", "dim")
        elif event["dream"]:
            self._prose(f"Does it dream? Yes ({in_words(event)}).", "dim")
        else:
            self._prose(f"Does it dream? No ({in_words(event)}). The demo asks for it all the same.", "dim")

    def _refused(self, event: Event) -> None:
        self._prose(f"No dream: {event['words']}.", "dim")

    def _line(self, event: Event) -> None:
        own = event["speaker"] == "leo"
        self._said("it" if own else "friend", event["text"], "cyan" if own else "magenta")

    def _finished(self, event: Event) -> None:
        ending = _ENDINGS.get(event["outcome"])
        if ending:
            self._prose(f"The dream ended early: {ending}.", "dim")

    def _friend(self, event: Event) -> None:
        moved = event["moved"][:SHOWN]
        if not moved:
            return
        self._console.print()
        self._prose("What the dream drew from the friend, and left there (weights before and after):", "dim")
        for fragment in moved:
            before, after = fragment["before"], fragment["after"]
            label = f"{_change_words(before, after):>6}{GAP}{_weight_words(before)} → {_weight_words(after)}"
            self._beside(label, fragment["text"], "magenta" if before is None else "")
        others = event["fragments"] - sum(fragment["after"] is not None for fragment in moved)
        self._prose(f"The other {others} have become a little lighter.", "dim")

    def _end(self, event: Event) -> None:
        self._heading("what is left")
        self._prose(f"{count_of(event['dialogues'], 'dream')}, {count_of(event['lines'], 'line')}.")
        self._path("rows", event["rows"])
        files = event["files"]
        for place, path in enumerate(files[-FILES:]):
            self._path("" if place else "files", path)
        if len(files) > FILES:
            self._prose(f"{' ' * 8}and {len(files) - FILES} more beside them")
        self._prose("The rows are in SQLite, in the tables dream_dialogs and dream_turns.")
        if files:
            self._prose("Each file is one dream as JSON, for other programs to pick up.")
        self._prose("The daemon has been stopped." if event["ours"] else "The daemon goes on.")
        self._console.print()
        dreamctl = f"{_program()} --state-dir {quote(event['state_dir'])}"
        for what, command in (
            ("Read the dreams", f"{dreamctl} show -n {max(1, min(event['dialogues'], SHOWN))}"),
            ("All on one page", f"{dreamctl} report --open"),
            ("Into your leo", f"{_program()} leo install PATH_OF_LEO"),
        ):
            self._path(f"{what:15}", command)

    # what scenes are made of

    def _heading(self, title: str = "") -> None:
        self._console.print()
        self._console.print(Rule(Text(title), style="dim"), width=min(self._console.width, WIDEST))

    def _prose(self, text: str, style: str = "") -> None:
        self._folded("", text, style)

    def _said(self, who: str, text: str, style: str) -> None:
        self._beside(f"{who:>6}", text, style)

    def _beside(self, label: str, text: str, style: str = "") -> None:
        self._folded(label + GAP, text, style)

    def _path(self, label: str, path: str) -> None:
        """Print a path unfolded, so that it can be copied."""
        self._console.print(Text.assemble((f"{label:>6}{GAP}", "dim"), clean_text(path)), soft_wrap=True)

    def _folded(self, head: str, text: str, style: str) -> None:
        """Print a text folded into the columns right of its head."""
        for line in fold_text(text, self._console.width - len(head)).split("\n"):
            self._console.print(Text.assemble((head, "dim"), (line, style)), soft_wrap=True)
            head = " " * len(head)


# How an outcome is explained to the user. "complete" needs no explanation.
_ENDINGS = {
    "empty": "a line came back empty",
    "repeat": "a line repeated an earlier one",
    "hook_error": "the organism failed to answer",
    "deadline": "an answer took too long",
    "left": "the organism left, or the daemon was stopped",
    "store_error": "the daemon could not write it down",
}


def _program() -> str:
    """Return how the user calls dreamctl: by its path, if the shell would not find it, or another, by its name."""
    called = sys.argv[0]
    found = shutil.which("dreamctl")
    if os.path.basename(called) != "dreamctl" or (found and os.path.samefile(found, called)):
        return "dreamctl"
    return quote(nearest_path(os.path.abspath(called)))


def _change_words(before: float | None, after: float | None) -> str:
    """Return what happened to a sentence of the friend. One that only faded was drawn at the dream's beginning."""
    if before is None:
        return "new"
    if after is None:
        return "gone"
    return "again" if after > before else "drawn"


def _weight_words(weight: float | None) -> str:
    return "   -" if weight is None else f"{weight:.2f}"
