"""Values of the database's columns, of keys files and of exported friends. What cannot be read is named, and the rest
is read."""

import sqlite3
from contextlib import suppress
from functools import cache
from typing import Any

import click
import msgspec

from dreamd.ctl.commands.friend.exported import parse_exported
from dreamd.dream.dream_words import WordNumbers
from dreamd.dream.fragment_records import FragmentRecord, merge_records, to_records
from dreamd.dream.friend import FriendSettings
from dreamd.dream.model import Fragment
from dreamd.errors import Refusal, Unreadable
from dreamd.inbox.folder.keys import parse_keys
from dreamd.store import reads
from dreamd.store.checkpoints import checkpoint_content, replace_buffer
from dreamd.store.file.files import read_text
from dreamd.store.forgetting import Dream, forget_dreams
from dreamd.store.reply_shares import brought_lines, said_triples
from dreamd.store.schema import upgrade_in_place
from dreamd.store.tidying import forget_fragments

# The column that a value is put into, by its first byte.
COLUMNS = (
    "context", "settings", "friend_state", "recalled", "rng_seed", "candidates", "recent", "decision", "pause",
    "brought", "fragments",
)  # fmt: skip


@cache
def _database() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.text_factory = read_text
    upgrade_in_place(connection, 0)
    return connection


def read_column(data: bytes) -> None:
    """Put a value into a column, as text or as bytes, and read all that depends on it."""
    if not data:
        return
    value: Any = data[1:]
    if data[0] & 0x80:
        value = value.decode(errors="replace")
    column = COLUMNS[(data[0] & 0x7F) % len(COLUMNS)]
    connection = _database()
    connection.execute("BEGIN")
    try:
        _put(connection, column, value)
        reads.load_memory(connection)
        reads.decisions(connection, 10)
        reads.total_stats(connection)
        reads.get_dialog(connection, 1)
        with suppress(Unreadable):
            reads.load_script(connection, 1)
        with suppress(Refusal):
            reads.friend_before(connection, 1)
        forget_fragments(connection, 10.0)
        said_triples(connection)
        brought_lines(connection, WordNumbers(b"key"), 1)
        with suppress(Refusal, Unreadable):
            checkpoint_content(connection, "kept")
        replace_buffer(connection, [FragmentRecord(text="another origin", weight=1.0, origin=True)], 5.0)
        left = forget_dreams(connection, [Dream(1, 1.0, "t1")], friend=True, everywhere=True).checkpoints_left
        assert set(left) <= {"kept", "origin~1"}
    finally:
        connection.execute("ROLLBACK")


def _put(connection: sqlite3.Connection, column: str, value: Any) -> None:
    dialog = {
        "id": 1, "trace_id": "t1", "client": "leo", "session": 1, "started_at": 1.0, "finished_at": 2.0,
        "outcome": "complete", "episodes_count": 1, "context": b"{}", "settings": b"{}",
        "friend_state": b"\x91\x92\x01\xcb\x3f\xe0\0\0\0\0\0\0", "rng_seed": "1", "recalled": b"[]",
    }  # fmt: skip
    turn = {
        "dialog_id": 1,
        "turn": 1,
        "speaker": "leo",
        "text": "a line",
        "at": 1.0,
        "candidates": b'["a line"]',
        "observed": "answered",
        "brought": "[1]",
    }
    if column in dialog:
        dialog[column] = value
    if column in turn:
        turn[column] = value
    _insert(connection, "dream_dialogs", dialog)
    _insert(connection, "dream_turns", turn)
    fragment = {"id": 1, "text": "an origin", "weight": 1.0, "origin": 1, "added_at": 1.0}
    _insert(connection, "dream_bootstrap_fragments", fragment)
    kept = value if column == "fragments" else "[]"
    for name in ("kept", "origin~1"):
        checkpoint = {"name": name, "at": 1.0, "learned": 0, "origin": 1, "fragments": kept}
        _insert(connection, "dream_checkpoints", checkpoint)
    if column == "recent":
        _insert(connection, "dream_signals", {"client": "leo", "at": 1.0, "recent": value})
    elif column == "decision":
        _insert(connection, "dream_decisions", {"decision": value})
    elif column == "pause":
        _insert(connection, "dream_meta", {"key": reads.PAUSE, "value": value})


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    known = {found[1] for found in connection.execute(f"PRAGMA table_info({table})")}
    row = {name: value for name, value in row.items() if name in known}
    names = ", ".join(row)
    connection.execute(
        f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values())
    )


def read_keys(data: bytes) -> None:
    """Read a keys file, look for a key, and add to it."""
    keys = parse_keys(data, "t1")
    assert keys.trace_id == "t1"
    keys.hold(b"\0" * 16, lambda number: number > 1)
    keys.forget([1])
    assert not any(record.endswith(b"\0\0\0\1") for record in keys._all()), "a forgotten part has keys"


def read_friend(data: bytes) -> None:
    """Read an exported friend, and make a buffer of it (P4: the origin stays)."""
    try:
        found = parse_exported(data.decode(errors="replace"))
    except click.UsageError:
        return
    try:
        copies = msgspec.convert(found or [], list[FragmentRecord])
    except msgspec.ValidationError:
        return
    origin = [Fragment(id=1, text="born here", weight=1.0, origin=True, dialog=None, added_at=0.0)]
    settings = FriendSettings()
    taken, left_out = merge_records(copies, origin, settings)
    assert [copy.text for copy in taken if copy.origin] == [copy.text for copy in to_records(origin)], "P4"
    assert left_out >= 0
    assert len(taken) <= settings.buffer + 1
    assert all(0.0 < copy.weight <= 1.0 for copy in taken)
