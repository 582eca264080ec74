"""The search index: the words of each line, split and folded as the measures split and fold them.

SQLite's FTS5 splits differently, so it gets only the words, with a blank between two. It ignores accents.
"""

import re
from collections.abc import Callable
from itertools import accumulate
from sqlite3 import Connection
from typing import Any, Final
from unicodedata import normalize

import msgspec
from dreamclient.messages import LINE_CHARS, MESSAGE_BYTES, Code

from dreamd.dream.measures import split_words
from dreamd.errors import Refusal
from dreamd.store.file.files import read_text

# Every character but a blank is part of a word.
TABLE: Final = """CREATE VIRTUAL TABLE dream_search USING fts5 (
    words, tokenize = "unicode61 remove_diacritics 2 categories 'L* M* N* P* S* C*'"
)"""
# The statements that make a new index of the stored lines. Nothing of the old one is left.
REBUILD: Final = (
    "DROP TABLE IF EXISTS dream_search",
    TABLE,
    """INSERT INTO dream_search (rowid, words)
    SELECT id, dream_words(CAST(text AS BLOB)) FROM dream_turns WHERE text <> ''""",
)

NOT_KEPT: Final = "not kept: store.diagnostics is false"
# What is returned of a line, and where it is found.
LINE: Final = ("id", "dialog", "turn", "speaker", "text", "at")
LINES: Final = f"""SELECT dream_turns.id, dialog_id, turn, speaker, substr(text, 1, {LINE_CHARS}), at
    FROM dream_search CROSS JOIN dream_turns ON dream_turns.id = dream_search.rowid"""  # noqa: S608 - a constant

# A run of one word says little, so it counts only if one word was asked for.
LEAST_WORDS: Final = 2
# Seconds after which no further run is looked for, and no further run's lines. One look takes some milliseconds, or up
# to 40 if all words are among the most frequent of a million lines.
RUNS_S: Final = 0.2
LINES_S: Final = 0.25

ANSWER_BYTES: Final = MESSAGE_BYTES - 256  # of the lines in one answer; the rest is for its envelope

Run = tuple[int, int]  # its first word, and the word after its last

# A phrase in double quotes, or a word. A * after either stands for any ending.
_ASKED: Final = re.compile(r'"([^"]*)"(\*?)|([^\s"*]+)(\*?)')


def add_functions(connection: Connection) -> None:
    """Add the SQL function `dream_words`, which takes the bytes of a text, to a connection."""
    connection.create_function("dream_words", 1, lambda text: words_of(read_text(text)), deterministic=True)


def words_of(text: str) -> str:
    """Return the words of a text, with one blank between two."""
    return " ".join(split_words(normalize("NFC", text)))


def index_line(connection: Connection, turn_id: int, text: str) -> None:
    """Add a line that was just stored to the index, in its transaction."""
    connection.execute("INSERT INTO dream_search (rowid, words) VALUES (?, ?)", (turn_id, words_of(text)))


def forget_lines(connection: Connection, dialog_ids: str) -> None:
    """Delete the lines of dialogues (a JSON list of ids) from the index, and merge its segments into one: a deletion
    alone leaves words in them. To build it again would take five times as long."""
    connection.execute(
        """DELETE FROM dream_search WHERE rowid IN
        (SELECT id FROM dream_turns WHERE dialog_id IN (SELECT value FROM json_each(?)))""",
        (dialog_ids,),
    )
    connection.execute("INSERT INTO dream_search (dream_search) VALUES ('optimize')")


def find_lines(connection: Connection, asked: str, n: int, before: int | None = None) -> list[dict[str, Any]]:
    """Return the last n lines (of those before a line) that contain each word and "phrase", newest first: {id: of the
    line, dialog, turn, speaker, text, at}, the first of them that fit into one message. `word*` stands for any ending.
    Raise Refusal if there is no word, or if lines are not kept."""
    rows = connection.execute(
        f"""{LINES} WHERE dream_search MATCH ? AND dream_search.rowid < ?
        ORDER BY dream_search.rowid DESC LIMIT ?""",
        (_fts_expression(asked), before or (1 << 63) - 1, n),
    )
    found = [dict(zip(LINE, row, strict=True)) for row in rows]
    if not found:
        check_kept(connection)
    return _first_that_fit(found)


