"""The dream database, read if no daemon answers, by the functions with which a daemon reads it."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import msgspec
from dreamclient.messages import Code, Method

from dreamd import __version__
from dreamd.clock import Clock
from dreamd.ctl.daemon.source import Source, refused_error
from dreamd.dream.replay import first_difference
from dreamd.errors import Refusal, SettingsError, StoreError, Unreadable
from dreamd.settings import load_settings
from dreamd.store import checkpoints, reads, search
from dreamd.store.file.files import is_alone, read_contents, read_only, read_text
from dreamd.store.file.health import name_of, reason_for
from dreamd.store.file.open_files import file_stamp
from dreamd.store.schema import MIGRATIONS, check_contents, upgrade_in_place

NO_DAEMON = "no daemon"  # stands for the state of a daemon


class Stored(Source):
    """The dreams in a database. `call` answers the methods that only read."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self._before = file_stamp(path) if is_alone(path) else None

    def call(self, method: str, *params: Any, timeout_s: float = 0.0) -> Any:  # noqa: ARG002
        """Return the answer that a daemon would give, at once. Raise Refused, or ClickException if a daemon has begun
        to write meanwhile."""
        try:
            answer = msgspec.to_builtins(_ANSWERS[method](self, *params))
        except Refusal as error:
            raise refused_error(error.code, str(error)) from None
        # If no program had it open, it is read without a lock, and must have stayed as it was.
        if self._before not in (None, file_stamp(self.path)):
            raise click.ClickException(f"{self.path} was written to while it was read: try again")
        return answer


@contextmanager
def open_stored(path: Path) -> Iterator[Stored]:
    """Open the database for reading, as it is at this moment. If it is of an older version, migrate a temporary copy.
    Raise ClickException."""
    try:
        contents = read_contents(path)
        check_contents(contents)
        with closing(read_only(path)) as connection, closing(_temporary_database()) as copy:
            connection.execute("BEGIN")
            if contents.version == len(MIGRATIONS):
                yield Stored(path, connection)
            else:
                connection.backup(copy)
                upgrade_in_place(copy, contents.version)
                yield Stored(path, copy)
    except StoreError as error:
        raise click.ClickException(f"{path}: {error}") from None
    except sqlite3.Error as error:
        what = reason_for(error) or name_of(error)
        raise click.ClickException(f"{path}: {what}; `dreamctl doctor` says what to do") from None


def _temporary_database() -> sqlite3.Connection:
    """Return a database that SQLite deletes when it is closed."""
    connection = sqlite3.connect("", isolation_level=None)
    connection.text_factory = read_text
    return connection


def _get_dialog(dreams: Stored, number: int) -> dict[str, Any]:
    found = reads.get_dialog(dreams.connection, number)
    if found is None:
        raise Refusal(Code.NOT_FOUND, f"no dialogue {number}; `dreamctl recent` lists them")
    return found


def _replay_dialog(dreams: Stored, number: int) -> dict[str, Any]:
    try:
        script = reads.replayable_script(dreams.connection, number)
    except Unreadable as error:
        lines = _get_dialog(dreams, number)["lines"]
        return {"id": number, "lines": lines, "same": False, "difference": str(error)}
    difference = first_difference(script)
    return {"id": number, "lines": len(script.lines), "same": difference is None, "difference": difference}


def _list_fragments(dreams: Stored, name: str | None = None, before: int | None = None) -> Any:
    found: Sequence[Any]
    if name is not None:
        found = checkpoints.checkpoint_content(dreams.connection, name)
    elif before is not None:
        found = reads.friend_before(dreams.connection, before)
    else:
        found = reads.load_memory(dreams.connection).fragments
    return sorted(found, key=lambda fragment: -fragment.weight)


def _known_status(dreams: Stored) -> dict[str, Any]:
    """Return the part of a `status` that is known without a daemon: settings are those of the next one."""
    counts: dict[str, Any] = {"decisions": {}, "hooks": {}, "failures": {}, "refusals": {}}
    about: dict[str, Any] = {
        "version": __version__,
        "state": NO_DAEMON,
        "state_dir": str(dreams.path.parent),
        "uptime_s": None,
    }
    with suppress(SettingsError):  # `dreamctl config check` says what is wrong
        found = load_settings()
        about |= {"chance": found.gate.chance, "feed": found.dialogue.feed}
    return about | counts


_ANSWERS: dict[str, Callable[..., Any]] = {
    Method.STATUS: _known_status,
    Method.WHY: lambda dreams, n: reads.decisions(dreams.connection, n),
    Method.DIALOGS_RECENT: lambda dreams, *page: reads.recent_dialogs(dreams.connection, *page),
    Method.DIALOGS_GET: _get_dialog,
    Method.DIALOGS_REPLAY: _replay_dialog,
    Method.DIALOGS_SEARCH: lambda dreams, *asked: search.find_lines(dreams.connection, *asked),
    Method.DIALOGS_WHENCE: lambda dreams, words, n, skip=0: search.find_sources(
        dreams.connection, words, n, Clock().monotonic, skip
    ),
    Method.DRIFT: lambda dreams, *page: reads.drift_of_dialogs(dreams.connection, *page),
    Method.STATS: lambda dreams: reads.total_stats(dreams.connection),
    Method.FRAGMENTS: _list_fragments,
    Method.CHECKPOINTS: lambda dreams, n: checkpoints.latest_checkpoints(dreams.connection, n),
}
