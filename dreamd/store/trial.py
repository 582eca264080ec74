"""The replies that were compared in the trial of dreaming: figures alone, no text."""

from collections.abc import Sequence
from sqlite3 import Connection

from msgspec.structs import asdict

from dreamd.dream.trial import ComparedReply

KEPT = 10_000  # compared replies: years of a leo who talks daily, and under 1 MB

_COLUMNS = ComparedReply.__struct_fields__


def keep_trial(connection: Connection, replies: Sequence[ComparedReply]) -> None:
    """Store compared replies. The newest KEPT stay."""
    connection.executemany(
        f"INSERT INTO dream_trial ({', '.join(_COLUMNS)})"  # noqa: S608 - the names of the struct's own fields
        f" VALUES ({', '.join(f':{name}' for name in _COLUMNS)})",
        [asdict(reply) for reply in replies],
    )
    connection.execute("DELETE FROM dream_trial WHERE id <= (SELECT max(id) FROM dream_trial) - ?", (KEPT,))


def compared_replies(connection: Connection) -> list[ComparedReply]:
    """Return the compared replies, oldest first."""
    rows = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM dream_trial ORDER BY id")  # noqa: S608 - as above
    return [
        ComparedReply(**dict(zip(_COLUMNS, (*row[:3], bool(row[3]), bool(row[4]), *row[5:]), strict=True)))
        for row in rows
    ]


def compared_clients(connection: Connection) -> dict[str, int]:
    """Return how many replies of each client were compared, the most first."""
    found = connection.execute("SELECT client, count(*) FROM dream_trial GROUP BY client ORDER BY 2 DESC, 1")
    return dict(found.fetchall())
