"""The tables of the database, version by version.

The first migration starts from nothing, or from the four tables of leo's own dream.py (version 0), and adds dreamd's
columns. So one list of statements makes both a new database and an old one.
"""

import errno
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from dreamd.errors import StoreError, StoreForeign, StoreTooNew
from dreamd.store import reply_shares
from dreamd.store.file.files import Contents, back_up, free_name_beside, has_room
from dreamd.store.file.health import reason_for
from dreamd.store.file.transaction import run_transaction
from dreamd.store.search import REBUILD, add_functions

LEOS_TABLES: Final = {
    "dream_meta": "key TEXT PRIMARY KEY, value TEXT",
    "dream_bootstrap_fragments": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, weight REAL NOT NULL DEFAULT 1.0"
    ),
    # episodes_count: lines spoken
    "dream_dialogs": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT, started_at REAL NOT NULL, finished_at REAL,"
        " episodes_count INTEGER DEFAULT 0, avg_trauma REAL, avg_arousal REAL, note TEXT"
    ),
    "dream_turns": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT, dialog_id INTEGER REFERENCES dream_dialogs(id),"
        " speaker TEXT NOT NULL, text TEXT NOT NULL, trauma_level REAL,"
        " pulse_novelty REAL, pulse_arousal REAL, pulse_entropy REAL"
    ),
}

_FROM_LEOS_TABLES: Final = (
    *(f"CREATE TABLE IF NOT EXISTS {name} ({columns})" for name, columns in LEOS_TABLES.items()),
    "ALTER TABLE dream_bootstrap_fragments ADD COLUMN origin INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE dream_bootstrap_fragments ADD COLUMN dialog_id INTEGER",  # the dialogue it came from
    "ALTER TABLE dream_bootstrap_fragments ADD COLUMN added_at REAL NOT NULL DEFAULT 0",
    # Fragments that have left the buffer: a replay still needs their texts.
    """CREATE TABLE dream_fragments_past (
        id INTEGER PRIMARY KEY, text TEXT NOT NULL, weight REAL NOT NULL, origin INTEGER NOT NULL,
        dialog_id INTEGER, added_at REAL NOT NULL, left_at REAL NOT NULL
    )""",
    "ALTER TABLE dream_dialogs ADD COLUMN trace_id TEXT",  # nil: not a dialogue of dreamd's, so it has no shard
    "ALTER TABLE dream_dialogs ADD COLUMN outcome TEXT",
    "ALTER TABLE dream_dialogs ADD COLUMN client TEXT",
    "ALTER TABLE dream_dialogs ADD COLUMN session INTEGER",
    "ALTER TABLE dream_dialogs ADD COLUMN rng_seed TEXT",  # decimal: it may exceed 64 bits
    "ALTER TABLE dream_dialogs ADD COLUMN context TEXT",  # JSON; nil: not kept
    "ALTER TABLE dream_dialogs ADD COLUMN settings TEXT",  # JSON
    "ALTER TABLE dream_dialogs ADD COLUMN friend_state BLOB",
    "ALTER TABLE dream_dialogs ADD COLUMN recalled TEXT",  # JSON list; nil: not kept
    "ALTER TABLE dream_dialogs ADD COLUMN drift REAL",
    "ALTER TABLE dream_dialogs ADD COLUMN shard_at REAL",  # when its inbox file was written
    "ALTER TABLE dream_turns ADD COLUMN turn INTEGER",  # from 1
    "ALTER TABLE dream_turns ADD COLUMN overlap REAL",
    "ALTER TABLE dream_turns ADD COLUMN quality REAL",
    "ALTER TABLE dream_turns ADD COLUMN seed TEXT",
    "ALTER TABLE dream_turns ADD COLUMN temperature REAL",
    "ALTER TABLE dream_turns ADD COLUMN semantic_weight REAL",
    "ALTER TABLE dream_turns ADD COLUMN expert TEXT",
    "ALTER TABLE dream_turns ADD COLUMN said TEXT",
    "ALTER TABLE dream_turns ADD COLUMN observed TEXT",  # sent, answered, refused, failed, unfed
    "ALTER TABLE dream_turns ADD COLUMN at REAL",
    # The rows of other databases that were imported already: SHA-256 of each.
    "CREATE TABLE dream_imports (row BLOB PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID",
    """UPDATE dream_turns SET turn = numbered.turn FROM (
        SELECT id, row_number() OVER (PARTITION BY dialog_id ORDER BY id) AS turn FROM dream_turns
    ) AS numbered WHERE numbered.id = dream_turns.id""",
    "UPDATE dream_dialogs SET outcome = 'imported', client = 'leo'",
    "CREATE UNIQUE INDEX dream_turns_in_order ON dream_turns (dialog_id, turn)",
    "CREATE UNIQUE INDEX dream_dialogs_by_trace ON dream_dialogs (trace_id)",
    "CREATE INDEX dream_dialogs_by_start ON dream_dialogs (started_at)",
    # These three are nearly empty, or read from their end, so a start costs no more after a million lines. Queries name
    # them, because SQLite would prefer to search by_trace for all that is not nil.
    """CREATE INDEX dream_dialogs_open ON dream_dialogs (id)
       WHERE finished_at IS NULL AND trace_id IS NOT NULL""",
    """CREATE INDEX dream_dialogs_unwritten ON dream_dialogs (id)
       WHERE shard_at IS NULL AND finished_at IS NOT NULL AND trace_id IS NOT NULL AND episodes_count > 0""",
    "CREATE INDEX dream_dialogs_drift ON dream_dialogs (id) WHERE drift IS NOT NULL",
    # Counters, so that rows need never be counted.
    "INSERT INTO dream_meta SELECT 'dream_lines', count(*) FROM dream_turns",
    "INSERT INTO dream_meta SELECT 'dream_outcome:imported', count(*) FROM dream_dialogs",
    """INSERT INTO dream_meta SELECT 'dream_measured', count(*) FROM dream_dialogs
       WHERE avg_trauma IS NOT NULL AND avg_arousal IS NOT NULL""",
    """INSERT INTO dream_meta SELECT 'dream_sum_trauma', total(avg_trauma) FROM dream_dialogs
       WHERE avg_arousal IS NOT NULL""",
    """INSERT INTO dream_meta SELECT 'dream_sum_arousal', total(avg_arousal) FROM dream_dialogs
       WHERE avg_trauma IS NOT NULL""",
    # The cooldown that leo kept continues in dreamd's key.
    """INSERT OR IGNORE INTO dream_meta (key, value)
       SELECT 'dream_last_run_ts', value FROM dream_meta WHERE key = 'last_run_ts' AND CAST(value AS REAL) > 0""",
)

