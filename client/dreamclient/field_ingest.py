"""Leo's database, on connections of our own: his is bound to the thread that made it, and refuses others.

Each call opens and closes one, so that there is nothing to hand between threads or to leave open, and no fork
happens meanwhile.
What is ingested is picked up by leo's next `observe`; it counts towards nothing of his, memory decay included.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from dreamclient.errors import UsageError
from dreamclient.forks import unforked

# Seconds that a writer waits for another: sqlite3's own default. With none, four of 821 writes failed.
BUSY_S = 5.0
IN_TURN_S = 0.25  # the same within a turn of a hook, for whose end leo waits


def database_of(field: Any, names: Mapping[str, Any]) -> Path:
    """The file behind `field`: what its connection says, where this thread may ask it, else leo's DB_PATH."""
    try:
        for _, schema, file in field.conn.execute("PRAGMA database_list").fetchall():
            if schema == "main" and file:
                return Path(file)
    except (sqlite3.Error, AttributeError):
        pass
    if names.get("DB_PATH") is None:
        raise UsageError("this field's database is in no file that could be found")
    return Path(names["DB_PATH"])


@contextmanager
def opened(path: Path, mode: str, busy_s: float = BUSY_S) -> Iterator[sqlite3.Connection]:
    """A connection to an existing database; `mode` is "ro" or "rw". It waits up to `busy_s` seconds for who has it
    locked. What is not committed is rolled back."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    with unforked(), closing(sqlite3.connect(uri, uri=True, timeout=busy_s)) as connection:
        connection.row_factory = sqlite3.Row  # as leo's own has
        if mode == "rw":
            connection.execute("PRAGMA synchronous=NORMAL")  # WAL: a power cut may cost a dream, no more
        yield connection


def ingest(
    path: Path, texts: Iterable[str], ingest_text: Callable[[sqlite3.Connection, str], object]
) -> None:
    """Feed each of `texts` into the field by leo's own `ingest_text`."""
    with opened(path, "rw") as connection:
        for text in texts:
            ingest_text(connection, text)
        connection.commit()


def recall(path: Path, query: str, n: int, words_of: Callable[[str], list[str]]) -> list[str]:
    """The n of leo's snapshots that share most words with `query`, by Jaccard; those that share none are left
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
