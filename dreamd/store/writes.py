"""Changing the database: each function is a transaction and runs on the database thread.

`Database.write` begins and commits. No function reads a whole table except the fragments, of which there are a few
hundred at most.
"""

from collections.abc import Mapping, Sequence
from sqlite3 import Connection
from types import MappingProxyType
from typing import Final

import msgspec
from dreamclient.messages import DECISIONS
from msgspec.structs import asdict

from dreamd.dream.clients import ABSENT
from dreamd.dream.friend import Change
from dreamd.dream.gate import Decision
from dreamd.dream.model import Line
from dreamd.errors import StoreError
from dreamd.store import search
from dreamd.store.file.files import PROBE_BYTES
from dreamd.store.records import Charge, Finish, NewDialog, Observed, Pause
from dreamd.store.tidying import empty_texts, first_open

LAST_RUN: Final = "dream_last_run_ts"  # the key for leo; any other client's ends in ":name"
OUTCOME: Final = "dream_outcome:"
PAUSE: Final = "dream_pause"  # JSON: [at, until]; no row without a pause

COUNTED_DAYS: Final = 400  # on which decisions are counted: more than a year


# A dialogue, from its beginning to its shard.


def begin_dialog(connection: Connection, new: NewDialog) -> int:
    """Store a dialogue that starts, and return its id."""
    cursor = connection.execute(
        """INSERT INTO dream_dialogs (
            id, trace_id, session, client, started_at, rng_seed, context, settings, friend_state, field, version, fed
        ) VALUES (
            :id, :trace_id, :session, :client, :started_at, :rng_seed,
            CAST(:context AS TEXT), CAST(:settings AS TEXT), :friend_state, :field, :version, :fed
        )""",
        asdict(new) | {"rng_seed": str(new.rng_seed)},
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def record_line(
    connection: Connection,
    dialog_id: int,
    line: Line,
    at: float,
    charge: Charge | None,
    keep_texts: bool,
    fed: bool = True,
) -> None:
    """Store a line, if it is `fed` marked as sent to `observe` before it is sent. `charge` starts a cooldown. If texts
    are kept, the search index takes the line in."""
    counted = connection.execute(
        "UPDATE dream_dialogs SET episodes_count = episodes_count + 1 WHERE id = ? AND finished_at IS NULL",
        (dialog_id,),
    )
    if counted.rowcount == 0:
        raise StoreError(f"dialogue {dialog_id} is not running")
    stored = connection.execute(
        """INSERT INTO dream_turns (
            dialog_id, turn, speaker, text, trauma_level, pulse_novelty, pulse_arousal, pulse_entropy,
            overlap, quality, seed, temperature, semantic_weight, expert, candidates, observed, at
        ) VALUES (
            :dialog_id, :turn, :speaker, :text, :trauma, :novelty, :arousal, :entropy,
            :overlap, :quality, :seed, :temperature, :semantic_weight, :expert, :candidates, :observed, :at
        )""",
        asdict(line)
        | {"candidates": msgspec.json.encode(line.candidates).decode(), "dialog_id": dialog_id, "at": at}
        | {"observed": "sent" if fed else "unfed"},
    )
    if keep_texts and stored.lastrowid is not None:
        search.index_line(connection, stored.lastrowid, line.text)
    if charge:
        gone = [(_last_run_key(name),) for name in charge.forget]
        connection.executemany("DELETE FROM dream_meta WHERE key = ?", gone)
        connection.execute(
            "INSERT OR REPLACE INTO dream_meta (key, value) VALUES (?, ?)",
            (_last_run_key(charge.client), charge.at),
        )


def _last_run_key(client: str) -> str:
    return LAST_RUN if client == "leo" else f"{LAST_RUN}:{client}"


def mark_observed(
    connection: Connection,
    dialog_id: int,
    how: Mapping[int, Observed],
    lines: Sequence[Line],
    brought: Mapping[int, Sequence[int]] = MappingProxyType({}),
    added: Mapping[int, bytes] = MappingProxyType({}),
) -> None:
    """Store how `observe` was answered, by turn, the new measures of the lines, the places of the word triples that
    they brought, and what they added to the field."""
    connection.executemany(
        """UPDATE dream_turns SET
            trauma_level = :trauma, pulse_novelty = :novelty, pulse_arousal = :arousal,
            pulse_entropy = :entropy, overlap = :overlap, quality = :quality
        WHERE dialog_id = :dialog_id AND turn = :turn""",
        [asdict(line) | {"dialog_id": dialog_id} for line in lines],
    )
    connection.executemany(
        "UPDATE dream_turns SET observed = ? WHERE dialog_id = ? AND turn = ?",
        [(answer, dialog_id, turn) for turn, answer in how.items()],
    )
    connection.executemany(
        "UPDATE dream_turns SET brought = ? WHERE dialog_id = ? AND turn = ?",
        [(msgspec.json.encode(places).decode(), dialog_id, turn) for turn, places in brought.items()],
    )
    connection.executemany(
        "UPDATE dream_turns SET added = ? WHERE dialog_id = ? AND turn = ?",
        [(data, dialog_id, turn) for turn, data in added.items()],
    )


def store_recalled(connection: Connection, dialog_id: int, texts: Sequence[str]) -> None:
    """Store what the client recalled for a dialogue."""
    kept = msgspec.json.encode(list(texts)).decode()
    connection.execute("UPDATE dream_dialogs SET recalled = ? WHERE id = ?", (kept, dialog_id))


def finish_dialog(connection: Connection, dialog_id: int, end: Finish, keep_texts: bool) -> None:
    """Store the end of a dialogue and the friend's change."""
    mark_observed(connection, dialog_id, end.observed, end.lines, added=end.added)
    if end.recalled is not None:
        store_recalled(connection, dialog_id, end.recalled)
    connection.execute(
        "UPDATE dream_dialogs SET note = ?, drift = ? WHERE id = ?", (end.ended_by, end.drift, dialog_id)
    )
    _close_dialog(connection, dialog_id, end.at, end.outcome, keep_texts)
    if end.change:
        _change_friend(connection, end.change, end.at, keep_texts)
    keep_signals(connection, end.signals, end.at)


def keep_decisions(
    connection: Connection, decisions: Sequence[Decision], counts: Mapping[tuple[str, str], int]
) -> None:
    """Store decisions, of which the last 256 stay, and how many there were by day and reason: of the last 400 days that
    had any, so that a clock that was wrong for a time deletes none."""
    connection.executemany(
        "INSERT INTO dream_decisions (decision) VALUES (?)",
        [(msgspec.json.encode(decision).decode(),) for decision in decisions],
    )
    connection.execute(
        "DELETE FROM dream_decisions WHERE id <= (SELECT max(id) FROM dream_decisions) - ?", (DECISIONS,)
    )
    connection.executemany(
        """INSERT INTO dream_decision_counts (day, reason, count) VALUES (?, ?, ?)
        ON CONFLICT (day, reason) DO UPDATE SET count = count + excluded.count""",
        [(day, reason, count) for (day, reason), count in counts.items()],
    )
    connection.execute(
        """DELETE FROM dream_decision_counts WHERE day NOT IN
        (SELECT DISTINCT day FROM dream_decision_counts ORDER BY day DESC LIMIT ?)""",
        (COUNTED_DAYS,),
    )


def keep_pause(connection: Connection, pause: Pause | None) -> None:
    """Store the pause of all dreams, or that there is none."""
    if pause is None:
        connection.execute("DELETE FROM dream_meta WHERE key = ?", (PAUSE,))
        return
    row = (PAUSE, msgspec.json.encode(pause).decode())
    connection.execute("INSERT OR REPLACE INTO dream_meta (key, value) VALUES (?, ?)", row)


def keep_signals(connection: Connection, signals: Mapping[str, bytes], at: float) -> None:
    """Store the signals among which the gates rank contexts, by client name. Only those of the last clients stay."""
    rows = [(client, at, recent) for client, recent in signals.items()]
    connection.executemany("INSERT OR REPLACE INTO dream_signals (client, at, recent) VALUES (?, ?, ?)", rows)
    connection.execute(
        """DELETE FROM dream_signals WHERE client NOT IN
        (SELECT client FROM dream_signals ORDER BY at DESC LIMIT ?)""",
        (ABSENT,),
    )


def _close_dialog(connection: Connection, dialog_id: int, at: float, outcome: str, keep_texts: bool) -> None:
    """Mark a running dialogue finished, with its averages from its rows."""
    closed = connection.execute(
        """UPDATE dream_dialogs SET finished_at = :at, outcome = :outcome, (avg_trauma, avg_arousal) =
            (SELECT avg(trauma_level), avg(pulse_arousal) FROM dream_turns WHERE dialog_id = :id)
        WHERE id = :id AND finished_at IS NULL RETURNING episodes_count, avg_trauma, avg_arousal""",
        {"id": dialog_id, "at": at, "outcome": outcome},
    ).fetchall()
    if not closed:
        raise StoreError(f"dialogue {dialog_id} is not running")
    [(lines, trauma, arousal)] = closed
    add_to_counter(connection, OUTCOME + outcome, 1)
    add_to_counter(connection, "dream_lines", lines)
    add_averages(connection, trauma, arousal)
    if not lines and not keep_texts:  # without lines there will be no shard
        empty_texts(connection, dialog_id)


def shard_written(connection: Connection, dialog_id: int, at: float, keep_texts: bool) -> None:
    """Note that the dialogue's inbox file is on disk. From now on only people need its texts."""
    connection.execute("UPDATE dream_dialogs SET shard_at = ? WHERE id = ?", (at, dialog_id))
    if not keep_texts:
        empty_texts(connection, dialog_id)


# The friend.


def _change_friend(connection: Connection, change: Change, at: float, keep_texts: bool) -> None:
    connection.executemany(
        "UPDATE dream_bootstrap_fragments SET weight = ? WHERE id = ?",
        [(weight, fragment_id) for fragment_id, weight in change.weights],
    )
    connection.executemany(
        """INSERT INTO dream_bootstrap_fragments (id, text, weight, origin, dialog_id, added_at)
        VALUES (:id, :text, :weight, :origin, :dialog, :added_at)""",
        [asdict(fragment) for fragment in change.added],
    )
    for fragment_id in change.left:
        retire_fragment(connection, fragment_id, at, keep_texts)


def retire_fragment(
    connection: Connection, fragment_id: int, at: float, keep_texts: bool, dropped: bool = False
) -> None:
    """Move a fragment out of the buffer. If texts are kept, a replay still finds it, and whether the user dropped it.
    If they are not, a dialogue that has not ended still finds it, which may go on."""
    if keep_texts or first_open(connection) is not None:
        connection.execute(
            """INSERT INTO dream_fragments_past (id, text, weight, origin, dialog_id, added_at, left_at, dropped)
            SELECT id, text, weight, origin, dialog_id, added_at, ?, ?
            FROM dream_bootstrap_fragments WHERE id = ?""",
            (at, dropped, fragment_id),
        )
    connection.execute("DELETE FROM dream_bootstrap_fragments WHERE id = ?", (fragment_id,))


# Counters, so that rows need never be counted.


def add_to_counter(connection: Connection, counter: str, amount: float) -> None:
    """Increase a counter in dream_meta. Its values are text, as leo writes them."""
    connection.execute(
        """INSERT INTO dream_meta (key, value) VALUES (:counter, :amount)
        ON CONFLICT (key) DO UPDATE SET value = value + :amount""",
        {"counter": counter, "amount": amount},
    )


def add_averages(connection: Connection, trauma: float | None, arousal: float | None) -> None:
    """Add a dialogue's averages to the totals, if it has any."""
    if trauma is not None and arousal is not None:
        add_to_counter(connection, "dream_measured", 1)
        add_to_counter(connection, "dream_sum_trauma", trauma)
        add_to_counter(connection, "dream_sum_arousal", arousal)


# Health.


def try_a_write(connection: Connection) -> None:
    """Write a few pages and commit them: a rolled back write would never reach the disk."""
    connection.execute(
        "INSERT OR REPLACE INTO dream_meta (key, value) VALUES ('dream_probe', zeroblob(?))", (PROBE_BYTES,)
    )


def forget_the_write(connection: Connection) -> None:
    """Delete what `try_a_write` wrote. If there is nothing to delete, this checks that writing is permitted, without a
    write."""
    connection.execute("DELETE FROM dream_meta WHERE key = 'dream_probe'")


def truncate_wal(connection: Connection) -> None:
    """Copy the -wal into the database and empty it, unless another process is reading it."""
    (patience_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        connection.execute(f"PRAGMA busy_timeout = {patience_ms}")