_CHECKPOINTS: Final = (
    # The friend as it was, by name; a later one has a higher rowid. fragments: JSON, a list of FragmentRecord.
    """CREATE TABLE dream_checkpoints (
        name TEXT PRIMARY KEY, at REAL NOT NULL, learned INTEGER NOT NULL, origin INTEGER NOT NULL,
        fragments TEXT NOT NULL
    )""",
)

_AFTER_0_1_0: Final = (
    # The texts that the hook returned, of which the line is a part: a JSON list. nil: not kept, or of 0.1.0, with
    # `said`.
    "ALTER TABLE dream_turns ADD COLUMN candidates TEXT",
    # The values among which the gates rank a context, by signal: MessagePack.
    "CREATE TABLE dream_signals (client TEXT PRIMARY KEY, at REAL NOT NULL, recent BLOB NOT NULL)",
    "CREATE INDEX dream_signals_by_time ON dream_signals (at)",
    # A dialogue goes on with the next session of its client that feeds this field, if this version of dreamd began it.
    "ALTER TABLE dream_dialogs ADD COLUMN field TEXT",  # as `hello` gave it; nil: it does not go on
    "ALTER TABLE dream_dialogs ADD COLUMN version TEXT",  # version of dreamd
    "ALTER TABLE dream_dialogs ADD COLUMN interruptions INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE dream_dialogs ADD COLUMN interrupted_in TEXT",  # the hook and the turn
)

_SEARCH_AND_DECISIONS: Final = (
    *REBUILD,
    # The last decisions, JSON; and how many there were on each day (UTC) for each reason.
    "CREATE TABLE dream_decisions (id INTEGER PRIMARY KEY, decision TEXT NOT NULL)",
    """CREATE TABLE dream_decision_counts (
        day TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (day, reason)
    ) WITHOUT ROWID""",
)

