"""The records that go into the store and come out of it, and how their columns are read. Times are unix seconds. Maps
are ready for the wire."""

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dreamd.dream.friend import Change
from dreamd.dream.model import Fragment, Line
from dreamd.errors import Unreadable

T = TypeVar("T")

Observed = Literal["answered", "refused", "failed"]  # "refused": the host kept the line out of its field


class NewDialog(Struct, frozen=True, kw_only=True):
    """A dialogue about to start, with all that a replay needs."""

    id: int | None = None  # the announced id; None for the next free one
    trace_id: str
    session: int
    client: str
    started_at: float
    rng_seed: int
    context: bytes  # JSON
    settings: bytes  # JSON
    friend_state: bytes  # ids and weights of the friend's fragments, packed by the engine
    field: str | None = None  # the field that the client feeds
    version: str = ""  # version of dreamd
    fed: bool = True  # whether dialogue.feed is on


class OpenDialog(Struct, frozen=True, kw_only=True):
    """A dialogue that has not ended: it runs, is suspended, or was interrupted by the daemon's crash."""

    id: int
    trace_id: str
    client: str
    field: str | None
    version: str | None
    started_at: float
    interruptions: int = 0
    interrupted_in: str | None = None  # the hook and the turn of the last interruption, such as "generate 2"
    fed: bool = True  # as dialogue.feed was when it began
    suspended: bool = False
    at: str = ""  # the hook and the turn at which a daemon crashed

    def interrupted(self, where: str) -> "OpenDialog":
        """Return it as it is stored after `Store.suspend`."""
        return replace(self, interruptions=self.interruptions + 1, interrupted_in=where, suspended=True)


class Charge(Struct, frozen=True):
    """A client that has dreamt `at`, by name, and the names whose time is no longer kept."""

    client: str
    at: float
    forget: tuple[str, ...] = ()


class Pause(Struct, frozen=True, array_like=True):
    """A pause of all dreams, in unix seconds. `until` is None if it lasts until it is ended."""

    at: float
    until: float | None


class Finish(Struct, frozen=True, kw_only=True):
    """The end of a dialogue."""

    at: float
    outcome: str  # a word of outcomes.OUTCOMES
    ended_by: str | None = None  # type and place of what ended it early, shown as the dialogue's note
    lines: list[Line] = []  # with their final measures
    observed: dict[int, Observed] = {}  # by turn; a missing turn stays "sent"
    added: dict[int, bytes] = {}  # by turn: what the line added to the field, MessagePack
    recalled: list[str] | None = None  # None: unchanged
    fed: bool = True  # False: the friend learns nothing from the lines
    change: Change | None = None
    drift: float | None = None
    signals: dict[str, bytes] = {}  # by client name, as `dream_signals` has them


class Memory(Struct, frozen=True, kw_only=True):
    """The state that the engine holds in memory between two dialogues."""

    fragments: list[Fragment]
    next_fragment_id: int
    next_dialog: int
    last_run: dict[str, float]  # by client name
    signals: dict[str, dict[str, list[float]]]  # by client name and signal
    outcomes: dict[str, int]  # finished dialogues by outcome
    dialogs: int  # finished dialogues
    lines: int  # lines of finished dialogues
    dropped: int = 0  # inbox files that were removed to make room
    pause: Pause | None = None


class ReplyShare(Struct, frozen=True, kw_only=True):
    """What was counted of replies since the last time."""

    days: dict[str, tuple[int, int, int]]  # by day (UTC): replies, their word triples, those from dreams
    spoken: dict[int, int]  # by dialogue: the triples that it brought
    said: list[tuple[str, bytes]]  # by field: the numbers of the triples


class StoredDialog(Struct, frozen=True, kw_only=True):
    """A dialogue whose shard is not written yet. `turns` as in `Store.get`."""

    id: int
    trace_id: str
    client: str
    started_at: float
    finished_at: float
    outcome: str
    turns: list[dict[str, Any]]


def decode_column(
    column: str, data: Any, shape: type[T], decode: Callable[..., T] = msgspec.json.decode
) -> T:
    """Decode the value of a column. Raise Unreadable, which names the column."""
    try:
        return decode(data, type=shape)
    except (ValueError, TypeError, RecursionError):  # DecodeError and UnicodeDecodeError are ValueErrors
        raise Unreadable(f"the stored {column} cannot be read") from None


def decode_state(state: Any) -> list[tuple[int, float]]:
    """Decode a friend_state: the ids and weights of a friend's fragments. Raise Unreadable."""
    return decode_column("friend_state", state, list[tuple[int, float]], msgspec.msgpack.decode)
