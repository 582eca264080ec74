"""Terminals that show only ASCII: every text that this process prints is converted for them."""

import os
import sys
from io import TextIOWrapper
from typing import TextIO

# Signs that dreamctl prints -> ASCII, of equal width if possible. Other characters become their base letter, or `?`.
_SIGNS = str.maketrans(
    {"─": "-", "│": "|", "█": "#", "·": ".", "→": ">", "×": "x", "…": "~", "≤": "<=", "≥": ">=", "µ": "u"}
    | dict.fromkeys("–—‐", "-")
    | dict.fromkeys("‘’", "'")
    | dict.fromkeys("“”", '"')
)


class Plain(TextIOWrapper):
    """A stream that writes to `stream` in ASCII."""

    def __init__(self, stream: TextIOWrapper) -> None:
        super().__init__(stream.buffer, encoding="utf-8", line_buffering=stream.line_buffering)
        self._stream = stream  # if it were garbage-collected, it would close the buffer

    def write(self, text: str) -> int:
        super().write(in_ascii(text))
        return len(text)


def prepare_streams() -> None:
    """Make the standard streams accept any text. A pipe gets UTF-8 whatever TERM says. A closed stream becomes
    /dev/null."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # its descriptor is the lowest free one
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    sys.stdout, sys.stderr = _fit_stream(sys.stdout), _fit_stream(sys.stderr)


def _fit_stream(stream: TextIO) -> TextIO:
    if not isinstance(stream, TextIOWrapper):
        return stream
    dumb = os.environ.get("TERM") == "dumb" and stream.isatty()
    if dumb or not stream.encoding.lower().startswith("utf"):
        return Plain(stream)
    stream.reconfigure(errors="replace")  # a dream may hold a lone surrogate
    return stream


def is_plain() -> bool:
    """Return whether standard output is a terminal that shows only ASCII."""
    return isinstance(sys.stdout, Plain)


def as_shown(text: str) -> str:
    """Return a text as standard output shows it, so that its length is known."""
    return in_ascii(text) if is_plain() else text


def in_ascii(text: str) -> str:
    """Return the nearest ASCII text."""
    if text.isascii():
        return text
    import unicodedata  # imported only if needed

    apart = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    seen = (char for char in apart if not unicodedata.combining(char) and unicodedata.category(char) != "Cf")
    return "".join(seen).encode("ascii", "replace").decode()
