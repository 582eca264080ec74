"""The text that the demo's organism is fed with, from a file."""

import codecs
import re
from hashlib import sha256
from html import unescape
from pathlib import Path

import click

CORPUS_BYTES = 1 << 20  # more makes the organism slower, not wiser
_MARKDOWN = (".md", ".markdown")
# What Markdown marks up, and what is left of it: blocks first, then the beginnings of lines, then words. Marks within a
# line are at most 200 characters apart, or a file of one long line would take hours.
_MARKS = [
    (re.compile(pattern, re.MULTILINE | re.DOTALL), left)
    for pattern, left in (
        (r"\A---\n.*?^---$", ""),
        (r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[^\n]*$|\Z)", ""),
        (r"(?:\A|(?<=\n\n))(?:(?: {4}|\t)[^\n]*(?:\n|\Z))+", ""),
        (r"<!--.*?(?:-->|\Z)|</?[a-zA-Z][^>\n]{0,200}>", ""),
        (r"^(?=[^|\n]*\|)[^\n]*\n(?=[ \t:-]*\|)(?=[ \t:|]*-)[ \t:|-]+$(?:\n(?=[^|\n]*\|)[^\n]*$)*", ""),
        (r"^[ \t]*\|[^\n]*$|^[ \t]*[-*_=]{3,}[ \t]*$|^\[[^\]\n]+\]:[^\n]*$", ""),
        (r"^[ \t]*(?:>[ \t]*)+", ""),
        (r"^[ \t]*#{1,6}[ \t]+((?:[ \t#]*[^ \t#\n]+)*)[ \t#]*$", r"\n\1\n"),
        (r"^[ \t]*(?:[-*+]|\d+[.)])[ \t]+(?:\[[ xX]\][ \t]+)?", "\n"),
        (r"!\[[^\]\n]{0,200}\]\([^)\n]{0,200}\)|\[\^[^\]\n]{0,200}\]", ""),
        (r"\[([^\]\n]{1,200})\](?:\([^)\n]{0,200}\)|\[[^\]\n]{0,200}\])", r"\1"),
        (r"(?<![\\*_`~])(\*{1,3}|__|`+|~~)(?=[^\s*`])([^\n]{0,200}?[^\s\\])\1", r"\2"),
        (r"(?<!\w)_(?=\S)([^\n]{0,200}?\S)_(?!\w)", r"\1"),
        (r"\\([^\w\s])", r"\1"),
    )
]


def read_corpus(path: Path) -> str:
    """Return the text of a file, without the marks of Markdown. Raise click.ClickException if it is not UTF-8 text."""
    try:
        with path.open("rb") as file:
            data = file.read(CORPUS_BYTES)
    except OSError as error:
        raise click.FileError(str(path), error.strerror) from None
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(data, len(data) < CORPUS_BYTES)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise click.UsageError(f"{path} is not UTF-8 text; give a text file")
    return plain(text) if path.suffix.lower() in _MARKDOWN else text


def plain(text: str) -> str:
    """Return a Markdown text as prose: headings and items are sentences, code and tables are left out."""
    for mark, left in _MARKS:
        text = mark.sub(left, text)
    return unescape(text)


def folder_name(path: Path, text: str) -> str:
    """Return the name of the state folder of a corpus: another text has another one."""
    stem = re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-")[:32]
    return f"corpus-{stem}-{sha256(text.encode()).hexdigest()[:8]}"
