"""Which dialogues may be taken back out of the field that they were fed to, and why others may not."""

from math import isfinite
from sqlite3 import Connection
from typing import Annotated, Final

from dreamclient.messages import PAGE, Code
from msgspec import Meta, Struct

from dreamd.errors import Refusal
from dreamd.store.tidying import ADDED_EMPTIED, number_of

WAITING: Final = "waiting"
UNDONE: Final = "done"

_LINES: Final = "(SELECT count(*) FROM dream_turns WHERE dialog_id = dream_dialogs.id AND {})"
_CANDIDATE: Final = ", ".join(
    (
        "SELECT id, trace_id, field, finished_at IS NOT NULL, undone",
        _LINES.format("observed = 'answered'"),
        _LINES.format("observed = 'answered' AND added IS NOT NULL"),
        _LINES.format("observed IN ('sent', 'failed') AND text <> ''"),
        _LINES.format("text <> ''"),
    )
)
_NAMED: Final = f"{_CANDIDATE} FROM dream_dialogs WHERE id = ?"
_SINCE: Final = (
    f"{_CANDIDATE} FROM dream_dialogs WHERE started_at >= ? AND undone IS NOT 'done'"
    f" ORDER BY started_at DESC LIMIT {PAGE}"
)


class Asked(Struct, forbid_unknown_fields=True):
    """A request to take back the dialogue `id`, or all that began at or after `since` (unix s)."""

    id: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)] | None = None
    since: float | None = None
    dry_run: bool = False  # only say which, and change nothing

    def __post_init__(self) -> None:
        if (self.id is None) == (self.since is None):
            raise ValueError("expected either id or since")
        if self.since is not None and not isfinite(self.since):
            raise ValueError("since must be a finite number")


class Candidate(Struct, frozen=True):
    """A dialogue that may be asked for, with the counts of its lines: those that were fed, those of which it is known
    what they added, those whose `observe` was never answered, and those whose text is kept. `old`: what it added was
    emptied, if it was kept."""

    id: int
    trace_id: str | None
    field: str | None
    has_ended: bool
    old: bool
    undone: str | None
    fed: int
    known: int
    unanswered: int
    texts: int

    @property
    def hindrance(self) -> str:
        """The reason why it cannot be taken back, in words that follow "dialogue 7", or an empty string."""
        if not self.has_ended or self.trace_id is None:
            return "was not dreamt here" if self.trace_id is None else "has not ended; take it back then"
        if self.undone == UNDONE:
            return "is taken back already"
        if self.undone == WAITING:  # of the lines that are done it is not kept any more what they added
            return ""
        if not self.fed and not self.unanswered:
            return "was not fed to leo, so there is nothing to take back"
        if self.field is None:
            return "was fed to a field without an id, so it is not known from where to take it back"
        if not self.known and not self.unanswered:
            return f"cannot be taken back: what it added to leo was not kept, {self._why_unkept}"
        return ""

    @property
    def _why_unkept(self) -> str:
        if not self.texts:
            return "since store.diagnostics was false"
        if self.old:
            return "since newer ones take its place (store.undo_dialogues)"
        return "since leo's client did not say it; upgrade dreamd-client where leo runs"


def candidates(connection: Connection, asked: Asked) -> list[Candidate]:
    """Return the dialogues that are asked for, newest first. Of all since a time those that are taken back already
    are left out. Raise Refusal if the named one does not exist."""
    found = _NAMED if asked.since is None else _SINCE
    rows = connection.execute(found, (asked.id if asked.since is None else asked.since,)).fetchall()
    if asked.since is None and not rows:
        raise Refusal(Code.NOT_FOUND, f"no dialogue {asked.id}; `dreamctl recent` lists them")
    emptied = number_of(connection, ADDED_EMPTIED)
    return [
        Candidate(number, trace_id, field, bool(ended), number <= emptied, *rest)
        for number, trace_id, field, ended, *rest in rows
    ]
