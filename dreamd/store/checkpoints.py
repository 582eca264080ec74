"""The friend's buffer as a whole: make it, keep it under a name, and replace it. Each function is a transaction.

`previous`, `previous~2` .. `previous~5` are the friend before the last five changes, `origin~1`, `origin~2` .. the
friend when an origin was replaced. All other names are given by clients.
"""

from collections.abc import Collection, Iterable, Sequence
from sqlite3 import Connection
from typing import Any, Final

import msgspec
from dreamclient.messages import MESSAGE_BYTES, Code
from msgspec.structs import asdict

from dreamd.dream.fragment_records import FragmentRecord, to_records
from dreamd.errors import Refusal, Unreadable
from dreamd.store.reads import load_memory
from dreamd.store.records import Memory, decode_column
from dreamd.store.tidying import forget_fragments
from dreamd.store.writes import retire_fragment

UNDOS: Final = ("previous", "previous~2", "previous~3", "previous~4", "previous~5")
ORIGIN: Final = "origin"  # then ~ and a number
MOST_NAMED: Final = 32
MOST_ORIGINS: Final = 16  # enough for a user who changes the origin by hand
# Of a checkpoint that a client names: one answer of `friend.fragments` must hold it.
MOST_BYTES: Final = MESSAGE_BYTES

_NAMED: Final = "name <> 'previous' AND instr(name, '~') = 0"


def seed_buffer(
    connection: Connection, texts: Iterable[str], at: float, keep_texts: bool
) -> tuple[int, Memory]:
    """Store the origin if there is none. Return its number of fragments, 0 if there was one, and the new memory. A
    fragment with a text of the origin goes, because what is stored of one that left never changes."""
    stored = 0
    if not connection.execute("SELECT 1 FROM dream_bootstrap_fragments WHERE origin LIMIT 1").fetchone():
        for text in texts:
            known = "SELECT id FROM dream_bootstrap_fragments WHERE text = ?"
            for (fragment_id,) in connection.execute(known, (text,)).fetchall():
                retire_fragment(connection, fragment_id, at, keep_texts)
            connection.execute(
                "INSERT INTO dream_bootstrap_fragments (text, origin, added_at) VALUES (?, 1, ?)", (text, at)
            )
            stored += 1
    return stored, load_memory(connection)


def keep_checkpoint(connection: Connection, name: str, at: float, again: bool) -> dict[str, Any]:
    """Keep the friend under `name`, in place of an earlier checkpoint of that name if `again`.

    Return {name, fragments: count, origin: count}. Raise Refusal if the name is taken or reserved, or there are too
    many, or the friend is too large.
    """
    if name in (UNDOS[0], ORIGIN) or "~" in name:
        raise Refusal(
            Code.INVALID_PARAMS,
            "`previous`, `origin` and names with `~` are the daemon's own; choose another name",
        )
    copies = to_records(load_memory(connection).fragments)
    if (size := len(_encode_records(copies))) > MOST_BYTES:
        raise Refusal(
            Code.UNAVAILABLE, f"the friend takes {size} bytes; a checkpoint holds at most {MOST_BYTES}"
        )
    taken = connection.execute("SELECT 1 FROM dream_checkpoints WHERE name = ?", (name,)).fetchone()
    if taken and not again:
        raise Refusal(
            Code.INVALID_PARAMS,
            "there is a checkpoint of that name already; choose another name, or replace it (`--again`)",
        )
    ((named,),) = connection.execute(f"SELECT count(*) FROM dream_checkpoints WHERE {_NAMED}")  # noqa: S608 - a constant
    if named >= MOST_NAMED and not taken:
        raise Refusal(
            Code.UNAVAILABLE,
            f"{named} checkpoints are kept, and {MOST_NAMED} is the most; delete one that you need no more: "
            "`dreamctl friend checkpoint --delete NAME`",
        )
    _insert_checkpoint(connection, name, copies, at)
    return {"name": name, "fragments": len(copies), "origin": sum(copy.origin for copy in copies)}


def delete_checkpoint(connection: Connection, name: str) -> None:
    """Delete a checkpoint. Raise Refusal if there is none of that name."""
    if not connection.execute("DELETE FROM dream_checkpoints WHERE name = ?", (name,)).rowcount:
        raise _unknown_checkpoint()


