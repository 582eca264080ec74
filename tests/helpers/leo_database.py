"""Use to import what leo left: his field with the dream tables in it, and the dream tables in a file of their own.

`python -m tests.helpers.leo_database` writes both into tests/data. They are frozen: tests read copies of them.
"""

import sqlite3
from contextlib import closing
from itertools import pairwise
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
FIELD = DATA / "leo_field.sqlite3"
BARE = DATA / "leo_field_bare.sqlite3"

FIELD_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT UNIQUE);
CREATE TABLE bigrams (src_id INTEGER, dst_id INTEGER, count INTEGER, PRIMARY KEY (src_id, dst_id));
CREATE TABLE trigrams (
    first_id INTEGER, second_id INTEGER, third_id INTEGER, count INTEGER,
    PRIMARY KEY (first_id, second_id, third_id)
);
CREATE TABLE co_occurrence (
    word_id INTEGER, context_id INTEGER, count INTEGER, PRIMARY KEY (word_id, context_id)
);
CREATE TABLE snapshots (
    id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, origin TEXT, quality REAL, emotional REAL,
    created_at INTEGER, last_used_at INTEGER, use_count INTEGER DEFAULT 0, cluster_id INTEGER
);
"""

DREAM_TABLES = """
CREATE TABLE dream_meta (key TEXT PRIMARY KEY, value TEXT);
CREATE TABLE dream_bootstrap_fragments (
    id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, weight REAL NOT NULL DEFAULT 1.0
);
CREATE TABLE dream_dialogs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, started_at REAL NOT NULL, finished_at REAL,
    episodes_count INTEGER DEFAULT 0, avg_trauma REAL, avg_arousal REAL, note TEXT
);
CREATE TABLE dream_turns (
    id INTEGER PRIMARY KEY AUTOINCREMENT, dialog_id INTEGER REFERENCES dream_dialogs(id),
    speaker TEXT NOT NULL, text TEXT NOT NULL, trauma_level REAL,
    pulse_novelty REAL, pulse_arousal REAL, pulse_entropy REAL
);
"""

META = [("initialized", "1"), ("last_run_ts", "1700000720.5")]
FRAGMENTS = [
    (1, "The river keeps the names of its stones.", 0.8681),
    (2, "Nobody taught the lamp to wait.", 0.8681),
    (4, "Тихий дом слушает дождь.", 0.9224),
    (7, "a stone, a name, a lamp", 0.35),
    (8, "a stone, a name, a lamp", 0.343),
]
# One that spoke, two that never did (leo's usual), one that he left in the middle.
DIALOGS = [
    (1, 1700000000.25, 1700000000.25, 4, 0.62, 0.41, "first night"),
    (2, 1700000360.0, 1700000360.0, 0, 0.0, 0.0, None),
    (3, 1700000360.0, 1700000360.0, 0, 0.0, 0.0, None),
    (5, 1700000720.5, None, 0, None, None, "left in the middle ☂"),
]
TURNS = [
    (1, 1, "leo", "the river was here before the lamp", 0.6, 0.7, 0.4, 0.5),
    (2, 1, "friend", "then let it wait for the stones", 0.7, 0.7, 0.5, 0.5),
    (3, 1, "leo", "stones do not wait, they are", 0.6, 0.7, 0.3, 0.5),
    (4, 1, "friend", "they are what waiting leaves", 0.58, 0.7, 0.44, 0.5),
    (9, 5, "leo", "дождь?", None, None, None, None),
    (12, 77, "friend", "a line whose dialogue is gone", 0.5, 0.5, 0.5, 0.5),
]


def add_dreams(connection: sqlite3.Connection) -> None:
    """Make the four dream tables, and fill them."""
    connection.executescript(DREAM_TABLES)
    connection.executemany("INSERT INTO dream_meta VALUES (?, ?)", META)
    connection.executemany("INSERT INTO dream_bootstrap_fragments VALUES (?, ?, ?)", FRAGMENTS)
    connection.executemany("INSERT INTO dream_dialogs VALUES (?, ?, ?, ?, ?, ?, ?)", DIALOGS)
    connection.executemany("INSERT INTO dream_turns VALUES (?, ?, ?, ?, ?, ?, ?, ?)", TURNS)


def add_field(connection: sqlite3.Connection, text: str) -> None:
    """Make the tables of a small field that has observed a text."""
    connection.executescript(FIELD_TABLES)
    words = text.split()
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words), 1)}
    ids = [numbers[word] for word in words]
    connection.execute("INSERT INTO meta VALUES ('bootstrap_done', '1')")
    connection.executemany("INSERT INTO tokens (token, id) VALUES (?, ?)", numbers.items())
    upsert = "ON CONFLICT DO UPDATE SET count = count + 1"
    connection.executemany(f"INSERT INTO bigrams VALUES (?, ?, 1) {upsert}", pairwise(ids))
    triples = zip(ids, ids[1:], ids[2:], strict=False)
    connection.executemany(f"INSERT INTO trigrams VALUES (?, ?, ?, 1) {upsert}", triples)
    near = [(a, b) for i, a in enumerate(ids) for b in ids[max(0, i - 5) : i + 6] if a != b]
    connection.executemany(f"INSERT INTO co_occurrence VALUES (?, ?, 1) {upsert}", near)
    connection.execute(
        "INSERT INTO snapshots (text, origin, quality, emotional, created_at, last_used_at)"
        " VALUES (?, 'leo', 0.6, 0.2, 1700000000, 1700000000)",
        (text,),
    )


def write(path: Path, *, field: bool) -> None:
    """Make a new database at `path`: the field with the dream tables, or only the latter."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA page_size = 512")
        if field:
            connection.execute("PRAGMA journal_mode = WAL")  # leo's field is kept so
            add_field(connection, "the river keeps the names of the stones and the lamp keeps the river")
        add_dreams(connection)
        connection.commit()


if __name__ == "__main__":
    for target in (FIELD, BARE):
        target.unlink(missing_ok=True)
        write(target, field=target == FIELD)
