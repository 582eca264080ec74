"""The search index: the words of each line, split and folded as the measures split and fold them.

SQLite's FTS5 splits differently, so it gets only the words, with a blank between two. It ignores accents.
"""

import re
from sqlite3 import Connection
from typing import Any, Final
from unicodedata import normalize

from dreamclient.messages import Code

from dreamd.dream.measures import split_words
from dreamd.errors import Refusal

# Every character but a blank is part of a word.
TABLE: Final = """CREATE VIRTUAL TABLE dream_search USING fts5 (
    words, tokenize = "unicode61 remove_diacritics 2 categories 'L* M* N* P* S* C*'"
)"""
# The statements that make a new index of the stored lines. Nothing of the old one is left.
REBUILD: Final = (
    "DROP TABLE IF EXISTS dream_search",
    TABLE,
    """INSERT INTO dream_search (rowid, words)
    SELECT id, dream_words(text) FROM dream_turns WHERE text <> ''""",
)

# A phrase in double quotes, or a word. A * after either stands for any ending.
_ASKED: Final = re.compile(r'"([^"]*)"(\*?)|([^\s"*]+)(\*?)')


def add_functions(connection: Connection) -> None:
    """Add the SQL function `dream_words` to a connection."""
    connection.create_function("dream_words", 1, words_of, deterministic=True)


def words_of(text: str) -> str:
    """Return the words of a text, with one blank between two."""
    return " ".join(split_words(normalize("NFC", text)))


def index_line(connection: Connection, turn_id: int, text: str) -> None:
    """Add a line that was just stored to the index, in its transaction."""
    connection.execute("INSERT INTO dream_search (rowid, words) VALUES (?, ?)", (turn_id, words_of(text)))


def forget_lines(connection: Connection, dialog_ids: str) -> None:
    """Delete the lines of dialogues (a JSON list of ids) from the index, and rebuild it of the words of the others: a
    deletion alone leaves words in its segments."""
    connection.execute(
        """DELETE FROM dream_search WHERE rowid IN
        (SELECT id FROM dream_turns WHERE dialog_id IN (SELECT value FROM json_each(?)))""",
        (dialog_ids,),
    )
    connection.execute("INSERT INTO dream_search (dream_search) VALUES ('rebuild')")


def find_lines(connection: Connection, asked: str, n: int, before: int | None = None) -> list[dict[str, Any]]:
    """Return the last n lines (of those before a line) that contain each word and "phrase", newest first: {id: of the
    line, dialog, turn, speaker, text, at}. `word*` stands for any ending. Raise Refusal if there is no word."""
    found = connection.execute(
        """SELECT dream_turns.id, dialog_id, turn, speaker, text, at
        FROM dream_search CROSS JOIN dream_turns ON dream_turns.id = dream_search.rowid
        WHERE dream_search MATCH ? AND dream_search.rowid < ? ORDER BY dream_search.rowid DESC LIMIT ?""",
        (_fts_expression(asked), before or (1 << 63) - 1, n),
    )
    return [dict(zip(("id", "dialog", "turn", "speaker", "text", "at"), row, strict=True)) for row in found]


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