def latest_checkpoints(connection: Connection, n: int) -> list[dict[str, Any]]:
    """Return the last n checkpoints, newest first, without their fragments."""
    found = connection.execute(
        "SELECT name, at, learned, origin FROM dream_checkpoints ORDER BY rowid DESC LIMIT ?", (n,)
    )
    return [dict(zip(("name", "at", "learned", "origin"), row, strict=True)) for row in found]


def checkpoint_content(connection: Connection, name: str) -> list[FragmentRecord]:
    """Return what was kept under `name`. Raise Refusal if there is no checkpoint of that name."""
    found = connection.execute("SELECT fragments FROM dream_checkpoints WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise _unknown_checkpoint()
    try:
        return decode_records(found[0])
    except Unreadable as error:
        advice = f"delete it: `dreamctl friend checkpoint --delete {name}`"
        raise Refusal(Code.NOT_FOUND, f"checkpoint {name}: {error}; {advice}") from None


def _unknown_checkpoint() -> Refusal:
    return Refusal(Code.NOT_FOUND, "no checkpoint of that name; `dreamctl friend checkpoint` lists them")


def replace_buffer(
    connection: Connection,
    copies: Sequence[FragmentRecord],
    at: float,
    keep_texts: bool = True,
    dropped: Collection[int] = (),
) -> tuple[Memory, dict[str, Any]]:
    """Replace the buffer by `copies`. Keep the old buffer as `previous`, and an origin that goes as `origin~N`.
    `dropped`: ids of fragments that go because the user says so.

    Return the new memory and {kept: count, added: count, left: count, of the added ones added_dropped: those
    that the user had dropped, added_forgotten: those of dialogues that were forgotten; undo: the checkpoint of the old
    buffer, nil if that was empty or did not change, origin_kept: the checkpoint of the old origin, nil if it did not
    go}. Raise Refusal if too many origins are kept.
    """
    fragments = load_memory(connection).fragments
    added, left = _replace_rows(connection, copies, at, keep_texts, dropped)
    memory = load_memory(connection)
    undo = origin_kept = None
    if fragments and memory.fragments != fragments:
        before, now = to_records(fragments), to_records(memory.fragments)
        undo = _push_undo(connection, before, now, at)
        if (gone := _origin_texts(before)) and gone != _origin_texts(now):
            origin_kept = _keep_origin(connection, before, gone, at)
    counts = {
        "kept": len(copies) - len(added),
        "added": len(added),
        "left": left,
        **_came_back(connection, added),
    }
    return memory, {**counts, "undo": undo, "origin_kept": origin_kept}


def _replace_rows(
    connection: Connection,
    copies: Sequence[FragmentRecord],
    at: float,
    keep_texts: bool,
    dropped: Collection[int],
) -> tuple[list[FragmentRecord], int]:
    """Replace the rows of the buffer, and return those that came and how many went. A known text keeps its id unless
    it becomes part of the origin or ceases to be: what an id stands for never changes. A new one gets an id that was
    never used. Fragments that go are retired, so that a replay still finds them by id."""
    # First, so that fragments that leave now stay: a dialogue may be about to begin with them.
    forget_fragments(connection, at)
    there: dict[tuple[str, bool], list[int]] = {}
    rows = connection.execute("SELECT id, text, origin FROM dream_bootstrap_fragments ORDER BY id")
    for number, text, origin in rows:
        there.setdefault((text, bool(origin)), []).append(number)
    added = []
    for copy in copies:
        known = there.get((copy.text, copy.origin))
        if known:
            connection.execute(
                "UPDATE dream_bootstrap_fragments SET weight = ? WHERE id = ?", (copy.weight, known.pop(0))
            )
        else:
            _add_fragment(connection, copy)
            added.append(copy)
    left = [number for numbers in there.values() for number in numbers]
    for number in left:
        retire_fragment(connection, number, at, keep_texts, number in dropped)
    return added, len(left)


def _came_back(connection: Connection, added: Sequence[FragmentRecord]) -> dict[str, int]:
    """Return how many of these fragments the user had dropped, which they are no longer, and how many are of dialogues
    that were forgotten."""
    texts = msgspec.json.encode([copy.text for copy in added]).decode()
    undropped = connection.execute(
        """UPDATE dream_fragments_past SET dropped = 0
        WHERE dropped AND text IN (SELECT value FROM json_each(?)) RETURNING text""",
        (texts,),
    ).fetchall()
    sources = msgspec.json.encode([copy.dialog for copy in added if copy.dialog is not None]).decode()
    (forgotten,) = connection.execute(
        "SELECT count(*) FROM json_each(?) WHERE value NOT IN (SELECT id FROM dream_dialogs)", (sources,)
    ).fetchone()
    return {"added_dropped": len({text for (text,) in undropped}), "added_forgotten": forgotten}


def _add_fragment(connection: Connection, copy: FragmentRecord) -> None:
    connection.execute(
        """INSERT INTO dream_bootstrap_fragments (text, weight, origin, dialog_id, added_at)
        VALUES (:text, :weight, :origin, :dialog, :added_at)""",
        asdict(copy),
    )


def _push_undo(
    connection: Connection, before: Sequence[FragmentRecord], now: Sequence[FragmentRecord], at: float
) -> str:
    """Keep `before` as the newest undo, and return its name. Undos equal to `before` or `now` are deleted first, so
    that undoing back and forth drops no older one. If there are five, the oldest goes."""
    undos = ", ".join(f"'{name}'" for name in UNDOS)
    connection.execute(
        f"DELETE FROM dream_checkpoints WHERE name IN ({undos}) AND fragments IN (?, ?)",  # noqa: S608 - constants
        (_encode_records(before), _encode_records(now)),
    )
    held = {name for (name,) in connection.execute("SELECT name FROM dream_checkpoints")}
    free = next((n for n, name in enumerate(UNDOS) if name not in held), len(UNDOS) - 1)
    connection.execute("DELETE FROM dream_checkpoints WHERE name = ?", (UNDOS[free],))
    for number in range(free, 0, -1):
        connection.execute(
            "UPDATE dream_checkpoints SET name = ? WHERE name = ?", (UNDOS[number], UNDOS[number - 1])
        )
    _insert_checkpoint(connection, UNDOS[0], before, at)
    return UNDOS[0]


def _keep_origin(
    connection: Connection, copies: Sequence[FragmentRecord], origin: Collection[str], at: float
) -> str:
    """Keep the friend as a checkpoint of its origin, unless that is kept already. Return the checkpoint's name."""
    found = connection.execute("SELECT name, fragments FROM dream_checkpoints WHERE name LIKE 'origin~%'")
    kept = {name: _kept_origin(fragments) for name, fragments in found}
    for name, known in kept.items():
        if known == origin:
            return str(name)
    if len(kept) >= MOST_ORIGINS:
        raise Refusal(
            Code.UNAVAILABLE,
            f"{len(kept)} earlier origins are kept, and {MOST_ORIGINS} is the most; delete one that you need no more: "
            f"`dreamctl friend checkpoint --delete {min(kept, key=_undo_number)}` "
            "(`dreamctl friend checkpoint` lists them)",
        )
    name = f"{ORIGIN}~{1 + max(map(_undo_number, kept), default=0)}"
    _insert_checkpoint(connection, name, copies, at)
    return name


def _undo_number(name: str) -> int:
    return int(name.partition("~")[2])


def _origin_texts(copies: Sequence[FragmentRecord]) -> set[str]:
    return {copy.text for copy in copies if copy.origin}


def _insert_checkpoint(
    connection: Connection, name: str, copies: Sequence[FragmentRecord], at: float
) -> None:
    origin = sum(copy.origin for copy in copies)
    connection.execute(
        "INSERT OR REPLACE INTO dream_checkpoints (name, at, learned, origin, fragments) VALUES (?, ?, ?, ?, ?)",
        (name, at, len(copies) - origin, origin, _encode_records(copies)),
    )


def _encode_records(copies: Sequence[FragmentRecord]) -> str:
    """Return `copies` as JSON in a fixed order, so that equal buffers give equal texts."""
    ordered = sorted(copies, key=lambda copy: (not copy.origin, copy.added_at, copy.text))
    return msgspec.json.encode(ordered).decode()


def _kept_origin(fragments: str) -> set[str]:
    """Return the texts of a checkpoint's origin. One that cannot be read has none."""
    try:
        return _origin_texts(decode_records(fragments))
    except Unreadable:
        return set()


def decode_records(fragments: str) -> list[FragmentRecord]:
    """Return the fragments of a checkpoint. Raise Unreadable."""
    return decode_column("checkpoint", fragments, list[FragmentRecord])
