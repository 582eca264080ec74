"""Copying a dream database, and explaining its errors."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click

from dreamd.errors import StoreError
from dreamd.store.file.files import Tell, copy_into, is_alone, read_only
from dreamd.store.file.health import DAMAGED, FULL, LOCKED, name_of, reason_for
from dreamd.store.file.open_files import file_stamp


@contextmanager
def errors_explained(
    file: Path, target: Path, undone: str, damaged: str = "no database, or damaged"
) -> Iterator[None]:
    """Turn an error of SQLite or the store at `file`, or a full disk at `target`, into a ClickException of one line."""
    try:
        yield
    except StoreError as error:
        raise click.ClickException(f"{file}: {error}") from None
    except sqlite3.Error as error:
        trouble = reason_for(error)
        if trouble == FULL:
            raise click.ClickException(f"{target}: {FULL}; {undone}") from None
        words = {DAMAGED: damaged, LOCKED: "locked by another program; end it, and try again"}
        what = words.get(trouble or "") or trouble or name_of(error)
        raise click.ClickException(f"{file}: {what}; {undone}") from None


def copy_database(database: Path, part: Path, tell: Tell | None = None) -> None:
    """Copy the database, as it is at one moment, into an empty file. Raise sqlite3.Error, OSError, ClickException."""
    before = file_stamp(database) if is_alone(database) else None
    with closing(read_only(database)) as source:
        source.execute("BEGIN")  # one moment: a write by another program does not restart the copy
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        copy_into(source, part, tell)
    if before not in (None, file_stamp(database)):  # if no program had it open, it was read without a lock
        raise click.ClickException(f"{database} was written to while it was copied: try again")


def check_copied(connection: sqlite3.Connection) -> dict[str, int]:
    """Check a whole dream database and return its numbers of pages and dialogues. Raise sqlite3.Error."""
    if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        damage = sqlite3.DatabaseError()
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage
    ((pages,),) = connection.execute("PRAGMA page_count")
    ((dialogues,),) = connection.execute("SELECT count(*) FROM dream_dialogs")
    return {"pages": pages, "dialogues": dialogues}
