"""The friend's buffer as a whole: kept under a name, and replaced. One function a transaction."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any, Final

import msgspec
from msgspec.structs import asdict

from dreamd.dream.copies import Copy
from dreamd.store.reading import load
from dreamd.store.rows import Memory
from dreamd.store.transactions import retire_fragment

PREVIOUS: Final = "previous"  # the friend before it was last replaced


def keep(connection: Connection, name: str, copies: Sequence[Copy], at: float, again: bool) -> bool:
    """Keep `copies` under `name`; False where that is taken, unless `again`."""
    origin = sum(copy.origin for copy in copies)
    kept = connection.execute(
        f"INSERT OR {'REPLACE' if again else 'IGNORE'} INTO dream_checkpoints"  # noqa: S608 - one of two words
        " (name, at, learned, origin, fragments) VALUES (?, ?, ?, ?, ?)",
        (name, at, len(copies) - origin, origin, msgspec.json.encode(copies).decode()),
    )
    return kept.rowcount > 0


def latest(connection: Connection, n: int) -> list[dict[str, Any]]:
    """The last n checkpoints, newest first, without their fragments."""
    found = connection.execute(
        "SELECT name, at, learned, origin FROM dream_checkpoints ORDER BY rowid DESC LIMIT ?", (n,)
    )
    return [dict(zip(("name", "at", "learned", "origin"), row, strict=True)) for row in found]


def content(connection: Connection, name: str) -> list[Copy] | None:
    """What was kept under `name`."""
    found = connection.execute("SELECT fragments FROM dream_checkpoints WHERE name = ?", (name,)).fetchone()
    return None if found is None else msgspec.json.decode(found[0], type=list[Copy])


def replace_buffer(
    connection: Connection, copies: Sequence[Copy], before: Sequence[Copy], at: float
) -> tuple[Memory, dict[str, int]]:
    """A fragment whose text is among `copies` keeps its id, a new one gets one that nobody had, and what goes is
    retired: a replay finds each by its id."""
    keep(connection, PREVIOUS, before, at, again=True)
    there: dict[str, list[int]] = {}
    for number, text in connection.execute("SELECT id, text FROM dream_bootstrap_fragments ORDER BY id"):
        there.setdefault(text, []).append(number)
    added = 0
    for copy in copies:
        known = there.get(copy.text)
        if known:
            connection.execute(
                "UPDATE dream_bootstrap_fragments SET weight = ?, origin = ? WHERE id = ?",
                (copy.weight, copy.origin, known.pop(0)),
            )
        else:
            _add(connection, copy)
            added += 1
    left = [number for numbers in there.values() for number in numbers]
    for number in left:
        retire_fragment(connection, number, at)
    return load(connection), {"kept": len(copies) - added, "added": added, "left": len(left)}


def _add(connection: Connection, copy: Copy) -> None:
    connection.execute(
        """INSERT INTO dream_bootstrap_fragments (id, text, weight, origin, dialog_id, added_at)
        VALUES (1 + max(coalesce((SELECT max(id) FROM dream_bootstrap_fragments), 0),
                        coalesce((SELECT max(id) FROM dream_fragments_past), 0)),
                :text, :weight, :origin, :dialog, :added_at)""",
        asdict(copy),
    )
