"""The copies of the database that lie beside it: of an earlier version, damaged, replaced, or from before a restore."""

import glob
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

from dreamd.store.file.files import PARTS, read_only, read_text

_STAMP: Final = re.compile(r"-\d{8}T\d{6}Z")  # of a name that `free_name_beside` gave
_NO_COPIES: Final = (".suspect", ".part")

# What shows that a copy is no whole database. Any other error may pass: a full disk, a program that has it open.
_DAMAGED: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def copies_of(database: Path) -> list[Path]:
    """Return the copies, a lone log too, by name. What a killed `dreamctl restore` left is one too."""
    found = {path for path in database.parent.glob(".dreamd-*.part") if path.is_file()}
    for path in database.parent.glob(f"{glob.escape(database.name)}.*"):
        whole = next(
            (path.with_name(path.name.removesuffix(part)) for part in PARTS[1:] if path.name.endswith(part)),
            path,
        )
        if not path.name.endswith(_NO_COPIES) and path.is_file():
            found.add(whole if whole.is_file() else path)
    return sorted(found)


def forget_in(
    copy: Path,
    holds: Callable[[sqlite3.Connection], bool],
    forget: Callable[[sqlite3.Connection], bool] | None,
) -> bool:
    """Return whether a copy may still hold what is to be forgotten. `forget` removes it from the copy, and returns
    whether all of it is gone; then a copy that is damaged is deleted, if its name shows that dreamd made it. Raise
    OSError or sqlite3.Error if it cannot be changed now."""
    try:
        with closing(read_only(copy)) as connection:
            if not holds(connection):
                return False
        if forget is None:
            return True
        with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
            connection.text_factory = read_text
            return not forget(connection)
    except sqlite3.Error as error:
        if forget is None:
            return True
        if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF not in _DAMAGED:
            raise
        if not _STAMP.search(copy.name):
            return True
        for part in _parts(copy):
            part.unlink()
        return False


def _parts(copy: Path) -> Iterator[Path]:
    for part in PARTS:
        if os.path.lexists(f"{copy}{part}"):
            yield Path(f"{copy}{part}")
