"""Use for leo's tables as the real one has them: words with ids, and pairs of new words that count double."""

import re
import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from tests.helpers.leo_database import FIELD_TABLES

TABLES = ("meta", "tokens", "bigrams", "trigrams", "co_occurrence")


def make_field(path: Path, text: str = "the river keeps the names of the stones and the lamp") -> Path:
    """Make a field at `path` that has observed a text and has an id."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"PRAGMA journal_mode = WAL; {FIELD_TABLES}")
        connection.execute("INSERT INTO meta VALUES ('dreamd_field', 'a field')")
        ingest_text(connection, text)
    return path


def tokenize(text: str) -> list[str]:
    return re.findall(r"[\w']+|[.,!?]", text)


def ingest_text(connection: sqlite3.Connection, text: str) -> None:
    tokens, ids, new = tokenize(text), [], set()
    for token in tokens:
        found = connection.execute("SELECT id FROM tokens WHERE token = ?", (token,)).fetchone()
        if found is None:
            found = (connection.execute("INSERT INTO tokens (token) VALUES (?)", (token,)).lastrowid,)
            new.add(found[0])
        ids.append(found[0])
    add = "INSERT INTO {} VALUES ({}, {}) ON CONFLICT DO UPDATE SET count = count + 1"
    connection.executemany(add.format("bigrams", "?, ?", 1), pairwise(ids))
    connection.executemany(add.format("trigrams", "?, ?, ?", 1), zip(ids, ids[1:], ids[2:], strict=False))
    near = [(a, b) for i, a in enumerate(ids) for j, b in enumerate(ids[: i + 6]) if i - 6 < j != i]
    rows = [(a, b, 2 if {a, b} & new else 1) for a, b in near]
    connection.executemany(add.format("co_occurrence", "?, ?", "?"), rows)
    connection.commit()


def forget_some(connection: sqlite3.Connection) -> None:
    """Forget as leo does now and then: every pair of words that are near each other fades."""
    connection.execute("UPDATE co_occurrence SET count = CAST(count * 0.9 AS INTEGER)")
    connection.execute("DELETE FROM co_occurrence WHERE count < 1")
    connection.commit()


def talk(path: Path, text: str) -> None:
    """Feed what was said by day."""
    with closing(sqlite3.connect(path)) as connection:
        ingest_text(connection, text)


def rows_of(path: Path) -> dict[str, list[tuple]]:
    """Return all rows of the tables that a dream may change."""
    with closing(sqlite3.connect(path)) as connection:
        return {
            table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in TABLES
        }


def counts_of(path: Path) -> dict[str, dict[tuple, int]]:
    """Return the counts by words, which have no ids then, of the tables that count."""
    with closing(sqlite3.connect(path)) as connection:
        words = dict(connection.execute("SELECT id, token FROM tokens"))
        return {
            table: {
                tuple(words[number] for number in numbers): count
                for *numbers, count in connection.execute(f"SELECT * FROM {table}")
            }
            for table in TABLES[2:]
        }
