"""`restore`: put a backup in the place of the dream database, with the daemon stopped meanwhile."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from dreamclient.messages import Method

from dreamd.ctl.daemon import background as plain
from dreamd.ctl.daemon import service_units
from dreamd.ctl.daemon.connection import Target, state_here
from dreamd.ctl.daemon.service_units import instance_option
from dreamd.ctl.machine import systemctl
from dreamd.ctl.machine.database_copy import check_copied, copy_database, errors_explained
from dreamd.ctl.machine.output_files import RegularFile, put_in_place, sync_folder, temporary_beside
from dreamd.ctl.machine.places import look_at_state
from dreamd.ctl.terminal.layout import format_size, label_rows, terminal_width
from dreamd.ctl.terminal.output import emit_answer, json_option
from dreamd.ctl.terminal.progress import progress_bar
from dreamd.ctl.terminal.signals import signals_as_exit, signals_deferred
from dreamd.errors import StartError, StoreForeign, StoreTooNew
from dreamd.process.state_folder import DATABASE_NAME, make_private_folder, state_lock
from dreamd.store.file.files import BUSY_TIMEOUT_S, PARTS, free_name_beside, read_contents, read_only
from dreamd.store.file.health import LOCKED, reason_for
from dreamd.store.reads import load_memory
from dreamd.store.schema import MIGRATIONS, check_contents, is_dreamds

UNDONE = "nothing was restored"


@click.command(short_help="Put a backup in the place of the database.")
@click.argument("file", type=RegularFile(exists=True))
@instance_option
@json_option
@click.pass_obj
def restore(target: Target, file: Path, instance: str) -> None:
    """Put FILE, which `dreamctl backup` wrote, in the place of the dream database.

    FILE is checked first, and is never changed. A running daemon is stopped, and started again afterwards. The old
    database stays beside the new one as `dream.sqlite3.before-restore-DATE`. To go back, restore that file.

    \b
    dreamctl restore dreams.sqlite3
    """
    pair = service_units.units_for(target, instance)
    state, database = _places_of(target, pair)
    if database.exists() and file.samefile(database):
        raise click.UsageError(f"{file} is the database in use; name a backup")
    about: dict[str, Any] = {"path": str(file), "database": str(database), "kept": None, "done": []}
    try:
        _restore_file(file, state, database, pair, about)
    except OSError as error:
        raise click.ClickException(f"{error.filename or database}: {error.strerror}") from None
    rows = [("restored", str(file)), ("as", str(database)), ("dialogues", str(about["dialogues"]))]
    rows += [
        ("size", format_size(about["bytes"])),
        ("kept", about["kept"] or "nothing: there was no database"),
    ]
    rows += [("daemon", done) for done in about["done"]]
    emit_answer(about, lambda: label_rows(rows, terminal_width()))


def _places_of(target: Target, pair: service_units.ServiceUnits) -> tuple[Path, Path]:
    """Return the state folder and the database. If only --socket was given, ask the daemon there for both."""
    if target.socket_alone:
        with target.daemon() as daemon:
            status = daemon.call(Method.STATUS)
        return state_here(status), Path(status["database"]["path"]).resolve()
    return pair.state, (pair.state / DATABASE_NAME).resolve()


def _restore_file(
    file: Path, state: Path, database: Path, pair: service_units.ServiceUnits, about: dict[str, Any]
) -> None:
    """Copy FILE, check the copy, stop the daemon and put the copy in place. Add to `about` what was done."""
    _refuse_others(file)
    make_private_folder(state)
    if database.parent.stat().st_uid != os.geteuid():
        raise click.ClickException(f"{database.parent} belongs to another user; restore as that user")
    with temporary_beside(database.parent) as (part, number):
        with progress_bar("restore") as tell, errors_explained(file, database, UNDONE):
            copy_database(file, part, tell)
            about |= {**_check_copy(part), "bytes": os.fstat(number).st_size}
        try:
            with _daemon_stopped(state, pair, about["done"]), signals_deferred():
                about["kept"] = _keep_old(database)
                put_in_place(part, number, database)
        except click.ClickException as error:
            if part.exists():
                raise
            raise click.ClickException(f"{file} was restored, but {error.message}") from None


def _refuse_others(file: Path) -> None:
    """Raise ClickException if `file` is no dream database that this dreamd can read."""
    with errors_explained(file, file, UNDONE):
        contents = read_contents(file)
        check_contents(contents)
    if not is_dreamds(contents):
        raise click.ClickException(f"{file} is no dream database: tables are missing")


def _check_copy(part: Path) -> dict[str, int]:
    """Check the whole copy, load it as the daemon would, and return its counts."""
    with closing(read_only(part)) as connection:
        counts = check_copied(connection)
        if connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),):
            load_memory(connection)
        return counts


@contextmanager
def _daemon_stopped(state: Path, pair: service_units.ServiceUnits, done: list[str]) -> Iterator[None]:
    """Stop the daemon of `state`, hold the folder's lock during the block, and then start again what ran before.

    Until the block ends no daemon can serve the folder, even if systemd starts one when leo connects.
    """
    with signals_as_exit(), ExitStack() as afterwards:  # a signal too lets it start again
        if pair.managed and os.path.realpath(pair.served) == os.path.realpath(state):
            _stop_units(pair, done, afterwards)
        if look_at_state(state).holder:
            plain.stop_daemon(state, pair.socket, pair.units)
            done.append("the daemon has stopped")
            afterwards.callback(_start_again, state, pair, done)
        try:
            afterwards.enter_context(state_lock(state))
        except StartError as error:
            raise click.ClickException(str(error)) from None
        yield


def _stop_units(pair: service_units.ServiceUnits, done: list[str], afterwards: ExitStack) -> None:
    socket, service = pair.units
    runs, listens = (
        systemctl.unit_state("active", unit) not in ("inactive", "failed") for unit in (service, socket)
    )
    if not (runs or listens):
        return

    def start() -> None:
        if runs:
            service_units.tell_to_run("start", pair)
        else:
            systemctl.run_all_systemctl([("reset-failed", *pair.known), ("start", socket)])
        done.append(f"started the unit {service if runs else socket}")

    systemctl.run_systemctl("stop", *pair.units)
    done.append(f"stopped the unit {service} and its socket")
    afterwards.callback(start)


def _start_again(state: Path, pair: service_units.ServiceUnits, done: list[str]) -> None:
    pid = plain.spawn_daemon(state, pair.socket)
    done.append(f"started a process of its own (pid {pid})" if pid else "another daemon serves there now")


def _keep_old(database: Path) -> str | None:
    """Rename the old database and the files beside it, and return the new name of the first. No log is left in its
    place.

    Whenever this is interrupted, the old database is whole under one of the two names. Its log is merged into it
    first, so that the file is complete without the log. If it cannot be read, its files are kept as they are.
    """
    found = [part for part in PARTS if os.path.lexists(f"{database}{part}")]
    if not found:
        return None
    if os.path.lexists(database) and not database.is_file():
        raise click.ClickException(f"{database} is no file; move it away")
    _empty_log(database)
    kept = free_name_beside(database, "before-restore", time.time())
    found = [part for part in PARTS if os.path.lexists(f"{database}{part}")]
    for part in found:
        try:
            os.link(f"{database}{part}", f"{kept}{part}")
        except OSError:  # a file system without hard links
            os.rename(f"{database}{part}", f"{kept}{part}")
    sync_folder(database.parent)
    for part in PARTS[1:]:
        Path(f"{database}{part}").unlink(missing_ok=True)
    return f"{kept}{found[0]}"  # the log, if the database itself is gone


def _empty_log(database: Path) -> None:
    """Merge the log into the database, unless that cannot be read. Raise ClickException if another program has it
    open, or if it holds tables of another program."""
    if not database.exists() or not database.stat().st_size:
        return  # SQLite would delete the log of an empty database unread
    try:
        with suppress(StoreTooNew):
            check_contents(read_contents(database))
        with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as old:
            old.execute("PRAGMA journal_mode = DELETE").fetchone()
    except StoreForeign as error:
        raise click.ClickException(f"{database}: {error}; move it away") from None
    except sqlite3.Error as error:
        if reason_for(error) == LOCKED:
            raise click.ClickException(
                f"{database} is locked by another program; end it, and try again"
            ) from None
