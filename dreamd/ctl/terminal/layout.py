"""Plain text in columns, as wide as the terminal. Values in, lines out."""

import re
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence

from dreamd.ctl.terminal.ascii import as_shown

NARROWEST, WIDEST = 30, 100  # columns; a longer line of prose is hard to read
GAP = "  "
FILLER, BLANK = "\0", "\1"  # never in a clean text
MORE = " .."  # behind a text that goes on
UNFOLDED = 1 << 30  # columns of a pipe
# Parts of a text that are never folded: a command between backticks, and an absolute path, which may hold blanks. The
# end of a path is a guess: the first mark or command after its last slash before another path.
_WHOLE = re.compile(
    r"""`[^`]+`
      | (?<![^\s'"(=])~?/(?=\S)
        (?:(?:(?!\s['"(]?~?/|`).)*/)?
        (?:(?!\s['"(]?~?/|[,;:).]+(?:\s|$)|\s\(|`).)*""",
    re.VERBOSE,
)
# Invisible parts of words: joiners of Persian, Malayalam and emoji, soft hyphens, marks of direction. Not those that
# turn the direction of the following text (U+202A-202E, U+2066-2069): they could disguise it.
_IN_WORDS = frozenset("\u00ad\u061c\u06dd\u070f\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")


def terminal_columns() -> int:
    """Return the columns of the terminal, 80 if there is none."""
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size().columns))


def terminal_width() -> int:
    """Return the columns that results are folded to: those of the terminal. In a pipe nothing is folded."""
    return terminal_columns() if sys.stdout.isatty() else UNFOLDED


def clean_text(text: str) -> str:
    """Return a foreign text as one line that is safe for a terminal."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _IN_WORDS else " " for char in text)


def _in_cells(text: str) -> str:
    """Return a clean text as long as it is wide: a FILLER follows each character that takes two cells."""
    if text.isascii():
        return text
    from unicodedata import east_asian_width  # imported only if needed

    return "".join(char + FILLER * (east_asian_width(char) in "WF") for char in text)


def fold_text(text: str, columns: int, indent: str = "", first: str | None = None) -> str:
    """Fold a text into lines of `columns`, each behind `indent`, the first behind `first` if that is given.

    A path, and a command between backticks, stay whole, or they could not be copied."""
    cells = _WHOLE.sub(lambda found: found[0].replace(" ", BLANK), _in_cells(as_shown(clean_text(text))))
    folded = textwrap.fill(
        cells,
        columns - (FILLER in cells),  # a line may end between a character and its filler
        initial_indent=indent if first is None else clean_text(first),
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words="/" not in text and BLANK not in cells,
    )
    return folded.replace(FILLER, "").replace(BLANK, " ")


def label_rows(rows: Iterable[tuple[str, str]], columns: int) -> str:
    """Return each value behind its label, folded beside it."""
    rows = list(rows)
    label_columns = max(len(label) for label, _ in rows)
    indent = " " * label_columns + GAP
    return "\n".join(
        fold_text(value, columns, indent, f"{label:{label_columns}}{GAP}") for label, value in rows
    )


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], columns: int) -> str:
    """Return rows under their heads. If there is no room for all columns, the last ones are left out."""
    cells = [head, *([_in_cells(as_shown(clean_text(cell))) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    fitting = len(widths)
    while fitting > 1 and sum(widths[:fitting]) + len(GAP) * (fitting - 1) > columns:
        fitting -= 1
    lines = (
        GAP.join(f"{cell:{size}}" for cell, size in zip(row, widths[:fitting], strict=False)) for row in cells
    )
    return "\n".join(line.rstrip() for line in lines).replace(FILLER, "")


def beginning_of(text: str, columns: int) -> str:
    """Return the beginning of a text on one line, as whole words, with two dots if there is more of it."""
    shown = _in_cells(clean_text(text)).strip()
    if len(shown) <= columns:
        return shown.replace(FILLER, "")
    kept = shown[: max(1, columns - len(MORE))]
    return kept[: max(kept.rfind(" "), 0) or len(kept)].rstrip().replace(FILLER, "") + MORE


def format_number(value: float | None) -> str:
    """Return a measure with two decimal places, or a dash if it is missing."""
    return "-" if value is None else f"{value:.2f}"


def format_share(share: float) -> str:
    """Return a share in percent, with one decimal place below ten."""
    percent = 100 * share
    if 0 < percent < 0.1:
        return "under 0.1 %"
    return f"{percent:.1f} %" if percent < 10 else f"{percent:.0f} %"


def format_span(seconds: float) -> str:
    """Return a length of time, in at most two units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    for size, unit, part, small in ((3600, "min", 60, "s"), (86400, "h", 3600, "min")):
        if seconds < size:
            whole, rest = divmod(int(seconds), part)
            rest = rest * 60 // part if small == "min" else rest
            return f"{whole} {unit} {rest} {small}" if rest else f"{whole} {unit}"
    return f"{seconds / 86400:.1f} d"


def format_size(count: int | None) -> str:
    """Return a number of bytes in words. None: the disk did not answer."""
    if count is None:
        return "not known"
    if count < 1000:
        return f"{count} B"
    return f"{count / 1000:.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:.1f} MB"


def format_moment(at: float | None, now: float) -> str:
    """Return Unix seconds as local time, with the date unless it is today's."""
    if at is None:
        return "-"
    then, today = time.localtime(at), time.localtime(now)
    same_day = then[:3] == today[:3]
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M", then)


def format_counts(counts: dict[str, int]) -> str:
    """Return counts by name, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ordered if count) or "none yet"
