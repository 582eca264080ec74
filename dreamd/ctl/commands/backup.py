"""`backup`: the dream database in one file, copied by SQLite itself, with a daemon or without one."""

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from dreamclient.messages import Method
from dreamclient.paths import state_dir

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.machine.database_copy import check_copied, copy_database, errors_explained
from dreamd.ctl.machine.output_files import RegularFile, check_free, replacing_file
from dreamd.ctl.terminal.layout import format_size, label_rows, terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option
from dreamd.ctl.terminal.progress import progress_bar
from dreamd.process.state_folder import DATABASE_NAME
from dreamd.store.file.files import Tell, read_contents, read_only
from dreamd.store.schema import foreign_tables


@click.command(short_help="Copy the dream database to a file.")
@click.argument("file", type=RegularFile())
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@json_option
@click.pass_obj
def backup(target: Target, file: Path, force: bool) -> None:
    """Copy the dream database to FILE: whole, of one moment, and checked. Leo dreams on meanwhile.

    Works without a running daemon too. FILE holds his dreams: it is readable for you alone. To back up the inbox,
    copy its folder.

    \b
    dreamctl backup dreams.sqlite3
    dreamctl backup --force /media/stick/dreams.sqlite3
    """
    database = _database_path(target)
    if not database.is_file():
        raise click.ClickException(f"there is no database at {database}; name its folder with --state-dir")
    check_free(file, database.parent, force=force)
    with progress_bar("backup") as tell:
        about = {"path": str(file), "database": str(database), **_back_up(database, file, tell)}
    rows = [("backup", str(file)), ("of", str(database)), ("dialogues", str(about["dialogues"]))]
    rows.append(("size", format_size(about["bytes"])))
    emit_answer(about, lambda: label_rows(rows, terminal_width()))


def _database_path(target: Target) -> Path:
    """Return the path of the state folder's database. If only --socket was given, ask the daemon there for it."""
    if target.socket_alone:
        with target.daemon() as daemon:
            return Path(daemon.call(Method.STATUS)["database"]["path"])
    return state_dir(target.given_state) / DATABASE_NAME


def _back_up(database: Path, file: Path, tell: Tell | None) -> dict[str, Any]:
    """Copy the database to `file`, check the copy, and return its counts and its size. Raise ClickException."""
    try:
        with errors_explained(
            database, file, "no backup was made", "damaged; `dreamctl doctor` says what to do"
        ):
            tables = read_contents(database).tables
            if "dream_dialogs" not in tables or foreign_tables(tables):
                raise click.ClickException(f"{database} is no database of dreamd's; no backup was made")
            with replacing_file(file) as (part, number):
                copy_database(database, part, tell)
                with closing(read_only(part)) as copied:
                    return {**check_copied(copied), "bytes": os.fstat(number).st_size}
    except OSError as error:
        raise click.ClickException(f"{file}: {error.strerror}") from None
