"""The dream database, read in a process of its own that changes no byte of it and makes no file beside it.

That process may take long over a large file, hang on a dead disk, or crash on a damaged file. The doctor then
goes on without it. `python -m dreamd.ctl.commands.doctor.database FILE` prints the facts as JSON.
"""

import glob
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec
from dreamclient.messages import DECISIONS

from dreamd.ctl.commands.doctor.finding import Finding, fail, ok, warn
from dreamd.ctl.commands.doctor.places import set_aside
from dreamd.ctl.machine.access import refusal_and_cure
from dreamd.ctl.terminal.layout import format_size
from dreamd.store import reads
from dreamd.store.file.files import PARTS, read_text
from dreamd.store.file.health import LOST
from dreamd.store.schema import MIGRATIONS, foreign_tables

PATIENCE_S = 60.0  # a million lines take two seconds
LATEST = 64  # dialogues that are read
OLDEST_SQLITE = (3, 35, 0)  # RETURNING
NO_FILE = "no file"


@dataclass(frozen=True)
class Database:
    """The facts of a database. `error`: why it could not be read, or empty. `complaints`: those of quick_check."""

    path: str
    exists: bool = True
    error: str = ""
    bytes: int = 0
    version: int = 0
    foreign: tuple[str, ...] = ()
    complaints: tuple[str, ...] = ()
    origin: int = 0
    fragments: int = 0
    pending: int = 0  # dialogues whose shard has not been written
    # {outcome, lines, note, started_at, trace_id, client}, newest first.
    latest: tuple[dict[str, Any], ...] = ()
    decisions: tuple[dict[str, Any], ...] = ()  # as of `why`, newest first

    @property
    def newer(self) -> bool:
        """True if a later dreamd made it, so that this one cannot read its contents."""
        return self.version > len(MIGRATIONS)


def look_at_database(path: Path) -> Database:
    """Read the database in another process, and return its facts."""
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "dreamd.ctl.commands.doctor.database", str(path)],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        return Database(**json.loads(ran.stdout))
    except subprocess.TimeoutExpired:
        return Database(str(path), error=f"not read within {PATIENCE_S:g} s")
    except ValueError:
        return Database(str(path), error=f"the process that read it ended with {ran.returncode}")


def damaged_files(path: Path) -> list[str]:
    """Return the files of databases that were set aside as damaged beside `path`, the oldest first."""
    return sorted(glob.glob(f"{glob.escape(str(path))}.damaged-*"))


def read_facts(path: Path) -> Database:
    """Read the facts of the database in this process."""
    try:
        if not path.exists():
            return Database(str(path), exists=False)
        if not path.is_file():
            return Database(str(path), error=NO_FILE)
    except OSError as error:
        return Database(str(path), error=str(error.strerror))
    try:
        with closing(_open_read_only(path)) as connection:
            return _read_database(path, connection)
    except sqlite3.Error as error:
        return Database(str(path), error=getattr(error, "sqlite_errorname", None) or type(error).__name__)


def _open_read_only(path: Path) -> sqlite3.Connection:
    """Open the database without writing. If it has a log, read that too and do not change its lock file. If not,
    `immutable` keeps SQLite from making one."""
    logged = os.path.exists(f"{path}-wal") and os.path.exists(f"{path}-shm")
    how = "readonly_shm=1" if logged else "immutable=1"
    uri = f"{path.resolve().as_uri()}?mode=ro&{how}"
    connection = sqlite3.connect(uri, uri=True, timeout=2.0, isolation_level=None)
    connection.text_factory = read_text
    return connection


def _read_database(path: Path, connection: sqlite3.Connection) -> Database:
    def ask(sql: str) -> Any:
        return connection.execute(sql).fetchone()[0]

    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    version = ask("PRAGMA user_version")
    about = Database(
        str(path),
        bytes=path.stat().st_size,
        version=version,
        foreign=tuple(foreign_tables(name for name in names if not name.startswith("sqlite_"))),
        complaints=tuple(row[0] for row in connection.execute("PRAGMA quick_check(8)") if row[0] != "ok"),
    )
    if about.foreign or about.complaints or version != len(MIGRATIONS):
        return about
    latest = connection.execute(
        """SELECT outcome, episodes_count AS lines, note, started_at, trace_id, client FROM dream_dialogs
        WHERE trace_id IS NOT NULL AND finished_at IS NOT NULL ORDER BY id DESC LIMIT ?""",
        (LATEST,),
    )
    columns = [column[0] for column in latest.description]
    return Database(
        **asdict(about)
        | {
            "origin": ask("SELECT count(*) FROM dream_bootstrap_fragments WHERE origin"),
            "fragments": ask("SELECT count(*) FROM dream_bootstrap_fragments"),
            "pending": ask(
                "SELECT count(*) FROM dream_dialogs WHERE shard_at IS NULL AND finished_at IS NOT NULL"
                " AND trace_id IS NOT NULL AND episodes_count > 0"
            ),
            "latest": tuple(dict(zip(columns, row, strict=True)) for row in latest),
            "decisions": tuple(msgspec.to_builtins(reads.decisions(connection, DECISIONS))),
        }
    )


