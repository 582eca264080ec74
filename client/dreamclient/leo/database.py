"""Leo's database: which file it is, and connections of our own to it: his is bound to the thread that made it.

The file is never guessed: what is written there is leo's own memory, or another leo's. It is the one that his
connection names, asked on a thread that may ask. A leo in memory has no file; then nothing is fed, and counted.

Each call opens and closes a connection, so that there is nothing to hand between threads or to leave open, and no
fork happens meanwhile. What is ingested is picked up by leo's next `observe`; it counts towards nothing of his,
memory decay included.
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dreamclient.clients.process import unforked

# Seconds that a writer waits for another: sqlite3's own default. With none, four of 821 writes failed.
BUSY_S = 5.0
FIELD_KEY = "dreamd_field"  # in leo's table `meta`: the id of the field, which goes with the file


class FieldDatabase:
    """The file behind one field, as far as it is known."""

    def __init__(self) -> None:
        # What a connection of leo's said of its file: itself, the path if there is one, and which file that is.
        self._seen: tuple[Any, Path | None, Any] = (None, None, None)

    def look(self, leo: Any) -> None:
        """Ask leo's connection for its file, unless it was asked before. A thread that may not ask learns nothing:
        leo's own threads call this with each of his calls."""
        connection = getattr(leo, "conn", None)
        if connection is None or self._seen[0] is connection:
            return
        try:
            rows = connection.execute("PRAGMA database_list").fetchall()
        except (sqlite3.Error, AttributeError):
            return
        path = next((Path(file) for _, schema, file in rows if schema == "main" and file), None)
        self._seen = (connection, path, _identity(path))

    def path(self, leo: Any) -> Path | None:
        """Return the file behind leo's connection, or None: there is none, it is not known yet, or another file
        has taken its place."""
        connection, path, identity = self._seen
        same = connection is not None and connection is getattr(leo, "conn", None)
        return path if same and identity is not None and identity == _identity(path) else None

    def field_id(self, leo: Any) -> str | None:
        """Return the id of the field in this file, made if it has none yet; None if there is no place for one."""
        path = self.path(leo)
        if path is None:
            return None
        with opened(path, "rw") as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                return None
            read = "SELECT value FROM meta WHERE key = ?"
            if not connection.execute(read, (FIELD_KEY,)).fetchone():
                add = "INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)"
                connection.execute(add, (FIELD_KEY, os.urandom(8).hex()))
                connection.commit_all()
            (found,) = connection.execute(read, (FIELD_KEY,)).fetchone()
            return str(found)

    def forget(self) -> None:
        """Let go of leo's connection."""
        self._seen = (None, None, None)


def _identity(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path and os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


class _Held(sqlite3.Connection):
    """A connection whose `commit` waits for ours: leo's functions commit each by itself."""

    def commit(self) -> None:
        """Nothing, yet."""

    def commit_all(self) -> None:
        super().commit()


@contextmanager
def opened(path: Path, mode: str, busy_s: float = BUSY_S) -> Iterator[_Held]:
    """A connection to an existing database; `mode` is "ro" or "rw". It waits up to `busy_s` seconds for another
    connection that has it locked. What is not committed by `commit_all` is rolled back."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with unforked(), closing(sqlite3.connect(uri, uri=True, timeout=busy_s, factory=_Held)) as connection:
        connection.row_factory = sqlite3.Row  # as leo's own has
        if mode == "rw":
            connection.execute("PRAGMA synchronous=NORMAL")  # WAL: a power cut may cost a dream, no more
        yield connection


def ingest(
    path: Path, texts: Iterable[str], ingest_text: Callable[[sqlite3.Connection, str], object]
) -> None:
    """Feed each of `texts` into the field by leo's own `ingest_text`: all of them, or none."""
    with opened(path, "rw") as connection:
        connection.execute("BEGIN IMMEDIATE")
        for text in texts:
            ingest_text(connection, text)
        connection.commit_all()


def recall(path: Path, query: str, n: int, words_of: Callable[[str], list[str]]) -> list[str]:
    """Return the n of leo's snapshots that share most words with `query`, by Jaccard; those that share none are left
    out. His counts of their use are not touched."""
    with opened(path, "ro") as connection:
        rows = connection.execute("SELECT text FROM snapshots ORDER BY id DESC LIMIT 512").fetchall()
    asked = {word.casefold() for word in words_of(query)}
    scored = []
    for (text,) in rows:
        own = {word.casefold() for word in words_of(text)}
        if shared := len(asked & own):
            scored.append((shared / len(asked | own), text))
    scored.sort(key=lambda pair: -pair[0])
    return [text for _, text in scored[:n]]
