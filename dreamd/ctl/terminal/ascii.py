"""Terminals that show no more than ASCII: whatever is printed, and by whom, reaches them so."""

import os
import sys
from io import TextIOWrapper
from typing import TextIO

# Signs of ours, each as wide as what stands for it where that can be; any other becomes its letter, or `?`.
_SIGNS = str.maketrans(
    {"─": "-", "│": "|", "█": "#", "·": ".", "→": ">", "×": "x", "…": "~", "≤": "<=", "≥": ">=", "µ": "u"}
    | dict.fromkeys("–—‐", "-")
    | dict.fromkeys("‘’", "'")
    | dict.fromkeys("“”", '"')
)


class Plain(TextIOWrapper):
    """What is written to `stream`, in ASCII."""

    def __init__(self, stream: TextIOWrapper) -> None:
        super().__init__(stream.buffer, encoding="utf-8", line_buffering=stream.line_buffering)
        self._stream = stream  # were it forgotten, it would close the buffer

    def write(self, text: str) -> int:
        super().write(in_ascii(text))
        return len(text)


def prepare() -> None:
    """Make this process's own streams fit for any text. A pipe gets UTF-8 whatever TERM says."""
    if isinstance(sys.stdin, TextIOWrapper):  # None where it was closed
        sys.stdin.reconfigure(errors="replace")
    sys.stdout, sys.stderr = _fit(sys.stdout), _fit(sys.stderr)


def _fit(stream: TextIO) -> TextIO:
    if not isinstance(stream, TextIOWrapper):
        return stream
    dumb = os.environ.get("TERM") == "dumb" and stream.isatty()
    if dumb or not stream.encoding.lower().startswith("utf"):
        return Plain(stream)
    stream.reconfigure(errors="replace")  # a dream may hold half a character
    return stream


def is_plain() -> bool:
    """Whether results are for a terminal that shows ASCII alone."""
    return isinstance(sys.stdout, Plain)


def in_ascii(text: str) -> str:
    """Return the text in ASCII, as well as that can be."""
    if text.isascii():
        return text
    import unicodedata  # not for those who never need it

    apart = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    seen = (char for char in apart if not unicodedata.combining(char) and unicodedata.category(char) != "Cf")
    return "".join(seen).encode("ascii", "replace").decode()
