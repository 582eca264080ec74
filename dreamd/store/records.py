"""What goes into the store and comes out of it. Times are unix seconds; maps are ready for the wire."""

from typing import Any, Literal

from msgspec import Struct

from dreamd.dream.friend import Change
from dreamd.dream.model import Fragment, Line

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
    field: str | None = None  # that the client feeds
    version: str = ""  # of dreamd


class OpenDialog(Struct, frozen=True, kw_only=True):
    """A dialogue that has not ended: it runs, is suspended, or was cut short with the daemon."""

    id: int
    trace_id: str
    client: str
    field: str | None
    version: str | None
    started_at: float
    interruptions: int = 0
    interrupted_in: str | None = None  # the last time: the hook and the turn, as "generate 2"
    suspended: bool = False
    at: str = ""  # where a daemon that died had got to: the hook and the turn


class Charge(Struct, frozen=True):
    """A client that has dreamt `at`, by name, and the names whose time is not kept any more."""

    client: str
    at: float
    forget: tuple[str, ...] = ()


class Finish(Struct, frozen=True, kw_only=True):
    """How a dialogue ended."""

    at: float
    outcome: str  # a word of dialogue.OUTCOMES
    ended_by: str | None = None  # what ended it early, by type and place; shown as the dialogue's note
    lines: list[Line] = []  # with their final measures
    observed: dict[int, Observed] = {}  # by turn; a turn that is missing stays "sent"
    recalled: list[str] | None = None  # None: as it was stored
    change: Change | None = None
    drift: float | None = None
    signals: dict[str, bytes] = {}  # by client name, as `dream_signals` has them


class Memory(Struct, frozen=True, kw_only=True):
    """What the engine holds in memory between two dialogues."""

    fragments: list[Fragment]
    next_fragment_id: int
    next_dialog: int
    last_run: dict[str, float]  # by client name
    signals: dict[str, dict[str, list[float]]]  # by client name and signal
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
