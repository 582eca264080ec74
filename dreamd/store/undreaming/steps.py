"""The steps in which a dialogue is taken back.

Each is a transaction, so a crash in between loses none, and repeats none that was recorded.
"""

from collections.abc import Iterable
from sqlite3 import Connection
from typing import Literal

import msgspec
from msgpack import Unpacker
from msgpack.exceptions import OutOfData
from msgspec import Struct

from dreamd.store.reads import load_memory
from dreamd.store.records import Memory
from dreamd.store.reply_shares import take_back_words
from dreamd.store.undreaming.candidates import UNDONE, WAITING
from dreamd.store.writes import retire_fragment


class FedLine(Struct, frozen=True):
    """A line that is still to be taken back. `added` is what `observe` answered, as it came. `text` is empty if the
    answer is known, or if the text was not kept."""

    turn: int
    added: bytes | None
    text: str


def ask_undream(
    connection: Connection, dialogs: Iterable[int], at: float, keep_texts: bool
) -> tuple[dict[int, int], Memory]:
    """Note that dialogues are to be taken back. The friend loses what they brought him, and they get no inbox file any
    more. Return the number of fragments that went, by dialogue, and the new memory. If a restore brings a fragment
    back, it says so: the user has dropped it."""
    lost = {}
    for dialog in dialogs:
        connection.execute(
            """UPDATE dream_dialogs SET undone = ?, undone_at = ?, shard_at = coalesce(shard_at, ?)
            WHERE id = ? AND undone IS NULL""",
            (WAITING, at, at, dialog),
        )
        brought = connection.execute(
            "SELECT id FROM dream_bootstrap_fragments WHERE dialog_id = ? AND NOT origin", (dialog,)
        ).fetchall()
        for (fragment,) in brought:
            retire_fragment(connection, fragment, at, keep_texts, dropped=True)
        lost[dialog] = len(brought)
    return lost, load_memory(connection)


def waiting_undreams(connection: Connection) -> list[tuple[int, str, str]]:
    """Return (id, trace id, field) of the dialogues that are to be taken back, newest first."""
    return connection.execute(
        """SELECT id, trace_id, field FROM dream_dialogs INDEXED BY dream_dialogs_to_undo
        WHERE undone = 'waiting' ORDER BY id DESC"""
    ).fetchall()


def lines_to_undo(connection: Connection, dialog: int) -> list[FedLine] | None:
    """Return the lines of a dialogue that may be in the field, the last one first. None if it is not to be taken
    back."""
    waits = "SELECT 1 FROM dream_dialogs WHERE id = ? AND undone = 'waiting'"
    if connection.execute(waits, (dialog,)).fetchone() is None:
        return None
    rows = connection.execute(
        """SELECT turn, added, CASE observed WHEN 'answered' THEN '' ELSE text END FROM dream_turns
        WHERE dialog_id = ? AND undone IS NULL AND observed IN ('answered', 'sent', 'failed')
        ORDER BY turn DESC""",
        (dialog,),
    )
    return [FedLine(turn, added if _is_one_value(added) else None, text) for turn, added, text in rows]


def _is_one_value(added: object) -> bool:
    """Return whether it is one value of MessagePack: anything else, as after a bit that flipped, would break the
    message in which it is sent."""
    if not isinstance(added, bytes):
        return False
    reader = Unpacker()
    reader.feed(added)
    try:
        reader.skip()
    except (ValueError, OutOfData):
        return False
    return bool(reader.tell() == len(added))


def line_undone(
    connection: Connection, dialog: int, turn: int, how: Literal["done", "unknown"], missing: int
) -> None:
    """Note that a line was taken back, and how many of its counts were missing; or that it is not known what it
    added."""
    connection.execute(
        "UPDATE dream_turns SET undone = ?, missing = ?, added = NULL WHERE dialog_id = ? AND turn = ?",
        (how, missing, dialog, turn),
    )


def finish_undream(connection: Connection, dialog: int, at: float) -> dict[str, object]:
    """Note that a dialogue is taken back, and that no words come from it any more. Return its result as
    `undream_result` does."""
    take_back_words(connection, [dialog])
    connection.execute(
        "UPDATE dream_dialogs SET undone = ?, undone_at = ? WHERE id = ?", (UNDONE, at, dialog)
    )
    return undream_result(connection, dialog)


def undream_result(connection: Connection, dialog: int) -> dict[str, object]:
    """Return {lines: count of those taken back, unknown: turns of those that may still be in the field, missing: count
    of what was not there any more}."""
    lines, unknown, missing = connection.execute(
        """SELECT total(undone = 'done'), json_group_array(turn) FILTER (WHERE undone = 'unknown'), total(missing)
        FROM dream_turns WHERE dialog_id = ?""",
        (dialog,),
    ).fetchone()
    return {"lines": int(lines), "unknown": sorted(msgspec.json.decode(unknown)), "missing": int(missing)}
