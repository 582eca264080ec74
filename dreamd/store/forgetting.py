"""Forgetting dialogues with all that is made of them, in the database and in its copies.

No fragment of the origin is touched (P4). SQLite overwrites deleted rows (`secure_delete`), and `scrub` rewrites the
file, because an earlier version may have left some in free pages.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from math import inf, isfinite
from sqlite3 import Connection, OperationalError
from typing import Annotated, Final

import msgspec
from dreamclient.messages import Code
from msgspec import Meta, Struct

from dreamd.errors import Refusal, Unreadable
from dreamd.store import search
from dreamd.store.checkpoints import decode_records
from dreamd.store.file.files import has_room
from dreamd.store.file.health import FAILING, FULL, reason_for
from dreamd.store.file.transaction import run_transaction
from dreamd.store.reads import FORGOTTEN, load_memory
from dreamd.store.records import Memory
from dreamd.store.tidying import REPLAY, REPLAY_EMPTIED, number_of
from dreamd.store.writes import add_to_counter

_UNSCRUBBED: Final = "dream_unscrubbed"

_LOOKED: Final = "dream_age_looked_at"

_THEIRS: Final = """NOT origin AND
    (dialog_id IN (SELECT value FROM json_each(?)) OR text IN (SELECT value FROM json_each(?)))"""

# In a copy of version 0: leo's own dream.py keeps a line as a fragment, and not from where it came.
_THEIRS_OF_LEO: Final = "? <> '' AND text IN (SELECT value FROM json_each(?))"
_REPLAY_OF_0_1: Final = (
    REPLAY[0],
    "UPDATE dream_turns SET seed = '', said = NULL WHERE dialog_id BETWEEN ? AND ?",
)

BEGINNING: Final = 16  # characters of a quote by which it is found

Shard = tuple[int, int]  # index and timestamp (ms) of a line in its inbox file


class Dream(Struct, frozen=True):
    """A dialogue that may be forgotten. `trace_id` is None for one of leo's own dream.py."""

    id: int
    started_at: float
    trace_id: str | None


class Forgotten(Struct, kw_only=True):
    """The counts of what was deleted, and what is left: the friend's fragments, and checkpoints by name."""

    lines: int = 0
    fragments: int = 0
    replays: int = 0  # of other dialogues that quoted a forgotten text
    fragments_left: int = 0
    checkpoints_left: list[str] = []


class Asked(Struct, forbid_unknown_fields=True):
    """A request to forget the dialogue `id`, or all that began before `before` (unix s)."""

    id: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)] | None = None
    before: float | None = None
    friend: bool = False  # also the friend's fragments of these dialogues
    everywhere: bool = False  # also in checkpoints and in copies of the database
    dry_run: bool = False  # only count, and change nothing

    def __post_init__(self) -> None:
        if (self.id is None) == (self.before is None):
            raise ValueError("expected either id or before")
        if self.before is not None and not isfinite(self.before):
            raise ValueError("before must be a finite number")


def chosen(connection: Connection, asked: Asked) -> list[Dream]:
    """Return the requested dialogues that have ended, and forgotten ones of which `friend` or `everywhere` reaches
    what is left. Raise Refusal if a named one is missing or has not ended."""
    found = connection.execute(
        """SELECT finished_at IS NOT NULL OR trace_id IS NULL, id, started_at, trace_id
        FROM dream_dialogs WHERE id = ? OR started_at < ?""",
        (asked.id, asked.before),
    ).fetchall()
    left = _left_of_forgotten(connection, asked)
    if asked.id is not None and not (found or left):
        raise Refusal(Code.NOT_FOUND, f"no dialogue {asked.id}; `dreamctl recent` lists them")
    if asked.id is not None and found and not found[0][0]:
        raise Refusal(Code.BUSY, f"dialogue {asked.id} has not ended; forget it then (within a day)")
    return [Dream(*row) for has_ended, *row in found if has_ended] + left


def _left_of_forgotten(connection: Connection, asked: Asked) -> list[Dream]:
    """Return the requested dialogues that are gone already, and of which the friend (with `friend`) or a checkpoint
    (with `everywhere`) still has a fragment. They began when their first fragment was made, as far as is known."""
    began: dict[int, float] = {}
    for dialog, at in _fragments_kept(connection, asked):
        began[dialog] = min(at, began.get(dialog, at))
    there = "SELECT id FROM dream_dialogs WHERE id IN (SELECT value FROM json_each(?))"
    for (number,) in connection.execute(there, (_json(list(began)),)).fetchall():
        del began[number]
    before = -inf if asked.before is None else asked.before
    return [
        Dream(number, at, None) for number, at in sorted(began.items()) if number == asked.id or at < before
    ]