def _first_that_fit(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    sizes = accumulate(len(msgspec.msgpack.encode(line)) for line in found)
    return [line for line, size in zip(found, sizes, strict=True) if size <= ANSWER_BYTES]


def check_kept(connection: Connection) -> None:
    """Raise Refusal if there are lines and none of them is in the index."""
    lines = connection.execute("SELECT 1 FROM dream_turns LIMIT 1").fetchone()
    if lines and not connection.execute("SELECT 1 FROM dream_search LIMIT 1").fetchone():
        raise Refusal(Code.NOT_FOUND, NOT_KEPT)


def _fts_expression(asked: str) -> str:
    """Return the expression for FTS5. A word contains no double quote, so none ends the quotes."""
    phrases = [
        f'"{said}"{" *" if phrase_end or word_end else ""}'
        for phrase, phrase_end, word, word_end in _ASKED.findall(asked)
        if (said := words_of(phrase or word))
    ]
    if not phrases:
        raise Refusal(Code.INVALID_PARAMS, "there is no word in what is searched for")
    return " ".join(phrases)


class _Runs:
    """The index, asked for runs of some words."""

    def __init__(self, connection: Connection, words: list[str], monotonic: Callable[[], float]) -> None:
        self._connection = connection
        self._words = words
        self._monotonic = monotonic
        self._began_s = monotonic()

    def is_over(self, patience_s: float) -> bool:
        """Return whether it was asked for so long."""
        return self._monotonic() - self._began_s > patience_s

    def phrase(self, run: Run) -> str:
        """Return the words of a run, which hold no double quote."""
        return " ".join(self._words[slice(*run)])

    def has(self, run: Run) -> bool:
        """Return whether a line holds the run."""
        found = "SELECT 1 FROM dream_search WHERE dream_search MATCH ? LIMIT 1"
        return self._connection.execute(found, (f'"{self.phrase(run)}"',)).fetchone() is not None

    def lines(self, run: Run, n: int) -> list[dict[str, Any]]:
        """Return the last n lines that hold the run, with its words as `run`."""
        phrase = self.phrase(run)
        found = self._connection.execute(
            f"{LINES} WHERE dream_search MATCH ? ORDER BY dream_search.rowid DESC LIMIT ?",
            (f'"{phrase}"', n),
        )
        return [dict(zip(LINE, row, strict=True)) | {"run": phrase} for row in found]


def find_sources(
    connection: Connection, asked: str, n: int, monotonic: Callable[[], float], skip: int = 0
) -> list[dict[str, Any]]:
    """Return at most n lines that hold the longest runs of the words: the longest run first, of each the newest lines.
    {id: of the line, dialog, turn, speaker, text, at, run: the words of it}, without the first `skip` lines, and of the
    rest the first that fit into one message. Parts of a run that stands in a line are not looked for. Raise Refusal if
    there is no word, or if lines are not kept."""
    words = words_of(asked).split()
    if not words:
        raise Refusal(Code.INVALID_PARAMS, "there is no word in what is asked for")
    index = _Runs(connection, words, monotonic)
    least = min(LEAST_WORDS, len(words))
    runs = [run for run in _longest_runs(index, len(words)) if run[1] - run[0] >= least]
    found: dict[int, dict[str, Any]] = {}
    for run in sorted(runs, key=lambda run: run[0] - run[1]):
        for line in index.lines(run, skip + n):
            found.setdefault(line["id"], line)
        if len(found) >= skip + n or index.is_over(LINES_S):
            break
    if not found:
        check_kept(connection)
    return _first_that_fit(list(found.values())[skip : skip + n])


def _longest_runs(index: _Runs, count: int) -> list[Run]:
    """Return the runs that stand in lines and are part of no longer one, in their order.

    If a run stands in a line, each part of it does. So for each word the longest run that ends with it is found by few
    looks at the index.
    """
    if index.has((0, count)):
        return [(0, count)]
    runs: list[Run] = []
    start = 0
    for end in range(1, count + 1):
        if index.is_over(RUNS_S):
            return runs
        if not index.has((start, end)):
            # It cannot begin earlier than the run before. The first possible beginning is found by halving.
            first, last = start + 1, end
            while first < last:
                middle = (first + last) // 2
                if index.has((middle, end)):
                    last = middle
                else:
                    first = middle + 1
            start = first
        if runs and runs[-1][0] == start:
            runs.pop()
        if start < end:
            runs.append((start, end))
    return runs
