"""What goes into the store and comes out of it. Times are unix seconds; maps are ready for the wire."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from dreamd.dream.friend import Change
from dreamd.dream.shapes import Fragment, Line

Observed = Literal["answered", "refused", "failed"]  # refused: the host kept the line out of its field


class NewDialog(Struct, frozen=True, kw_only=True):
    """A dialogue about to start, with all that `replay` needs to repeat it."""

    id: int | None = None  # as announced; None: the next one
    trace_id: str
    session: int
    client: str
    started_at: float
    rng_seed: int
    context: bytes  # JSON
    settings: bytes  # JSON
    friend_state: bytes  # ids and weights of the friend's fragments, packed by the engine


class Finish(Struct, frozen=True, kw_only=True):
    """How a dialogue ended."""

    at: float
    outcome: str  # a word of dialogue.OUTCOMES
    ended_by: str | None = None  # what ended it early, by type and place; shown as the dialogue's note
    lines: list[Line] = []  # with their final measures
    observed: dict[int, Observed] = {}  # by turn; a turn that is missing stays "sent"
    recalled: list[str] = []
    change: Change | None = None
    drift: float | None = None


class Memory(Struct, frozen=True, kw_only=True):
    """What the engine holds in memory between two dialogues."""

    fragments: list[Fragment]
    next_fragment_id: int
    next_dialog: int
    last_run: dict[str, float]  # by client name
    outcomes: dict[str, int]  # finished dialogues by outcome
    dialogs: int  # finished dialogues
    lines: int  # lines of finished dialogues


class StoredDialog(Struct, frozen=True, kw_only=True):
    """A dialogue whose shard is still to be written; `turns` as in `Store.get`."""

    id: int
    trace_id: str
    client: str
    started_at: float
    finished_at: float
    outcome: str
    turns: list[dict[str, Any]]


# leo's own dreams, row by row, with his columns in their order. A number of his is one that can be added up, a time
# one that a calendar can show, and an integer one that SQLite can hold.
Number = Annotated[float, Meta(ge=-1e12, le=1e12)]
Integer = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
LeosMeta = tuple[str, str | None]  # key, value
LeosFragment = tuple[Integer, str, Annotated[float, Meta(gt=0, le=1)]]  # id, text, weight
LeosDialog = tuple[  # id, started_at, finished_at, episodes_count, avg_trauma, avg_arousal, note
    Integer, Number, Number | None, Integer | None, Number | None, Number | None, str | None
]
LeosTurn = tuple[  # id, dialog_id, speaker, text, trauma_level, pulse_novelty, pulse_arousal, pulse_entropy
    Integer, Integer | None, str, str, Number | None, Number | None, Number | None, Number | None
]


class LeosTables(Struct, frozen=True, kw_only=True):
    """Rows of the four tables that leo's own dream.py kept; a dialogue comes with all of its turns."""

    meta: list[LeosMeta] = []
    fragments: list[LeosFragment] = []
    dialogs: list[LeosDialog] = []
    turns: list[LeosTurn] = []
