"""Feed lines of dreams into leo's tables, know what each added, and take it out again.

Temporary triggers of our own connection note each change that leo's `ingest_text` makes. So his way of counting is not
repeated here, and any leo works whose tables have a column `count`.

A line is taken out once: the mark of that is written to leo's table `meta` in the same transaction, and stays there
until the daemon has recorded the answer. A repeated call finds it and does nothing.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dreamclient.leo.database import FIELD_KEY, opened

TABLES = ("bigrams", "trigrams", "co_occurrence")  # those that `ingest_text` counts in
MARK = "dreamd.undone"  # in leo's `meta`; then trace id and turn. The value: the counts that were missing
# Words that an undone dream brought, and that others have used since: they go with the last of these dreams.
KEPT, KEPT_MOST = "dreamd.kept", 256

Added = Mapping[str, list[Any]]


def ingest(
    path: Path, texts: Iterable[str], ingest_text: Callable[[sqlite3.Connection, str], object]
) -> dict[str, list[Any]]:
    """Feed all of `texts` into the field by leo's own `ingest_text`, in one transaction. Return what they added:
    `keys`, each once, and for each table a flat list of indexes into `keys` and counts, such as [first, second, count,
    ..]. Of `tokens` there are the indexes alone. It is empty if leo's tables are others than those known here."""
    with opened(path, "rw") as connection:
        with suppress(sqlite3.Error):
            _note_changes(connection)
        connection.execute("BEGIN IMMEDIATE")
        for text in texts:
            ingest_text(connection, text)
        changed = _changes(connection)
        connection.commit_all()
        return changed


def _note_changes(connection: sqlite3.Connection) -> None:
    """Note the changes of leo's tables on this connection from now on, in a temporary table."""
    if not (tables := _key_columns(connection)):
        return
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("CREATE TEMP TABLE dreamd_changes (of, a, b, c, n)")
    note = (
        "CREATE TEMP TRIGGER dreamd_{0}_{1} AFTER {1} ON main.{0}"
        " BEGIN INSERT INTO dreamd_changes VALUES ('{0}', {2}); END"
    )
    for table, columns in tables.items():
        keys = [*(f'NEW."{column}"' for column in columns), "NULL", "NULL"][:3]
        for event, n in (("INSERT", "NEW.count"), ("UPDATE", "NEW.count - OLD.count")):
            connection.execute(note.format(table, event, ", ".join([*keys, n])))
    if _columns(connection, "tokens").keys() >= {"id", "token"}:
        connection.execute(note.format("tokens", "INSERT", "NEW.id, NULL, NULL, 1"))


def _changes(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    numbers: dict[Any, int] = {}
    found: dict[str, list[Any]] = {}
    if not connection.execute("SELECT 1 FROM sqlite_temp_master WHERE name = 'dreamd_changes'").fetchone():
        return found
    changes = "SELECT of, a, b, c, SUM(n) FROM dreamd_changes GROUP BY of, a, b, c HAVING SUM(n) > 0"
    for table, *keys, n in connection.execute(changes):
        row = found.setdefault(table, [])
        row += [numbers.setdefault(key, len(numbers)) for key in keys if key is not None]
        row += [n] if table != "tokens" else []
    return {"keys": list(numbers), **found}


def undo_line(path: Path, what: Added | None, meta: Mapping[str, Any]) -> int | None:
    """Take what a line added out of leo's tables, unless that was done. Return how many of its counts were not there
    any more, None if it was not done and `what` is not known. Raise LookupError if the file is another field's."""
    mark = f"{MARK}:{meta['trace_id']}:{meta['turn']}"
    with opened(path, "rw") as connection:
        connection.execute("PRAGMA synchronous=FULL")  # the daemon records for good that it was done
        connection.execute("BEGIN IMMEDIATE")
        _check_field(connection, meta)
        if done := connection.execute("SELECT value FROM meta WHERE key = ?", (mark,)).fetchone():
            return int(done[0])
        if what is None:
            return None
        missing = _subtract(connection, what)
        _delete_words(connection, [what["keys"][index] for index in what.get("tokens", ())])
        connection.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (mark, str(missing)))
        connection.commit_all()
        return missing


def drop_marks(path: Path, meta: Mapping[str, Any]) -> None:
    """Delete the marks of a dialogue: the daemon has recorded that its lines were taken out."""
    with opened(path, "rw") as connection:
        connection.execute("BEGIN IMMEDIATE")
        _check_field(connection, meta)
        start = f"{MARK}:{meta['trace_id']}:"
        connection.execute("DELETE FROM meta WHERE substr(key, 1, ?) = ?", (len(start), start))
        connection.commit_all()


def _check_field(connection: sqlite3.Connection, meta: Mapping[str, Any]) -> None:
    (field,) = connection.execute("SELECT value FROM meta WHERE key = ?", (FIELD_KEY,)).fetchone()
    if field != meta["field"]:
        raise LookupError("the dream was fed to another field")


def _subtract(connection: sqlite3.Connection, what: Added) -> int:
    """Subtract counts, never below zero. A row without a count goes. Return how many counts were missing."""
    missing = 0
    for table, columns in _key_columns(connection).items():
        where = " AND ".join(f'"{column}" = ?' for column in columns)
        rows = [iter(what.get(table, ()))] * (len(columns) + 1)
        for *indexes, n in zip(*rows, strict=True):
            keys = [what["keys"][index] for index in indexes]
            found = connection.execute(f"SELECT count FROM {table} WHERE {where}", keys).fetchone()  # noqa: S608
            has = max(0, found[0]) if found else 0
            missing += max(0, n - has)
            if has > n:
                connection.execute(f"UPDATE {table} SET count = count - ? WHERE {where}", [n, *keys])  # noqa: S608
            elif found:
                connection.execute(f"DELETE FROM {table} WHERE {where}", keys)  # noqa: S608
    return missing


def _delete_words(connection: sqlite3.Connection, words: list[int]) -> None:
    """Delete the words (ids) that a dream brought, and that no row uses. Keep in mind those that still are used."""
    before = connection.execute("SELECT value FROM meta WHERE key = ?", (KEPT,)).fetchone()
    if not (candidates := [*(json.loads(before[0]) if before else ()), *words]):
        return
    these = "(SELECT value FROM json_each(:these))"
    used = " UNION ".join(
        f'SELECT "{column}" FROM {table} WHERE "{column}" IN {these}'  # noqa: S608
        for table, columns in _key_columns(connection).items()
        for column in columns
    )
    left = [row[0] for row in connection.execute(used, {"these": json.dumps(candidates)})]
    gone = json.dumps([word for word in candidates if word not in left])
    connection.execute(f"DELETE FROM tokens WHERE id IN {these}", {"these": gone})  # noqa: S608
    connection.execute("DELETE FROM meta WHERE key = ?", (KEPT,))
    if left:
        kept = json.dumps(left[-KEPT_MOST:])
        connection.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (KEPT, kept))


def _columns(connection: sqlite3.Connection, table: str) -> dict[str, int]:
    """Return the columns of a table, and the place of each in its primary key, 0 for none."""
    return {row[1]: row[5] for row in connection.execute(f"PRAGMA table_info({table})")}


def _key_columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the key of each table that counts."""
    found = {table: _columns(connection, table) for table in TABLES}
    return {
        table: sorted((name for name, place in columns.items() if place), key=lambda name: columns[name])
        for table, columns in found.items()
        if "count" in columns
    }
