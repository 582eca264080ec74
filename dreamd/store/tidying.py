"""Emptying what is kept only for a time: the data of replays, and without diagnostics every text.

The tick does it, some dialogues in each transaction, so that no other call waits for long even if an older database is
large. A number in dream_meta marks the progress: all dialogues up to it are emptied.
"""

from contextlib import suppress
from sqlite3 import Connection
from typing import Final

import msgspec

from dreamd.errors import Unreadable
from dreamd.store import search
from dreamd.store.records import decode_state

REPLAY_EMPTIED: Final = "dream_replay_emptied"
TEXTS_EMPTIED: Final = "dream_texts_emptied"
ADDED_EMPTIED: Final = "dream_added_emptied"

MOST: Final = 64  # dialogues, or fragments, in a transaction: some milliseconds
# Seconds for which a fragment that has left the buffer is kept at least: a dialogue may be about to begin with it.
GRACE_S: Final = 60.0
DROPPED: Final = 256  # fragments that the user dropped, the last ones: a restore says which of them come back

REPLAY: Final = (
    """UPDATE dream_dialogs SET context = NULL, settings = NULL, friend_state = NULL, recalled = NULL
    WHERE id BETWEEN ? AND ? AND coalesce(context, settings, friend_state, recalled) IS NOT NULL""",
    """UPDATE dream_turns SET seed = '', said = NULL, candidates = NULL
    WHERE dialog_id BETWEEN ? AND ? AND (seed <> '' OR coalesce(said, candidates) IS NOT NULL)""",
)
# Those that are to be taken back keep it until that is done.
ADDED: Final = """UPDATE dream_turns SET added = NULL WHERE dialog_id BETWEEN ? AND ? AND added IS NOT NULL
    AND dialog_id NOT IN (SELECT id FROM dream_dialogs WHERE undone = 'waiting')"""
_TEXTS: Final = (
    *REPLAY,
    ADDED,
    "UPDATE dream_turns SET text = '' WHERE dialog_id BETWEEN ? AND ? AND text <> ''",
)

_OPEN: Final = """SELECT min(id) FROM dream_dialogs INDEXED BY dream_dialogs_open
    WHERE finished_at IS NULL AND trace_id IS NOT NULL"""
_UNWRITTEN: Final = """SELECT min(id) FROM dream_dialogs INDEXED BY dream_dialogs_unwritten
    WHERE shard_at IS NULL AND finished_at IS NOT NULL AND trace_id IS NOT NULL AND episodes_count > 0"""
_OLDER: Final = "SELECT id FROM dream_dialogs WHERE trace_id IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?"


def tidy_part(connection: Connection, replayable: int, undoable: int, keep_texts: bool, at: float) -> bool:
    """Empty the replay data of all but the newest `replayable` dialogues, what all but the newest `undoable` ones added
    to the field, and every text unless `keep_texts`. Return False if there is more to do."""
    if keep_texts:
        done = _empty_dialogs(connection, REPLAY_EMPTIED, _before_open(connection, replayable), REPLAY)
        done = (
            _empty_dialogs(connection, ADDED_EMPTIED, _before_open(connection, undoable), (ADDED,)) and done
        )
        return done and forget_fragments(connection, at - GRACE_S, MOST)
    done = _empty_dialogs(connection, TEXTS_EMPTIED, _before_unwritten(connection), _TEXTS)
    if connection.execute("SELECT 1 FROM dream_search LIMIT 1").fetchone():
        connection.execute("DROP TABLE dream_search")
        connection.execute(search.TABLE)
    connection.execute("DELETE FROM dream_said")
    # Lines that leo's own dream.py kept without a dialogue.
    connection.execute("UPDATE dream_turns SET text = '' WHERE dialog_id IS NULL AND text <> ''")
    if first_open(connection) is not None:  # it may go on, and then needs what it began with
        return done
    past = "DELETE FROM dream_fragments_past WHERE id IN (SELECT id FROM dream_fragments_past LIMIT ?)"
    return connection.execute(past, (MOST,)).rowcount < MOST and done


def empty_texts(connection: Connection, dialog_id: int) -> None:
    """Empty every text of one dialogue."""
    for statement in _TEXTS:
        connection.execute(statement, (dialog_id, dialog_id))


def forget_fragments(connection: Connection, left_before: float, most: int = -1) -> bool:
    """Delete at most `most` fragments (-1: all) that have left the buffer, that no replay needs, and that are not
    among the last ones that the user dropped. Return False if there may be more."""
    used: set[int] = set()
    states = """SELECT friend_state FROM dream_dialogs
        WHERE id > ? AND context IS NOT NULL AND friend_state IS NOT NULL"""
    for (state,) in connection.execute(states, (number_of(connection, REPLAY_EMPTIED),)):
        with suppress(Unreadable):  # a replay cannot read it either
            used.update(number for number, _ in decode_state(state))
    deleted = connection.execute(
        """DELETE FROM dream_fragments_past WHERE id IN (
            SELECT id FROM dream_fragments_past
            WHERE left_at <= ? AND id NOT IN (SELECT value FROM json_each(?)) AND id NOT IN (
                SELECT id FROM dream_fragments_past WHERE dropped ORDER BY left_at DESC, id DESC LIMIT ?
            ) LIMIT ?
        )""",
        (left_before, msgspec.json.encode(sorted(used)).decode(), DROPPED, most),
    )
    return deleted.rowcount != most


def first_open(connection: Connection) -> int | None:
    """Return the first dialogue that has not ended, or None."""
    found: tuple[int | None] = connection.execute(_OPEN).fetchone()
    return found[0]


def _before_open(connection: Connection, newest: int) -> int:
    """Return the last dialogue that is older than the `newest` ones, and older than any that has not ended."""
    older = connection.execute(_OLDER, (newest,)).fetchone()
    unfinished = first_open(connection)
    last: int = older[0] if older else 0
    return last if unfinished is None else min(last, unfinished - 1)


def _before_unwritten(connection: Connection) -> int:
    """Return the last dialogue that is older than any whose file is not written yet."""
    last = _before_open(connection, 0)
    (unwritten,) = connection.execute(_UNWRITTEN).fetchone()
    return last if unwritten is None else min(last, unwritten - 1)


def _empty_dialogs(connection: Connection, mark: str, last: int, statements: tuple[str, ...]) -> bool:
    """Empty the next dialogues after the mark, up to `last`. Return whether those were all."""
    after = number_of(connection, mark)
    until, count = connection.execute(
        """SELECT max(id), count(*) FROM (
            SELECT id FROM dream_dialogs WHERE id > ? AND id <= ? ORDER BY id LIMIT ?
        )""",
        (after, last, MOST),
    ).fetchone()
    if count:
        for statement in statements:
            connection.execute(statement, (after + 1, until))
        connection.execute("INSERT OR REPLACE INTO dream_meta (key, value) VALUES (?, ?)", (mark, str(until)))
    return bool(count < MOST)


def number_of(connection: Connection, mark: str) -> int:
    """Return a number in dream_meta, 0 if there is none."""
    found = connection.execute(
        "SELECT CAST(value AS INTEGER) FROM dream_meta WHERE key = ?", (mark,)
    ).fetchone()
    return found[0] if found else 0
