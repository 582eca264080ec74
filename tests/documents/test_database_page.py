"""Check that docs/reference/database.md explains each table and each column of the newest schema."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from dreamd.store.schema import upgrade_in_place

TEXT = (Path(__file__).parents[2] / "docs/reference/database.md").read_text()


def made() -> dict[str, set[str]]:
    """Return the columns of each table that the migrations make, but for those that SQLite makes for an index."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        upgrade_in_place(database, 0)
        names = database.execute(
            """SELECT name FROM pragma_table_list WHERE type IN ('table', 'virtual') AND name LIKE 'dream_%'"""
        )
        return {
            name: {row[1] for row in database.execute(f"PRAGMA table_info({name})")}
            for (name,) in names.fetchall()
        }


def explained() -> dict[str, set[str]]:
    """Return the columns of each table on the page."""
    found = {}
    for part in TEXT.split("\n### ")[1:]:
        name, _, rest = part.partition("\n")
        rows = re.findall(r"^\| (`.+?`) \|", rest, re.MULTILINE)
        found[name] = {column for row in rows for column in re.findall(r"`(\w+)`", row)}
    return found


def test_each_table_and_column_is_explained() -> None:
    assert explained() == made()
