"""Dialogues as Markdown, for reading."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from dreamd.ctl.terminal.dialogues import count_of_lines, ending_in_words
from dreamd.ctl.terminal.layout import clean_text

# What Markdown, or HTML in it, would take for something else than text.
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def diary(dialogues: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield the lines of a diary: a chapter for each day, a section for each dialogue that spoke, oldest first."""
    spoken = (each for each in dialogues if each["turns"])
    for number, (day, dreams) in enumerate(groupby(spoken, key=_day)):
        yield from [""] * (number > 0)
        yield f"# Dreams of {day}"
        for dream in dreams:
            yield from ("", *_section(dream))


def _day(dialogue: Mapping[str, Any]) -> str:
    return time.strftime("%A, %-d %B %Y", time.localtime(dialogue["started_at"]))


def _section(dialogue: Mapping[str, Any]) -> Iterator[str]:
    """Yield a dialogue: its time, then each line behind its speaker. The friend speaks in italics."""
    yield time.strftime("## %H:%M", time.localtime(dialogue["started_at"]))
    for turn in dialogue["turns"]:
        text = escaped(turn["text"]) if turn["text"].strip() else "(not kept)"
        shown = f"*{text}*" if turn["speaker"] == "friend" else text
        yield from ("", f"**{escaped(turn['speaker'])}** · {shown}")
    if (ending := ending_in_words(dialogue)) != "complete":
        cut = "" if dialogue["outcome"] == "complete" else f" after {count_of_lines(len(dialogue['turns']))}"
        yield from ("", f"({ending}{cut})")


def escaped(text: str) -> str:
    """Return a text on one line, with no mark of Markdown and nothing that steers a terminal in it."""
    return _MARKS.sub(r"\\\1", " ".join(clean_text(text).split()))
