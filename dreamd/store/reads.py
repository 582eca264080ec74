"""Reading from the database. Each read uses an index or a counter, so it costs no more after a million lines."""

from collections.abc import Collection
from contextlib import suppress
from sqlite3 import Connection
from typing import Annotated, Any, Final

import msgspec
from dreamclient.messages import Code
from msgspec import Meta
from msgspec.structs import replace

from dreamd.dream.dialogue import DialogueSettings
from dreamd.dream.gate import Decision
from dreamd.dream.model import Context, Fragment, Line
from dreamd.dream.replay import Script
from dreamd.dream.signals import RANKED
from dreamd.errors import Refusal, Unreadable
from dreamd.store.records import Memory, Pause, StoredDialog, decode_column, decode_state
from dreamd.store.reply_shares import reply_stats
from dreamd.store.tidying import REPLAY_EMPTIED, number_of
from dreamd.store.writes import LAST_RUN, OUTCOME, PAUSE

DAYS: Final = 30  # whose decisions `stats` has
DROPPED: Final = "dream_inbox_dropped"  # files
FORGOTTEN: Final = "dream_forgotten"  # dialogues
MOST_COUNTED: Final = (
    2.0**53
)  # of a number in dream_meta: up to it each integer is a float, and fits into a message

Row = dict[str, Any]
Measure = Annotated[float, Meta(ge=0, le=1)]

_DIALOG: Final = (
    "id, trace_id, started_at, finished_at, outcome, episodes_count AS lines, client,"
    " avg_trauma, avg_arousal, drift, note, fed, undone,"
    " (SELECT nullif(substr(text, 1, 60), '') FROM dream_turns"  # OPENING_CHARS
    " WHERE dialog_id = dream_dialogs.id AND turn = 1) AS opening"
)
_TURN: Final = (
    "turn, speaker, CAST(text AS TEXT) AS text, pulse_novelty AS novelty, pulse_arousal AS arousal,"
    " pulse_entropy AS entropy, trauma_level AS trauma, overlap, quality, seed, temperature, semantic_weight,"
    " expert, observed, at, undone, missing"
)
# Cast, since another program may have stored bytes, or a text in place of a number.
_FRAGMENT: Final = (
    "CAST(text AS TEXT) AS text, origin, dialog_id AS dialog, CAST(added_at AS REAL) AS added_at"
)
_UNWRITTEN: Final = (
    "dream_dialogs INDEXED BY dream_dialogs_unwritten WHERE shard_at IS NULL AND finished_at IS NOT NULL"
    " AND trace_id IS NOT NULL AND episodes_count > 0 AND id NOT IN (SELECT value FROM json_each(?))"
    " ORDER BY id LIMIT ?"
)


def load_memory(connection: Connection) -> Memory:
    """Return the state that the engine needs at its start."""
    numbers = _meta_numbers(connection)
    outcomes = {
        key.removeprefix(OUTCOME): int(n) for key, n in numbers.items() if key.startswith(OUTCOME) and n
    }
    named = f"{LAST_RUN}:"
    last_run = {key.removeprefix(named): at for key, at in numbers.items() if key.startswith(named)}
    if LAST_RUN in numbers:
        last_run["leo"] = numbers[LAST_RUN]
    fragments = [
        Fragment(**row | {"origin": bool(row["origin"])})
        for row in _select_rows(
            connection,
            f"id, CAST(weight AS REAL) AS weight, {_FRAGMENT}",
            "dream_bootstrap_fragments ORDER BY id",
        )
    ]
    return Memory(
        fragments=fragments,
        next_fragment_id=_next_id(connection, "dream_bootstrap_fragments"),
        next_dialog=_next_id(connection, "dream_dialogs"),
        last_run=last_run,
        signals=_load_signals(connection),
        outcomes=outcomes,
        dialogs=sum(outcomes.values()),
        lines=int(numbers.get("dream_lines", 0)),
        dropped=int(numbers.get(DROPPED, 0)),
        pause=_load_pause(connection),
    )