_TRACING: Final[Sequence[str]] = (
    # 0: with dialogue.feed off, so that leo was fed nothing and the friend learned nothing.
    "ALTER TABLE dream_dialogs ADD COLUMN fed INTEGER NOT NULL DEFAULT 1",
    *reply_shares.TABLES,
    # The replies after those for which chance alone decided whether to dream. Figures alone, no text.
    """CREATE TABLE dream_trial (
        id INTEGER PRIMARY KEY, at REAL NOT NULL, client TEXT NOT NULL, chance REAL NOT NULL,
        dreamt INTEGER NOT NULL, fed INTEGER NOT NULL,
        novelty REAL, quality REAL, distinct_pairs REAL, origin REAL, from_dreams REAL
    )""",
    # 1: the user dropped it, so a restore that brings it back says so.
    "ALTER TABLE dream_fragments_past ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0",
    # A dialogue can be taken back out of the field.
    "ALTER TABLE dream_turns ADD COLUMN added BLOB",  # MessagePack, as `observe` answered it; nil: not kept
    "ALTER TABLE dream_turns ADD COLUMN undone TEXT",  # done, or unknown: it may still be in the field
    "ALTER TABLE dream_turns ADD COLUMN missing INTEGER",  # counts that were gone when it was taken back
    "ALTER TABLE dream_dialogs ADD COLUMN undone TEXT",  # waiting, done
    "ALTER TABLE dream_dialogs ADD COLUMN undone_at REAL",
    "CREATE INDEX dream_dialogs_to_undo ON dream_dialogs (id) WHERE undone = 'waiting'",
)

# The n-th migrates version n to n + 1. Only append: a released migration is never edited.
MIGRATIONS: Final[Sequence[Sequence[str]]] = (
    _FROM_LEOS_TABLES,
    _CHECKPOINTS,
    _AFTER_0_1_0,
    _SEARCH_AND_DECISIONS,
    _TRACING,
)
# Tables that Litestream adds to the databases that it replicates.
_LITESTREAMS: Final = frozenset({"_litestream_seq", "_litestream_lock"})


def foreign_tables(tables: Iterable[str]) -> list[str]:
    """Return the table names, sorted, that are neither dreamd's nor known to live beside them."""
    return sorted(name for name in tables if not name.startswith("dream_") and name not in _LITESTREAMS)


def is_dreamds(contents: Contents) -> bool:
    """Return whether the tables prove that dreamd, or leo's own dream.py, made the database."""
    if contents.version == 0:
        return contents.tables == LEOS_TABLES.keys()
    return contents.version > 0 and contents.tables >= {*LEOS_TABLES, "dream_fragments_past"}


def check_contents(contents: Contents, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Raise StoreForeign or StoreTooNew if dreamd must not write to the database."""
    if foreign := foreign_tables(contents.tables):
        shown = ", ".join(foreign[:4]) + (", .." if len(foreign) > 4 else "")
        raise StoreForeign(
            f"it holds tables of others ({shown}); dreamd writes only to a database of its own"
        )
    if contents.version < 0:
        raise StoreForeign(f"it is of version {contents.version}, which no dreamd has written")
    if contents.version > len(migrations):
        raise StoreTooNew(
            f"it is of version {contents.version}, this dreamd knows {len(migrations)}: upgrade dreamd;"
            " the file was left untouched"
        )


def migrate_database(
    connection: sqlite3.Connection,
    path: Path,
    contents: Contents,
    at: float,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
) -> str | None:
    """Migrate the database to the newest version, and back it up first if it holds anything.

    Return a note on what was done, or None if there was nothing to keep or to do. Raise StoreError if the tables are
    not those of its version, OSError if the disk has no room for the backup.
    """
    version = contents.version
    if version == len(migrations):
        return None
    copy = free_name_beside(path, f"version-{version}", at) if contents.tables else None
    if copy:
        if not has_room(connection):  # it is tried again at each tick, which would fill the disk each time
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        back_up(connection, copy)
    try:
        upgrade_in_place(connection, version, migrations)
    except BaseException as error:  # it is tried again, and each time another copy would be left
        if copy and connection.execute("PRAGMA user_version").fetchone() == (version,):
            os.unlink(copy)
        if isinstance(error, sqlite3.OperationalError) and reason_for(error) is None:
            raise StoreError(
                f"its tables are not those of its version, {version}; does it come from a dump? Then give it the"
                " `PRAGMA user_version` of the old one, which a dump loses. Its rows are as they were"
            ) from None
        raise
    return (
        f"migrated from version {version} to {len(migrations)}; the old one is kept as {copy.name}"
        if copy
        else None
    )


def upgrade_in_place(
    connection: sqlite3.Connection, version: int, migrations: Sequence[Sequence[str]] = MIGRATIONS
) -> None:
    """Migrate a database of `version` in place, in one transaction: each takes a wait for the disk."""
    add_functions(connection)
    statements = (statement for step in migrations[version:] for statement in step)
    run_transaction(connection, _run_all, (*statements, f"PRAGMA user_version = {len(migrations)}"))


def _run_all(connection: sqlite3.Connection, statements: Sequence[str]) -> None:
    for statement in statements:
        connection.execute(statement)
