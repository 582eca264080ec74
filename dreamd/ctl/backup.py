"""`backup`: the dream database in one file, copied by SQLite itself, with a daemon or without one."""

import fcntl
import glob
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from dreamclient.messages import Method
from dreamclient.paths import state_dir

from dreamd.ctl.connection import Target, emit, json_option
from dreamd.ctl.layout import labelled, size, width
from dreamd.ctl.plain import Plain
from dreamd.ctl.regular import regular
from dreamd.store.file import PARTS, Tell, copy_into, is_alone, read_only
from dreamd.store.trouble import DAMAGED, FULL, LOCKED, name_of, trouble_of


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
    if os.path.realpath(file) in {os.path.realpath(database) + part for part in PARTS}:
        raise click.UsageError(f"{file} is the database itself; name another FILE")
    if os.path.lexists(file) and not force:
        raise click.ClickException(f"{file} is there already; --force overwrites it")
    with _bar() as tell:
        about = {"path": str(file), "database": str(database), **_back_up(database, file, tell)}
    if target.as_json:
        emit(about)
    else:
        rows = [("backup", str(file)), ("of", str(database)), ("dialogues", str(about["dialogues"]))]
        click.echo(labelled([*rows, ("size", size(about["bytes"]))], width()))


def _database(target: Target) -> Path:
    """That of the state folder; where only a socket was named, that of the daemon behind it, which may be another."""
    if (target.given_socket or os.environ.get("DREAMD_SOCKET")) and not (
        target.given_state or os.environ.get("DREAMD_STATE_DIR")
    ):
        with target.daemon() as daemon:
            return Path(daemon.call(Method.STATUS)["database"]["path"])
    return state_dir(target.given_state) / "dream.sqlite3"


def _back_up(database: Path, file: Path, tell: Tell | None) -> dict[str, Any]:
    try:
        with _part_of(file) as (part, number):
            copy(database, part, tell)
            about = _checked(part)
            os.fsync(number)
            os.rename(part, file)
            _sync(file.parent)
            return {"bytes": os.fstat(number).st_size, **about}
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
    except sqlite3.Error as error:
        trouble = trouble_of(error)
        if trouble == FULL:
            raise click.ClickException(f"{file}: {FULL}; no backup was made") from None
        raise click.ClickException(
            f"{database}: {_WORDS.get(trouble) or trouble or name_of(error)}"
        ) from None


_WORDS: dict[str | None, str] = {
    DAMAGED: "damaged, no backup was made; `dreamctl doctor` says what to do",
    LOCKED: "locked by another program; end it, and try again",
}


def copy(database: Path, part: Path, tell: Tell | None = None) -> None:
    """Into an empty file, all of one moment. Raises sqlite3.Error, OSError, click.ClickException."""
    before = _stamp(database) if is_alone(database) else None
    with closing(read_only(database)) as source:
        source.execute("BEGIN")  # one moment: what others write meanwhile does not begin the copy anew
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        copy_into(source, part, tell)
    if before not in (None, _stamp(database)):  # where nobody had it open, it is read without a lock
        raise click.ClickException(f"{database} was written to while it was copied: try again")


def _stamp(file: Path) -> tuple[int, ...]:
    found = os.stat(file)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _checked(copy: Path) -> dict[str, int]:
    with closing(read_only(copy)) as connection:

        def ask(sql: str) -> Any:
            return connection.execute(sql).fetchone()[0]

        if ask("PRAGMA quick_check(1)") != "ok":
            damage = sqlite3.DatabaseError()
            damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damage
        known = ask("SELECT count(*) FROM sqlite_schema WHERE name = 'dream_dialogs'")
        return {
            "pages": ask("PRAGMA page_count"),
            "dialogues": ask("SELECT count(*) FROM dream_dialogs") if known else 0,
        }


@contextmanager
def _part_of(file: Path) -> Iterator[tuple[Path, int]]:
    """An empty file beside `file`, and its descriptor; at the end it is gone, unless it was renamed. It is locked:
    one that is not was left behind by somebody who was killed, and goes now."""
    for left in file.parent.glob(f".{glob.escape(file.name)}.*.part"):
        with suppress(OSError), open(left, "rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(left)
    number, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    with open(number, "rb"):
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield Path(name), number
        finally:
            _remove(Path(name))


def _remove(part: Path) -> None:
    for beside in PARTS:
        Path(f"{part}{beside}").unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _bar() -> Iterator[Tell | None]:
    """How far it is, on a terminal."""
    if not sys.stderr.isatty() or isinstance(sys.stderr, Plain):
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("backup", total=None)
        yield lambda left, of: progress.update(task, total=of, completed=of - left)
