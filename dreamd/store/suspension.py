"""Dialogues that have not ended: suspended until their client is back, or interrupted by a crash."""

from sqlite3 import Connection
from typing import Any, Final

import msgspec

from dreamd.dream.outcomes import SUSPENDED
from dreamd.dream.replay import Script
from dreamd.errors import StoreError
from dreamd.store.reads import load_script
from dreamd.store.records import OpenDialog

_OPEN: Final = f"""
    SELECT dream_dialogs.id, trace_id, client, field, version, started_at, interruptions, interrupted_in,
        fed, outcome IS '{SUSPENDED}' AS suspended, turn, observed
    FROM dream_dialogs INDEXED BY dream_dialogs_open LEFT JOIN dream_turns
        ON dialog_id = dream_dialogs.id AND turn = episodes_count
    WHERE finished_at IS NULL AND trace_id IS NOT NULL ORDER BY dream_dialogs.id
"""  # noqa: S608 - a constant


def open_dialogs(connection: Connection) -> list[OpenDialog]:
    """Return the dialogues that have not ended, by id."""
    return [_open_dialog(*row) for row in connection.execute(_OPEN)]


def _open_dialog(*row: Any) -> OpenDialog:
    """Return an open dialogue. If its row holds what another program wrote and nothing can read, it does not go on:
    it began long ago."""
    *columns, fed, suspended, turn, observed = row
    try:
        at = f"observe {turn}" if observed == "sent" else f"generate {(turn or 0) + 1}"
        values = zip(OpenDialog.__struct_fields__, [*columns, bool(fed), bool(suspended), at], strict=True)
        return msgspec.convert(dict(values), OpenDialog)
    except (msgspec.ValidationError, TypeError):
        number, trace_id, *_ = columns
        return OpenDialog(
            id=number, trace_id=str(trace_id), client="", field=None, version=None, started_at=0.0
        )


def suspend_dialog(connection: Connection, dialog_id: int, interrupted_in: str) -> None:
    """Mark a dialogue as suspended. A line that was sent to `observe` is never sent again, so it counts as failed."""
    connection.execute(
        """UPDATE dream_dialogs SET outcome = ?, interruptions = interruptions + 1, interrupted_in = ?
        WHERE id = ? AND finished_at IS NULL""",
        (SUSPENDED, interrupted_in, dialog_id),
    )
    connection.execute(
        "UPDATE dream_turns SET observed = 'failed' WHERE dialog_id = ? AND observed = 'sent'", (dialog_id,)
    )


def resume_dialog(connection: Connection, dialog_id: int, session: int) -> Script | None:
    """Mark a suspended dialogue as running, and return its record so far, None if that was not kept. Raise Unreadable,
    or StoreError if it is not suspended."""
    found = load_script(connection, dialog_id)
    resumed = connection.execute(
        "UPDATE dream_dialogs SET outcome = NULL, session = ? WHERE id = ? AND outcome = ?",
        (session, dialog_id, SUSPENDED),
    )
    if resumed.rowcount == 0:
        raise StoreError(f"dialogue {dialog_id} is not suspended")
    return found
