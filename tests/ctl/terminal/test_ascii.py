"""The output for a terminal that shows only ASCII."""

import io
import sys

import pytest

from dreamd.ctl.terminal.ascii import Plain, in_ascii, is_plain, prepare_streams


def test_signs_and_letters_in_ascii() -> None:
    assert in_ascii("─ → × │ █· ≤ ≥ … “é” – ‘ﬁ’") == "- > x | #. <= >= ~ \"e\" - 'fi'"
    assert in_ascii("дом \ud800 雨") == "??? ? ?"
    assert in_ascii("\x1b[1mas it is\n") == "\x1b[1mas it is\n"


class Screen(io.BytesIO):
    """A stream that claims to be a terminal and keeps what is written."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("out", "encoding", "term", "plain"),
    [
        (Screen, "utf-8", "xterm", False),
        (Screen, "utf-8", "dumb", True),
        (Screen, "ascii", "xterm", True),
        (Screen, "latin-1", "xterm", True),
        (io.BytesIO, "utf-8", "dumb", False),  # a pipe
        (io.BytesIO, "ascii", "dumb", True),
    ],
)
def test_converts_a_stream_to_what_its_terminal_shows(
    monkeypatch: pytest.MonkeyPatch, out: type[io.BytesIO], encoding: str, term: str, plain: bool
) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(out(), encoding=encoding))
    written = sys.stdout.buffer
    monkeypatch.setenv("TERM", term)
    prepare_streams()
    assert (is_plain(), isinstance(sys.stderr, Plain)) == (plain, plain)
    assert print("3 × \ud800", end="") is None
    sys.stdout.flush()
    assert written.getvalue() == (b"3 x ?" if plain else "3 × ?".encode())