def _fragments_kept(connection: Connection, asked: Asked) -> Iterator[tuple[int, float]]:
    """Yield the dialogue and the time of each fragment of the friend (with `friend`) and of the checkpoints (with
    `everywhere`) that came from a dialogue. A checkpoint that cannot be read has none."""
    if asked.friend:
        yield from connection.execute(
            """SELECT CAST(dialog_id AS INTEGER), CAST(added_at AS REAL) FROM dream_bootstrap_fragments
            WHERE NOT origin AND dialog_id IS NOT NULL"""
        )
    if asked.everywhere:
        for (kept,) in connection.execute("SELECT fragments FROM dream_checkpoints"):
            with suppress(Unreadable):
                for copy in decode_records(kept):
                    if copy.dialog is not None and not copy.origin:
                        yield copy.dialog, copy.added_at


def shards_of(connection: Connection, traces: Iterable[str]) -> dict[str, set[Shard]]:
    """Return the shards that the dialogues of these trace ids have in the inbox, without traces of other programs."""
    lines = """SELECT dream_turns.at FROM dream_dialogs JOIN dream_turns ON dialog_id = dream_dialogs.id
        WHERE trace_id = ? ORDER BY turn"""
    found = {}
    for trace_id in traces:
        times = connection.execute(lines, (trace_id,)).fetchall()
        if times:
            found[trace_id] = {(index, _milliseconds(at)) for index, (at,) in enumerate(times)}
    return found


def _milliseconds(at: object) -> int:
    """Return the time of a line as its inbox file has it, 0 if another program spoilt it."""
    return round(at * 1000) if isinstance(at, int | float) and isfinite(at * 1000) else 0


def forget_dreams(
    connection: Connection, dreams: Sequence[Dream], friend: bool, everywhere: bool
) -> Forgotten:
    """Delete dialogues, their lines, and their fragments that have left the friend. Empty the replay data of other
    dialogues that quote those. With `friend` also delete his fragments of them, with `everywhere` those in
    checkpoints."""
    ids = _json([dream.id for dream in dreams])
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    found = connection.execute(
        "SELECT CAST(text AS TEXT) FROM dream_turns WHERE dialog_id IN (SELECT value FROM json_each(?))",
        (ids,),
    )
    texts = {text for (text,) in found if text}
    gone = Forgotten()
    has_past = "dream_fragments_past" in tables
    removed = _forget_fragments(connection, ids, texts, friend, has_past, gone)
    if has_past:
        gone.replays = _forget_quotes(connection, {dream.id for dream in dreams}, removed, texts)
    if "dream_checkpoints" in tables:
        gone.checkpoints_left = _forget_in_checkpoints(connection, dreams, texts, everywhere)
    if "dream_search" in tables:
        search.forget_lines(connection, ids)
    gone.lines = connection.execute(
        "DELETE FROM dream_turns WHERE dialog_id IN (SELECT value FROM json_each(?))", (ids,)
    ).rowcount
    deleted = connection.execute(
        "DELETE FROM dream_dialogs WHERE id IN (SELECT value FROM json_each(?))", (ids,)
    )
    add_to_counter(connection, FORGOTTEN, deleted.rowcount)
    connection.execute("INSERT OR REPLACE INTO dream_meta (key, value) VALUES (?, '1')", (_UNSCRUBBED,))
    return gone


def forget_and_load(
    connection: Connection, dreams: Sequence[Dream], friend: bool, everywhere: bool
) -> tuple[Forgotten, Memory]:
    """Forget dialogues. Return what went, and what is left for the memory."""
    return forget_dreams(connection, dreams, friend, everywhere), load_memory(connection)


def look_at_age(connection: Connection, at: float, every_s: float) -> float | None:
    """Note that what is too old is looked for now. Return when it was looked for before; None if that was less than
    `every_s` ago, which changes nothing, or never, or later than now, as the clock was wrong at one of the two."""
    found = connection.execute(
        "SELECT CAST(value AS REAL) FROM dream_meta WHERE key = ?", (_LOOKED,)
    ).fetchone()
    before = found[0] if found else None
    if before is not None and 0 <= at - before < every_s:
        return None
    connection.execute("INSERT OR REPLACE INTO dream_meta (key, value) VALUES (?, ?)", (_LOOKED, str(at)))
    return before if before is not None and before <= at else None


def _forget_fragments(
    connection: Connection, ids: str, texts: Collection[str], friend: bool, has_past: bool, gone: Forgotten
) -> set[str]:
    """Delete the fragments that came from these dialogues or repeat a line of theirs. Return their texts."""
    theirs = ids, _json(list(texts))
    which = _THEIRS if has_past else _THEIRS_OF_LEO
    removed: set[str] = set()
    for table in ["dream_fragments_past"] * has_past + ["dream_bootstrap_fragments"] * friend:
        statement = f"DELETE FROM {table} WHERE {which} RETURNING CAST(text AS TEXT)"  # noqa: S608 - constants
        deleted = connection.execute(statement, theirs).fetchall()
        removed |= {text for (text,) in deleted}
        gone.fragments += len(deleted)
    counted = f"SELECT count(*) FROM dream_bootstrap_fragments WHERE {which}"  # noqa: S608 - constants
    (gone.fragments_left,) = connection.execute(counted, theirs).fetchone()
    return removed