def check_database(
    facts: Database, trouble: str | None = None, *, served: str | None = None, ended: str = ""
) -> Iterator[Finding]:
    """Check the database. `served` and `trouble`: the path and the trouble that a running daemon reports. `ended`: why
    the last daemon ended by itself."""
    if not facts.exists and (trouble or ended or served == facts.path):
        notices = "" if trouble or ended else ", and a daemon serves it: that notices within 15 s, and ends"
        yield fail(
            f"{facts.path} is gone{notices}",
            "`dreamctl restore FILE` puts a backup in its place. Otherwise the next start begins a fresh one",
        )
    elif trouble in LOST:
        yield fail(f"{trouble}: {facts.path}", "see section daemon")
    elif not facts.exists:
        yield ok(f"{facts.path} is not there yet; the first start makes it")
    elif facts.error == NO_FILE:
        yield fail(
            f"{facts.path} is no file, but a folder or the like", set_aside(Path(facts.path), "--state-dir")
        )
    elif facts.error in ("SQLITE_CORRUPT", "SQLITE_NOTADB") or facts.complaints:
        what = facts.complaints[0] if facts.complaints else facts.error
        yield fail(
            f"{facts.path} is damaged: {what}",
            "`dreamctl restore FILE` puts a backup in its place. Or `dreamctl service restart`: the file is set "
            "aside, never deleted, and a fresh one is begun",
        )
    elif facts.error:
        yield warn(
            f"{facts.path} cannot be looked at: {facts.error}",
            refusal_and_cure(Path(facts.path).parent)[1]
            or "SQLITE_BUSY means that another program holds it, SQLITE_CANTOPEN that its permissions are wrong",
        )
    else:
        yield _check_version(facts)


def _check_version(facts: Database) -> Finding:
    """Check whose tables a database that can be read holds, and of which version they are."""
    if facts.foreign:
        return fail(
            f"{facts.path} holds tables of others ({', '.join(facts.foreign[:4])})",
            f"dreamd does not write to it. For a fresh one, {set_aside(Path(facts.path), '--state-dir', 'foreign')}",
        )
    if facts.newer:
        return fail(
            f"{facts.path} is of version {facts.version}, this dreamd knows {len(MIGRATIONS)}",
            "upgrade dreamd, or begin a fresh one and "
            f"{set_aside(Path(facts.path), '--state-dir', f'version-{facts.version}')}",
        )
    if facts.version < len(MIGRATIONS):
        return ok(f"{facts.path} is of version {facts.version}; the next start migrates a copy of it")
    return ok(f"{facts.path}, {format_size(facts.bytes)}, quick_check ok")


def check_damaged(files: list[str]) -> Iterator[Finding]:
    """Report the `files` that were set aside as damaged, with their logs."""
    if databases := [file for file in files if not file.endswith(PARTS[1:])]:
        yield warn(
            f"{' and '.join(databases)}: damaged, set aside, and a new one was begun",
            "look at the disk. If its dreams matter, `dreamctl restore FILE` puts a backup in the place of the new "
            f"one. Then remove what was set aside: `rm {' '.join(map(quote, files))}`",
        )


def check_sqlite(version: tuple[int, ...]) -> Iterator[Finding]:
    """Check the SQLite version of this interpreter, which the daemon uses too."""
    text = ".".join(map(str, version))
    if version < OLDEST_SQLITE:
        least = ".".join(map(str, OLDEST_SQLITE))
        yield fail(f"SQLite {text}, dreamd needs {least}", "take a Python with a newer SQLite")
    else:
        yield ok(f"SQLite {text}")


if __name__ == "__main__":
    print(json.dumps(asdict(read_facts(Path(sys.argv[1])))))  # noqa: T201 - for `look_at_database`
