"""Taking over what leo's own dream.py kept inside his field's database. That file is only ever read."""

import hashlib
import os
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from dreamd.errors import StoreError
from dreamd.store import transactions
from dreamd.store.file import look, read_only
from dreamd.store.schema import CONTINUE_COOLDOWN, LEOS_TABLES
from dreamd.store.trouble import name_of

Row = tuple[Any, ...]

_READ: Final = {
    "dream_meta": "SELECT key, value FROM dream_meta ORDER BY key",
    "dream_bootstrap_fragments": "SELECT id, text, weight FROM dream_bootstrap_fragments ORDER BY id",
    "dream_dialogs": (
        "SELECT id, started_at, finished_at, episodes_count, avg_trauma, avg_arousal, note"
        " FROM dream_dialogs ORDER BY id"
    ),
    "dream_turns": (
        "SELECT id, dialog_id, speaker, text, trauma_level, pulse_novelty, pulse_arousal, pulse_entropy"
        " FROM dream_turns ORDER BY id"
    ),
}


class LeosTables(NamedTuple):
    """The rows of the four tables, with the columns and in the order of `_READ`."""

    meta: list[Row]
    fragments: list[Row]
    dialogs: list[Row]
    turns: list[Row]


def read(file: Path, *, ours: Path) -> LeosTables:
    """All of leo's dream tables, of one moment. StoreError says why a file can't be imported."""
    try:
        before = os.stat(file)
        if os.path.samefile(file, ours):
            raise StoreError("that is dreamd's own database")
        missing = sorted(LEOS_TABLES.keys() - look(file).tables)
        if missing:
            raise StoreError(f"it holds no {', '.join(missing)}")
        with closing(read_only(file)) as connection:
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            connection.execute("BEGIN")
            tables = LeosTables(*(connection.execute(sql).fetchall() for sql in _READ.values()))
        after = os.stat(file)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"it cannot be read: {name_of(error)}") from None
    if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
        raise StoreError("it was written to while it was read: try again")
    return tables


def store(connection: sqlite3.Connection, tables: LeosTables, at: float) -> dict[str, int]:
    """Add what is not here yet, as one transaction; a second time nothing is new.

    Dialogues and lines get ids of our own; a dialogue that was imported while it ran comes again when it has
    ended. A line without a dialogue is kept as that. A fragment whose text the friend has goes to the past
    ones, with its weight.
    """
    new = Counter(dialogs=0, lines=0, fragments=0, meta=0, known=0)
    lines_of: dict[Any, list[Row]] = {}
    for turn in tables.turns:
        lines_of.setdefault(turn[1], []).append(turn)
    for dialog in tables.dialogs:
        lines = lines_of.pop(dialog[0], [])
        if _is_new(connection, "dialog", (*dialog, *lines), at):
            _add_dialog(connection, dialog, lines)
            new.update(dialogs=1, lines=len(lines))
        else:
            new.update(known=1 + len(lines))
    for line in (line for orphans in lines_of.values() for line in orphans):
        if _is_new(connection, "line", line, at):
            _add_line(connection, None, None, line)
            new.update(lines=1)
        else:
            new.update(known=1)
    ours = {text for (text,) in connection.execute("SELECT text FROM dream_bootstrap_fragments")}
    for number, text, weight in tables.fragments:
        if _is_new(connection, "fragment", (number, text), at):
            _add_fragment(connection, text, weight, at, wanted=text not in ours)
            new.update(fragments=1)
        else:
            new.update(known=1)
    for key, value in tables.meta:
        new.update({"meta" if _set_meta(connection, key, value) else "known": 1})
    connection.execute(CONTINUE_COOLDOWN)
    transactions.add(connection, transactions.OUTCOME + "imported", new["dialogs"])
    transactions.add(connection, "dream_lines", new["lines"])
    return dict(new)


def _is_new(connection: sqlite3.Connection, kind: str, row: Row, at: float) -> bool:
    mark = hashlib.sha256(msgspec.msgpack.encode((kind, row))).digest()
    marked = connection.execute("INSERT OR IGNORE INTO dream_imports (row, at) VALUES (?, ?)", (mark, at))
    return marked.rowcount > 0


def _add_dialog(connection: sqlite3.Connection, dialog: Row, lines: list[Row]) -> None:
    _, *columns = dialog
    added = connection.execute(
        "INSERT INTO dream_dialogs (started_at, finished_at, episodes_count, avg_trauma, avg_arousal, note,"
        " outcome, client) VALUES (?, ?, ?, ?, ?, ?, 'imported', 'leo')",
        columns,
    )
    for turn, line in enumerate(lines, 1):
        _add_line(connection, added.lastrowid, turn, line)
    transactions.add_averages(connection, trauma=dialog[4], arousal=dialog[5])


def _add_line(connection: sqlite3.Connection, dialog_id: int | None, turn: int | None, line: Row) -> None:
    _, _, *columns = line
    connection.execute(
        "INSERT INTO dream_turns (dialog_id, turn, speaker, text, trauma_level, pulse_novelty, pulse_arousal,"
        " pulse_entropy) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (dialog_id, turn, *columns),
    )


def _add_fragment(
    connection: sqlite3.Connection, text: str, weight: float, at: float, *, wanted: bool
) -> None:
    added = connection.execute(
        "INSERT INTO dream_bootstrap_fragments (text, weight, added_at) VALUES (?, ?, ?)", (text, weight, at)
    )
    if not wanted:
        assert added.lastrowid is not None
        transactions.retire_fragment(connection, added.lastrowid, at)


def _set_meta(connection: sqlite3.Connection, key: str, value: str | None) -> bool:
    """Keep leo's key, but out of the way of our own. Returns whether that changed anything."""
    kept_as = f"leo:{key}" if key.startswith("dream_") else key
    changed = connection.execute(
        "INSERT INTO dream_meta (key, value) VALUES (?1, ?2)"
        " ON CONFLICT (key) DO UPDATE SET value = ?2 WHERE value IS NOT ?2",
        (kept_as, value),
    )
    return changed.rowcount > 0
