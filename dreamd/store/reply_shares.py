"""What is kept of leo's replies: counts by day, how much each dialogue speaks in them, numbers of their word triples.

No text of a reply is kept. The number of a triple is a hash with a key of this database.
"""

from collections.abc import Collection
from sqlite3 import Connection
from typing import Any, Final

import msgspec

from dreamd.dream.dream_words import SAID, BroughtLine, WordNumbers
from dreamd.errors import Unreadable
from dreamd.store.records import ReplyShare, decode_column

WORDS_KEY: Final = "dream_words_key"
PAGE_LINES: Final = 512
SPEAKERS: Final = 10  # dialogues that speak most, of `stats`
DAYS: Final = 30  # whose counts `stats` has

TABLES: Final = (
    # The places of the word triples that a line brought, JSON; nil: not known. dream/dream_words.py says what it means.
    "ALTER TABLE dream_turns ADD COLUMN brought TEXT",
    # How many triples of replies a dialogue brought.
    "ALTER TABLE dream_dialogs ADD COLUMN spoken INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX dream_dialogs_spoken ON dream_dialogs (spoken) WHERE spoken > 0",
    """CREATE TABLE dream_reply_counts (
        day TEXT PRIMARY KEY, replies INTEGER NOT NULL, triples INTEGER NOT NULL, from_dreams INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # Numbers of the triples of the last replies, oldest first: 64 bits each.
    "CREATE TABLE dream_said (id INTEGER PRIMARY KEY, field TEXT NOT NULL, triples BLOB NOT NULL)",
    f"INSERT OR IGNORE INTO dream_meta VALUES ('{WORDS_KEY}', hex(randomblob(16)))",  # noqa: S608 - a constant
)

_LINES: Final = """SELECT dialog_id, coalesce(field, client, ''), CAST(text AS BLOB), brought
    FROM dream_turns JOIN dream_dialogs ON dream_dialogs.id = dialog_id
    WHERE dream_turns.id > ? AND dream_turns.id <= ? AND observed = 'answered' AND text <> ''
    ORDER BY dream_turns.id DESC"""


def words_key(connection: Connection) -> bytes:
    """Return the key of the numbers of words."""
    found = connection.execute("SELECT value FROM dream_meta WHERE key = ?", (WORDS_KEY,)).fetchone()
    return str(found[0] if found else "").encode()[:64]


def brought_lines(connection: Connection, numbers: WordNumbers, last: int) -> list[BroughtLine]:
    """Return the lines that fields took, among PAGE_LINES up to this id, newest first."""
    found = connection.execute(_LINES, (last - PAGE_LINES, last))
    return [
        BroughtLine(dialog, field, numbers.triples_of(text.decode(errors="replace")), _places(brought))
        for dialog, field, text, brought in found
    ]


def _places(brought: str | None) -> list[int] | None:
    try:
        return None if brought is None else decode_column("brought", brought, list[int])
    except Unreadable:
        return None


def last_line(connection: Connection) -> int:
    """Return the id of the last line, 0 if there is none."""
    (found,) = connection.execute("SELECT max(id) FROM dream_turns").fetchone()
    return found or 0


def said_triples(connection: Connection) -> list[tuple[str, bytes]]:
    """Return the triples of the last replies by field, oldest first, without what is no such row."""
    return connection.execute(
        "SELECT field, triples FROM dream_said WHERE typeof(triples) = 'blob' ORDER BY id"
    ).fetchall()


def keep_share(connection: Connection, share: ReplyShare, keep_said: bool) -> None:
    """Store what was counted since the last time."""
    connection.executemany(
        """INSERT INTO dream_reply_counts (day, replies, triples, from_dreams) VALUES (?, ?, ?, ?)
        ON CONFLICT (day) DO UPDATE SET replies = replies + excluded.replies,
            triples = triples + excluded.triples, from_dreams = from_dreams + excluded.from_dreams""",
        [(day, *counts) for day, counts in share.days.items()],
    )
    connection.executemany(
        "UPDATE dream_dialogs SET spoken = spoken + ? WHERE id = ?",
        [(triples, dialog) for dialog, triples in share.spoken.items()],
    )
    if keep_said:
        connection.executemany("INSERT INTO dream_said (field, triples) VALUES (?, ?)", share.said)
        connection.execute(
            """DELETE FROM dream_said WHERE id <= (SELECT max(id) FROM (
                SELECT id, sum(length(triples)) OVER (ORDER BY id DESC) AS bytes FROM dream_said
            ) WHERE bytes > ?)""",
            (8 * SAID,),
        )


def take_back_words(connection: Connection, dialogs: Collection[int]) -> None:
    """Note that these dialogues brought nothing, because what they fed was taken out of the field."""
    connection.execute(
        "UPDATE dream_turns SET brought = '[]' WHERE dialog_id IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(list(dialogs)).decode(),),
    )


def reply_stats(connection: Connection) -> dict[str, Any]:
    """Return {replies: sums over all replies, reply_days: those of the last days, speakers: the dialogues that speak
    most in replies, as {dialog, triples}}."""
    sums = connection.execute(
        "SELECT total(replies), total(triples), total(from_dreams) FROM dream_reply_counts"
    ).fetchone()
    days = connection.execute(
        "SELECT day, replies, triples, from_dreams FROM dream_reply_counts ORDER BY day DESC LIMIT ?", (DAYS,)
    ).fetchall()
    speakers = connection.execute(
        """SELECT id, spoken FROM dream_dialogs INDEXED BY dream_dialogs_spoken WHERE spoken > 0
        ORDER BY spoken DESC LIMIT ?""",
        (SPEAKERS,),
    )
    return {
        "replies": _counts(map(int, sums)),
        "reply_days": {day: _counts(counts) for day, *counts in reversed(days)},
        "speakers": [{"dialog": dialog, "triples": spoken} for dialog, spoken in speakers],
    }


def _counts(counts: Any) -> dict[str, int]:
    return dict(zip(("replies", "triples", "from_dreams"), counts, strict=True))
