"""Taking over what leo's own dream.py kept inside his field's database. That file is only ever read."""

import hashlib
import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from stat import S_ISREG
from typing import Any, Final

import msgspec

from dreamd.dream.copies import Copy
from dreamd.errors import StoreError
from dreamd.store import checkpoints, transactions
from dreamd.store.file import look, read_only
from dreamd.store.reading import load
from dreamd.store.rows import LeosTables, Memory
from dreamd.store.schema import CONTINUE_COOLDOWN, LEOS_TABLES
from dreamd.store.trouble import name_of

Row = tuple[Any, ...]

OURS: Final = "dream_imports"  # a table that leo never had

# By field of LeosTables: the table, and its columns in the order of the rows, which come by the first of them.
_READ: Final = {
    "meta": ("dream_meta", ("key", "value")),
    "fragments": ("dream_bootstrap_fragments", ("id", "text", "weight")),
    "dialogs": (
        "dream_dialogs",
        ("id", "started_at", "finished_at", "episodes_count", "avg_trauma", "avg_arousal", "note"),
    ),
    "turns": (
        "dream_turns",
        ("id", "dialog_id", "speaker", "text", "trauma_level", "pulse_novelty", "pulse_arousal", "pulse_entropy"),
    ),
}  # fmt: skip


def read(file: Path) -> LeosTables:
    """All of leo's dream tables, of one moment. StoreError says why a file can't be imported."""
    try:
        before = os.stat(file)
        if not S_ISREG(before.st_mode):  # SQLite would hang on a pipe
            raise StoreError("it is no file")
        tables = look(file).tables
        if OURS in tables:
            raise StoreError("that is a database of dreamd's own, not leo's")
        if missing := sorted(LEOS_TABLES.keys() - tables):
            raise StoreError(f"it holds no {', '.join(missing)}: leo's own dream.py never ran with it")
        with closing(read_only(file)) as connection:
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            connection.execute("BEGIN")
            rows = {name: _rows(connection, table, columns) for name, (table, columns) in _READ.items()}
        after = os.stat(file)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"it cannot be read: {name_of(error)}") from None
    if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
        raise StoreError("it was written to while it was read: try again")
    try:
        return msgspec.convert(rows, LeosTables)
    except msgspec.ValidationError as error:  # which names places and types, no texts
        raise StoreError(f"a row is not as leo writes it: {error}") from None


def _rows(connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> list[Row]:
    """Raises StoreError where the table is another one than that of the leo who is known: nothing may be lost."""
    there = {name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")}
    if odd := sorted(there.symmetric_difference(columns)):
        raise StoreError(
            f"its {table} differs from what this dreamd knows, in {', '.join(odd)}: is that a newer leo's?"
        )
    chosen = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {columns[0]}"  # noqa: S608 - constants of this file
    return connection.execute(chosen).fetchall()


def take_over(
    connection: sqlite3.Connection, tables: LeosTables, first: int | None, before: Sequence[Copy], at: float
) -> tuple[dict[str, int], Memory]:
    """`store`, with what is to be kept in memory then. Where fragments came, the friend as he was `before` is
    kept as a checkpoint."""
    new = store(connection, tables, first, at)
    if new["fragments"]:
        checkpoints.keep(connection, checkpoints.PREVIOUS, before, at, again=True)
    return new, load(connection)


def rehearse(connection: sqlite3.Connection, tables: LeosTables, at: float) -> dict[str, int]:
    """What `store` would add; nothing is."""
    connection.execute("SAVEPOINT rehearsal")
    try:
        return store(connection, tables, None, at)
    finally:
        connection.execute("ROLLBACK TO rehearsal")


def store(connection: sqlite3.Connection, tables: LeosTables, first: int | None, at: float) -> dict[str, int]:
    """Add what is not here yet, as one transaction; a second time nothing is new.

    Dialogues and lines get ids of our own, dialogues those from `first` on, or the next. A dialogue that was imported
    while it ran comes again when it has ended. A line without a dialogue is kept as that. A fragment whose text the
    friend has goes to the past ones, with its weight.
    """
    new = Counter(dialogs=0, lines=0, fragments=0, meta=0, known=0)
    lines_of: dict[Any, list[Row]] = {}
    for turn in tables.turns:
        lines_of.setdefault(turn[1], []).append(turn)
    for place, dialog in enumerate(tables.dialogs):
        lines = lines_of.pop(dialog[0], [])
        if _is_new(connection, "dialog", (*dialog, *lines), at):
            _add_dialog(connection, None if first is None else first + place, dialog, lines)
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


def _add_dialog(connection: sqlite3.Connection, number: int | None, dialog: Row, lines: list[Row]) -> None:
    _, *columns = dialog
    added = connection.execute(
        "INSERT INTO dream_dialogs (id, started_at, finished_at, episodes_count, avg_trauma, avg_arousal, note,"
        " outcome, client) VALUES (?, ?, ?, ?, ?, ?, ?, 'imported', 'leo')",
        (number, *columns),
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