def _next_id(connection: Connection, table: str) -> int:
    """Return an id that no row of the table has ever had."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return (found[0] if found else 0) + 1


def _load_pause(connection: Connection) -> Pause | None:
    """Return the pause of all dreams. One that cannot be read is none."""
    found = connection.execute("SELECT value FROM dream_meta WHERE key = ?", (PAUSE,)).fetchone()
    try:
        return decode_column("pause", found[0], Pause) if found else None
    except Unreadable:
        return None


def last_measures(connection: Connection) -> list[tuple[float | None, ...]]:
    """Return arousal, overlap and trauma of the last lines, oldest first, None for an invalid measure."""
    rows = connection.execute(
        "SELECT pulse_arousal, overlap, trauma_level FROM dream_turns ORDER BY id DESC LIMIT ?", (RANKED,)
    ).fetchall()
    return [tuple(value if _is_measure(value) else None for value in row) for row in reversed(rows)]


def _is_measure(value: object) -> bool:
    return isinstance(value, int | float) and 0.0 <= value <= 1.0


def _load_signals(connection: Connection) -> dict[str, dict[str, list[float]]]:
    """Return the kept signals by client name, without unreadable ones."""
    found = {}
    for client, recent in connection.execute("SELECT client, recent FROM dream_signals ORDER BY at"):
        with suppress(Unreadable):
            found[client] = decode_column("recent", recent, dict[str, list[Measure]], msgspec.msgpack.decode)
    return found


def recent_dialogs(connection: Connection, n: int, before: int | None = None) -> list[Row]:
    """Return the last n dialogues, newest first, without their lines. `before`: only those before this dialogue."""
    if before is None:
        return _select_dialogs(connection, "dream_dialogs ORDER BY started_at DESC, id DESC LIMIT ?", n)
    place = connection.execute("SELECT started_at, id FROM dream_dialogs WHERE id = ?", (before,)).fetchone()
    if place is None:  # forgotten since it was asked for: else its reader would take that for the end
        found = "dream_dialogs WHERE id < ? ORDER BY started_at DESC, id DESC LIMIT ?"
        return _select_dialogs(connection, found, before, n)
    return earlier_dialogs(connection, n, place)


def earlier_dialogs(connection: Connection, n: int, place: tuple[float, int]) -> list[Row]:
    """Return the last n dialogues before a place, which is the start and the id of a dialogue that may be gone."""
    found = "dream_dialogs WHERE (started_at, id) < (?, ?) ORDER BY started_at DESC, id DESC LIMIT ?"
    return _select_dialogs(connection, found, *place, n)


def get_dialog(connection: Connection, dialog_id: int) -> Row | None:
    """Return a dialogue with its lines as `turns`, or None. `lines` is their count."""
    found = _select_dialogs(connection, "dream_dialogs WHERE id = ?", dialog_id)
    return found[0] | {"turns": _select_turns(connection, dialog_id)} if found else None


def load_script(connection: Connection, dialog_id: int) -> Script | None:
    """Return all that a replay needs of a dialogue that has ended or is suspended. Return None if there is no such
    dialogue, if its texts were not kept, or if a fragment of its friend was forgotten. Raise Unreadable."""
    found = connection.execute(
        """SELECT context, settings, rng_seed, friend_state, recalled, outcome FROM dream_dialogs
        WHERE id = ? AND outcome IS NOT NULL AND context IS NOT NULL AND friend_state IS NOT NULL""",
        (dialog_id,),
    ).fetchone()
    fragments = found and _fragments_of(connection, found[3])
    if found is None or fragments is None:
        return None
    context, settings, rng_seed, _, recalled, outcome = found
    turns = _select_rows(
        connection, f"{_TURN}, candidates, said", "dream_turns WHERE dialog_id = ? ORDER BY turn", dialog_id
    )
    how = decode_column("settings", settings, DialogueSettings)
    for turn in turns:
        if turn["candidates"] is None:  # of 0.1.0, which took the hook's text unchanged
            turn["candidates"], how = (turn["said"],), replace(how, candidates=0)
        else:
            turn["candidates"] = decode_column("candidates", turn["candidates"], tuple[str, ...])
    return Script(
        context=decode_column("context", context, Context),
        settings=how,
        rng_seed=decode_column("rng_seed", rng_seed, int, lambda data, **_: int(data)),
        fragments=fragments,
        recalled=None if recalled is None else decode_column("recalled", recalled, list[str]),
        lines=[decode_column("line", turn, Line, msgspec.convert) for turn in turns],
        outcome=outcome,
    )


def replayable_script(connection: Connection, dialog_id: int) -> Script:
    """Return all that a replay needs of a dialogue. Raise Refusal if there is no such dialogue, or with the reason if
    it cannot be replayed. Raise Unreadable."""
    script = load_script(connection, dialog_id)
    if script is None:
        raise Refusal(
            Code.NOT_FOUND,
            f"dialogue {dialog_id} cannot be replayed: {_why_not_kept(connection, dialog_id)}",
        )
    return script


def _why_not_kept(connection: Connection, dialog_id: int) -> str:
    """Return why the replay data of a dialogue are missing. Raise Refusal if there is no such dialogue."""
    found = connection.execute(
        """SELECT trace_id, finished_at, context, episodes_count, EXISTS
            (SELECT 1 FROM dream_turns WHERE dialog_id = dream_dialogs.id AND text <> '')
        FROM dream_dialogs WHERE id = ?""",
        (dialog_id,),
    ).fetchone()
    if found is None:
        raise Refusal(Code.NOT_FOUND, f"no dialogue {dialog_id}; `dreamctl recent` lists them")
    trace_id, finished_at, context, lines, has_texts = found
    if trace_id is None:
        return "leo's own dream.py ran it, not dreamd"
    if finished_at is None and context is not None:
        return "it has not ended"
    if dialog_id <= number_of(connection, REPLAY_EMPTIED):
        return "its replay data were emptied, since newer ones take their place (store.replay_dialogues)"
    if lines and has_texts:
        return "a text that it quoted was forgotten"
    return "its texts were emptied, since store.diagnostics was false"


def _fragments_of(connection: Connection, state: bytes) -> list[Fragment] | None:
    """Return the fragments of a friend_state, None if one is missing, because it was forgotten. Raise Unreadable."""
    found = []
    for fragment_id, weight in decode_state(state):
        fragment = _as_it_was(connection, fragment_id, weight)
        if fragment is None:
            return None
        found.append(fragment)
    return found


def _as_it_was(connection: Connection, fragment_id: int, weight: float) -> Fragment | None:
    """Return a fragment at its former weight, from the buffer or from those that have left it."""
    found = connection.execute(
        f"""SELECT {_FRAGMENT} FROM dream_bootstrap_fragments WHERE id = :id
        UNION ALL SELECT {_FRAGMENT} FROM dream_fragments_past WHERE id = :id LIMIT 1""",  # noqa: S608 - a constant
        {"id": fragment_id},
    ).fetchone()
    if found is None:
        return None
    text, origin, dialog, added_at = found
    return Fragment(
        id=fragment_id, text=text, weight=weight, origin=bool(origin), dialog=dialog, added_at=added_at
    )


def friend_before(connection: Connection, dialog_id: int) -> list[Fragment]:
    """Return the fragments of the friend with which a dialogue began. One that was forgotten since has an empty text.
    Raise Refusal if there is no such dialogue, or if this is not kept or cannot be read."""
    found = connection.execute("SELECT friend_state FROM dream_dialogs WHERE id = ?", (dialog_id,)).fetchone()
    if found is None or found[0] is None:
        why = _why_not_kept(connection, dialog_id)
        raise Refusal(Code.NOT_FOUND, f"the friend before dialogue {dialog_id} is not known: {why}")
    try:
        state = decode_state(found[0])
    except Unreadable as error:
        raise Refusal(Code.NOT_FOUND, f"the friend before dialogue {dialog_id}: {error}") from None
    gone = Fragment(id=0, text="", weight=0.0, origin=False, dialog=None, added_at=0.0)
    return [_as_it_was(connection, *of) or replace(gone, id=of[0], weight=of[1]) for of in state]


def past_fragments(connection: Connection, n: int) -> list[Row]:
    """Return the fragments that left the friend last, at most n, the last one first."""
    columns = "id, text, weight, origin, dialog_id AS dialog, added_at, left_at"
    newest = "SELECT * FROM dream_fragments_past ORDER BY id DESC LIMIT 1000"  # a friend has 512 at most
    return _select_rows(connection, columns, f"({newest}) ORDER BY left_at DESC, id DESC LIMIT ?", n)


def unwritten_dialogs(connection: Connection, but: Collection[int], n: int) -> list[StoredDialog]:
    """Return up to n dialogues with lines whose inbox file is not written yet, by id, without those of `but`."""
    skipped = msgspec.json.encode(list(but)).decode()
    found = _select_rows(
        connection, "id, trace_id, client, started_at, finished_at, outcome", _UNWRITTEN, skipped, n
    )
    return [StoredDialog(**row, turns=_select_turns(connection, row["id"])) for row in found]


def drift_of_dialogs(connection: Connection, n: int, before: int | None = None) -> list[Row]:
    """Return how far the friend was from its origin after each of the last n dialogues that spoke, newest first.
    `before`: only those before this dialogue."""
    found = (
        "dream_dialogs INDEXED BY dream_dialogs_drift WHERE drift IS NOT NULL AND id < ?"
        " ORDER BY id DESC LIMIT ?"
    )
    return _select_rows(connection, "id, finished_at AS at, drift", found, before or (1 << 63) - 1, n)


def total_stats(connection: Connection) -> Row:
    """Return the totals. The averages are over dialogues, as leo counts them, and 0.0 if there are none."""
    memory, numbers = load_memory(connection), _meta_numbers(connection)
    measured = max(numbers.get("dream_measured", 0), 1)
    return {
        "dialogs": memory.dialogs,
        "lines": memory.lines,
        "fragments": len(memory.fragments),
        "origin_fragments": sum(fragment.origin for fragment in memory.fragments),
        "avg_trauma": numbers.get("dream_sum_trauma", 0.0) / measured,
        "avg_arousal": numbers.get("dream_sum_arousal", 0.0) / measured,
        "outcomes": memory.outcomes,
        "days": _days(connection),
        "forgotten": int(numbers.get(FORGOTTEN, 0)),
        **reply_stats(connection),
    }


def _select_dialogs(connection: Connection, found: str, *arguments: float) -> list[Row]:
    return [row | {"fed": bool(row["fed"])} for row in _select_rows(connection, _DIALOG, found, *arguments)]


def _select_turns(connection: Connection, dialog_id: int) -> list[Row]:
    return _select_rows(connection, _TURN, "dream_turns WHERE dialog_id = ? ORDER BY turn", dialog_id)


def _meta_numbers(connection: Connection) -> dict[str, float]:
    """Return dreamd's own keys of dream_meta that hold numbers. Any other value was written by another program."""
    numbers = {}
    ours = "SELECT key, value FROM dream_meta WHERE key BETWEEN 'dream_' AND 'dream_~'"
    for key, value in connection.execute(ours):
        try:
            number = float(value)
        except (TypeError, ValueError):
            continue
        if abs(number) < MOST_COUNTED:
            numbers[key] = number
    return numbers


def _select_rows(connection: Connection, columns: str, found: str, *arguments: float | str) -> list[Row]:
    cursor = connection.execute(f"SELECT {columns} FROM {found}", arguments)  # noqa: S608 - constants of this file
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def decisions(connection: Connection, n: int) -> list[Decision]:
    """Return the last n decisions that were stored, newest first. What cannot be read is left out."""
    found = []
    for (text,) in connection.execute("SELECT decision FROM dream_decisions ORDER BY id DESC LIMIT ?", (n,)):
        with suppress(Unreadable):
            found.append(decode_column("decision", text, Decision))
    return found


def _days(connection: Connection) -> dict[str, dict[str, int]]:
    """Return the decisions by reason of the last DAYS days that had any, by day (UTC)."""
    days: dict[str, dict[str, int]] = {}
    counts = connection.execute(
        """SELECT day, reason, count FROM dream_decision_counts WHERE day IN
        (SELECT DISTINCT day FROM dream_decision_counts ORDER BY day DESC LIMIT ?) ORDER BY day, reason""",
        (DAYS,),
    )
    for day, reason, count in counts:
        days.setdefault(day, {})[reason] = count
    return days
