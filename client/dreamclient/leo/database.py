"""Find the file of leo's database, and open connections of our own to it, since his works only on its own thread.

The file is never guessed, since it holds leo's own memory, or another leo's. It is the one that his connection names,
asked on a thread that may ask. A leo in memory has no file: then nothing is fed, and that is counted.

Each call opens and closes a connection, so no thread gets another's, and no fork happens meanwhile. Leo's next
`observe` reads what was ingested. It counts towards nothing of his, memory decay included.
"""

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dreamclient.clients.process import unforked

# Seconds that a writer waits for another: sqlite3's own default. With none, four of 821 writes failed.
BUSY_S = 5.0
SNAPSHOTS = 512  # that leo keeps
FIELD_KEY = "dreamd_field"  # in leo's table `meta`: the id of the field, which goes with the file


class FieldDatabase:
    """The database file of one field, as far as it is known."""

    def __init__(self) -> None:
        # The connection of leo's that was asked, the path of its file if it has one, and the identity of that file.
        self._seen: tuple[Any, Path | None, Any] = (None, None, None)

    def look(self, leo: Any) -> None:
        """Ask leo's connection for its file, unless it was asked before. On another thread than leo's the question
        fails, and nothing changes. Each call of leo's calls this."""
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
        """Return the file of leo's connection. Return None if it has none, if the file is not known yet, or if another
        file has taken its place."""
        connection, path, identity = self._seen
        same = connection is not None and connection is getattr(leo, "conn", None)
        return path if same and identity is not None and identity == _identity(path) else None

    def field_id(self, leo: Any) -> str | None:
        """Return the id of the field in its file, and write one if there is none yet. Return None if the field has no
        file or no table `meta`."""
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
        """Drop the reference to leo's connection."""
        self._seen = (None, None, None)


def _identity(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path and os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


class _Held(sqlite3.Connection):
    """A connection that commits only in `commit_all`, since each of leo's functions calls `commit`."""

    def commit(self) -> None:
        """Do nothing: `commit_all` commits."""

    def commit_all(self) -> None:
        super().commit()


@contextmanager
def opened(path: Path, mode: str, busy_s: float = BUSY_S) -> Iterator[_Held]:
    """Open an existing database for this block; `mode` is "ro" or "rw". If another connection has it locked, wait for
    `busy_s` seconds at most. Changes without `commit_all` are rolled back."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with unforked(), closing(sqlite3.connect(uri, uri=True, timeout=busy_s, factory=_Held)) as connection:
        connection.row_factory = sqlite3.Row  # as leo's own has
        if mode == "rw":
            connection.execute("PRAGMA synchronous=NORMAL")  # WAL: a power cut may cost a dream, no more
        yield connection


def recall(
    path: Path, query: str, n: int, words_of: Callable[[str], list[str]], without: Collection[int] = ()
) -> list[str]:
    """Return the n of leo's snapshots that share most words with `query`, by Jaccard. Leave out those that share none,
    and those whose hash is in `without`. His counts of their use do not change."""
    with opened(path, "ro") as connection:
        newest = "SELECT text FROM snapshots ORDER BY id DESC LIMIT ?"
        rows = connection.execute(newest, (SNAPSHOTS,)).fetchall()
    asked = {word.casefold() for word in words_of(query)}
    scored = []
    for text in (text for (text,) in rows if hash(text) not in without):
        own = {word.casefold() for word in words_of(text)}
        if shared := len(asked & own):
            scored.append((shared / len(asked | own), text))
    scored.sort(key=lambda pair: -pair[0])
    return [text for _, text in scored[:n]]
