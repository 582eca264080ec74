"""`backup`: the dream database in one file, copied by SQLite itself, with a daemon or without one."""

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
from dreamclient.messages import Method
from dreamclient.paths import state_dir

from dreamd.ctl.daemon.connection import Target, emit, json_option
from dreamd.ctl.machine.output_files import check_free, regular, replacing
from dreamd.ctl.terminal.ascii import Plain
from dreamd.ctl.terminal.layout import labelled, size, width
from dreamd.errors import StoreError
from dreamd.store.file.files import Tell, copy_into, is_alone, look, read_only
from dreamd.store.file.health import DAMAGED, FULL, LOCKED, name_of, trouble_of
from dreamd.store.schema import others


@click.command
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), callback=regular)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
@click.pass_obj
def backup(target: Target, file: Path, force: bool) -> None:
    """Copy the dream database to FILE: whole, of one moment, and checked. Leo dreams on meanwhile.

    Works with the daemon dead too. FILE holds his dreams: it is readable for you alone. The inbox is plain files;
    copy its folder.

    \b
    dreamctl backup dreams.sqlite3
    dreamctl backup --force /media/stick/dreams.sqlite3
    """
    database = _database(target)
    if not os.path.isfile(database):
        raise click.ClickException(f"there is no database at {database}; name its folder with --state-dir")
    check_free(file, database.parent, force=force)
    with bar("backup") as tell:
        about = {"path": str(file), "database": str(database), **_back_up(database, file, tell)}
    if target.as_json:
        emit(about)
    else:
        rows = [("backup", str(file)), ("of", str(database)), ("dialogues", str(about["dialogues"]))]
        click.echo(labelled([*rows, ("size", size(about["bytes"]))], width()))


def _database(target: Target) -> Path:
    """Return that of the state folder; if only a socket was named, that of the daemon behind it."""
    if target.socket_alone:
        with target.daemon() as daemon:
            return Path(daemon.call(Method.STATUS)["database"]["path"])
    return state_dir(target.given_state) / "dream.sqlite3"


def _back_up(database: Path, file: Path, tell: Tell | None) -> dict[str, Any]:
    try:
        with explained(database, file, "no backup was made", "damaged; `dreamctl doctor` says what to do"):
            tables = look(database).tables
            if "dream_dialogs" not in tables or others(tables):
                raise click.ClickException(f"{database} is no database of dreamd's; no backup was made")
            with replacing(file) as (part, number):
                copy(database, part, tell)
                with closing(read_only(part)) as copied:
                    return {**checked(copied), "bytes": os.fstat(number).st_size}
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None


@contextmanager
def explained(
    file: Path, target: Path, undone: str, damaged: str = "no database, or damaged"
) -> Iterator[None]:
    """Turn what SQLite and the store say of `file`, or of a full disk at `target`, into one line."""
    try:
        yield
    except StoreError as error:
        raise click.ClickException(f"{file}: {error}") from None
    except sqlite3.Error as error:
        trouble = trouble_of(error)
        if trouble == FULL:
            raise click.ClickException(f"{target}: {FULL}; {undone}") from None
        words = {DAMAGED: damaged, LOCKED: "locked by another program; end it, and try again"}
        what = words.get(trouble or "") or trouble or name_of(error)
        raise click.ClickException(f"{file}: {what}; {undone}") from None


def copy(database: Path, part: Path, tell: Tell | None = None) -> None:
    """Copy into an empty file, all of one moment. Raise sqlite3.Error, OSError, click.ClickException."""
    before = _stamp(database) if is_alone(database) else None
    with closing(read_only(database)) as source:
        source.execute("BEGIN")  # one moment: what others write meanwhile does not begin the copy again
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        copy_into(source, part, tell)
    if before not in (None, _stamp(database)):  # if no program had it open, it is read without a lock
        raise click.ClickException(f"{database} was written to while it was copied: try again")


def _stamp(file: Path) -> tuple[int, ...]:
    found = os.stat(file)
    return found.st_ino, found.st_size, found.st_mtime_ns


def checked(connection: sqlite3.Connection) -> dict[str, int]:
    """Check a whole dream database; return how many pages and dialogues it has. Raise sqlite3.Error."""
    if connection.execute("PRAGMA integrity_check(1)").fetchone() != ("ok",):
        damage = sqlite3.DatabaseError()
        damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise damage
    ((pages,),) = connection.execute("PRAGMA page_count")
    ((dialogues,),) = connection.execute("SELECT count(*) FROM dream_dialogs")
    return {"pages": pages, "dialogues": dialogues}


@contextmanager
def bar(label: str) -> Iterator[Tell | None]:
    """Show on a terminal how far the copy is: yield what is to be called after each step, or None."""
    if not sys.stderr.isatty() or isinstance(sys.stderr, Plain):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda left, of: progress.update(task, total=of, completed=of - left)