def _forget_quotes(
    connection: Connection, own: Collection[int], fragments: Collection[str], lines: Collection[str]
) -> int:
    """Empty the replay data of other dialogues whose prompts hold one of these fragments, or whose host recalled one of
    these lines. Return how many did."""
    emptied = number_of(connection, REPLAY_EMPTIED)
    prompts = "SELECT dialog_id, CAST(seed AS TEXT) FROM dream_turns WHERE dialog_id > ? AND seed <> ''"
    recalled = "SELECT id, CAST(recalled AS TEXT) FROM dream_dialogs WHERE id > ? AND recalled <> '[]'"
    quoting = {
        dialog
        for quotes, kept in ((fragments, prompts), ({_json(line)[1:-1] for line in lines}, recalled))
        for holds_one in [quote_finder(quotes)]
        for dialog, text in connection.execute(kept, (emptied,))
        if dialog not in own and holds_one(text)
    }
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(dream_turns)")}
    for statement in REPLAY if "candidates" in columns else _REPLAY_OF_0_1:
        connection.executemany(statement, [(dialog, dialog) for dialog in quoting])
    return len(quoting)


def quote_finder(quotes: Iterable[str]) -> Callable[[str], bool]:
    """Return a function that says whether a text holds one of these quotes. A prune may have 100,000 of them: at each
    place of the text only those are compared that begin as the text does there."""
    by_beginning: dict[str, list[str]] = {}
    for quote in quotes:
        by_beginning.setdefault(quote[:BEGINNING], []).append(quote)
    lengths = set(map(len, by_beginning))

    def holds_one(text: str) -> bool:
        return any(
            text.startswith(quote, at)
            for at in range(len(text))
            for length in lengths
            for quote in by_beginning.get(text[at : at + length], ())
        )

    return holds_one


def _forget_in_checkpoints(
    connection: Connection, dreams: Sequence[Dream], texts: Collection[str], everywhere: bool
) -> list[str]:
    """Delete the fragments of these dialogues from the checkpoints if `everywhere`. Return the names of those that
    still hold some."""
    ids, left = {dream.id for dream in dreams}, []
    for name, kept in connection.execute("SELECT name, fragments FROM dream_checkpoints").fetchall():
        try:
            copies = decode_records(kept)
        except Unreadable:  # it may hold some, so the user is told its name
            left.append(name)
            continue
        rest = [copy for copy in copies if copy.origin or not (copy.dialog in ids or copy.text in texts)]
        if len(rest) == len(copies):
            continue
        if not everywhere:
            left.append(name)
            continue
        connection.execute(
            "UPDATE dream_checkpoints SET fragments = ?, learned = ? WHERE name = ?",
            (_json(rest), sum(not copy.origin for copy in rest), name),
        )
    return left


def holds(connection: Connection, dreams: Sequence[Dream]) -> bool:
    """Return whether a copy of the database holds one of these dialogues."""
    found = connection.execute(
        """SELECT 1 FROM dream_dialogs JOIN json_each(?)
        ON dream_dialogs.id = json_extract(value, '$[0]') AND started_at = json_extract(value, '$[1]') LIMIT 1""",
        (_json([(dream.id, dream.started_at) for dream in dreams]),),
    )
    return found.fetchone() is not None


def forget_in_copy(connection: Connection, dreams: Sequence[Dream], friend: bool) -> bool:
    """Delete dialogues from a copy of the database, which may be older, and rewrite it. Return False if the disk has no
    room for that. Raise sqlite3.Error."""
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    run_transaction(connection, forget_dreams, dreams, friend, True)
    return scrub(connection)


def scrub(connection: Connection) -> bool:
    """Rewrite the database and empty its log if something was forgotten since the last time, so that no byte of it is
    left. Return whether that is done. Another program that reads it may delay that, and so may a disk without room for
    a second one: to fill it would end all dreams."""
    if not connection.execute("SELECT 1 FROM dream_meta WHERE key = ?", (_UNSCRUBBED,)).fetchone():
        return True
    rewritten = has_room(connection) and _rewrite(connection)
    if rewritten:
        connection.execute("DELETE FROM dream_meta WHERE key = ?", (_UNSCRUBBED,))
    (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return rewritten and not busy


def _rewrite(connection: Connection) -> bool:
    """Return whether it could be rewritten. A quota may allow less than the disk has."""
    try:
        connection.execute("VACUUM")
    except OperationalError as error:
        if reason_for(error) not in (FULL, FAILING):
            raise
        return False
    return True


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
