"""The state of each client by its `hello` name, which outlives its connections: cooldown, pause, a context to dream of.

Clients choose their names, so the number of names without a connection is bounded. Nothing here touches a disk or a
clock.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from math import inf

from msgspec import Struct, field

from dreamd.dream.model import Context
from dreamd.dream.signals import Signals

ABSENT = 64  # names of clients that are not connected: more leos than one user has

# Seconds. A client whose dialogues are empty is asked again after 30 s, then less and less often, at last hourly. A
# repaired one dreams again on the same evening.
MUTE_FIRST_S = 30.0
MUTE_MOST_S = 3600.0
KEPT_S = 86400.0  # a kept context is dropped after a day


class KeptContext(Struct):
    """A context that was not dreamt of, the draw that was made for it, and its time (monotonic s)."""

    ctx: Context
    drawn: float | None
    at_s: float


class ClientState(Struct):
    """The state of one name. `last_run_s` and `reserved` are unix seconds, which outlive a restart. All other times are
    monotonic."""

    last_run_s: float | None = None
    reserved: dict[int, float] = field(default_factory=dict)  # by dialogue: the start of its cooldown
    signals: Signals = field(default_factory=Signals)  # of its last contexts
    sessions: int = 0
    running: set[int] = field(default_factory=set)  # dialogues whose client is connected
    lost: int = 0  # dialogues in a row whose client was lost before a line, including a redelivered context
    _kept: KeptContext | None = None
    _pause_s: float = 0.0
    _muted_until_s: float = -inf

    # cooldown

    def cooldown_left_s(self, now_s: float, interval_s: float) -> float:
        """Return the rest of the cooldown. A clock that jumped back never blocks for longer than one interval."""
        if self.last_run_s is not None and not self.last_run_s <= now_s:
            self.last_run_s = now_s
        for dialog, at_s in self.reserved.items():
            self.reserved[dialog] = min(at_s, now_s)
        starts_s = list(self.reserved.values())
        if self.last_run_s is not None:
            starts_s.append(self.last_run_s)
        return max(0.0, interval_s - (now_s - max(starts_s))) if starts_s else 0.0

    def begin(self, dialog: int, at_s: float) -> None:
        """Reserve the cooldown for a dialogue that starts."""
        self.reserved[dialog] = at_s
        self.running.add(dialog)

    def end(self, dialog: int, *, keep: bool = False) -> None:
        """Note that a dialogue no longer runs. Release its reserved cooldown unless it is to go on. The cooldown that
        its first line started stays."""
        self.running.discard(dialog)
        if not keep:
            self.reserved.pop(dialog, None)

    # the pause of a client whose dialogues come back empty

    def came_back(self, spoke: bool, now_s: float) -> None:
        """Note the end of a dialogue: if it spoke, the pause ends, and if not, it doubles."""
        if spoke:
            self._pause_s, self._muted_until_s = 0.0, -inf
        else:
            self._pause_s = min(MUTE_MOST_S, max(MUTE_FIRST_S, 2 * self._pause_s))
            self._muted_until_s = now_s + self._pause_s

    def mute_left_s(self, now_s: float) -> float:
        """Return the rest of the pause."""
        return max(0.0, self._muted_until_s - now_s)

    # a context for later

    def keep(self, ctx: Context, drawn: float | None, now_s: float) -> None:
        """Keep a context until a client of this name can dream of it. It replaces an older one."""
        self._kept = KeptContext(ctx, drawn, now_s)

    def take(self, now_s: float) -> KeptContext | None:
        """Return the kept context and forget it, so that it is delivered once."""
        kept, self._kept = self._kept, None
        return kept if kept is not None and now_s - kept.at_s < KEPT_S else None


class Clients:
    """The states of all clients by name. A name with a session or a running dialogue stays, of the others the last
    ABSENT.

    Names that have dreamt go last. `forgotten`: those that have gone, until the store has deleted their rows.
    """

    def __init__(self) -> None:
        self._named: dict[str, ClientState] = {}  # in the order of their last use
        self.forgotten: list[str] = []

    def __getitem__(self, name: str) -> ClientState:
        """Return the state of a name, a new one if it is unknown."""
        named = self._named.get(name)
        if named is None:
            named = self._named[name] = ClientState()
        return named

    def load(
        self, last_run_s: Mapping[str, float], signals: Mapping[str, Mapping[str, Sequence[float]]]
    ) -> None:
        """Load the stored times of dreams and signals. If there are too many names, the last ones stay."""
        for name, kept in signals.items():
            self[name].signals.load(kept)
        for name, at_s in sorted(last_run_s.items(), key=lambda item: item[1]):
            self[name].last_run_s = at_s
        self._bound()

    def join(self, name: str) -> None:
        """Count one more session of this name."""
        self[name].sessions += 1

    def leave(self, name: str) -> None:
        """Count one session of this name less."""
        self[name].sessions -= 1
        self._put_last(name)

    def end(self, name: str, dialog: int, *, keep: bool = False) -> None:
        """Note that a dialogue of this name has ended, or with `keep` that it is to go on, which keeps its cooldown."""
        self[name].end(dialog, keep=keep)
        self._put_last(name)

    def charged(self, name: str, at_s: float, forgotten: Collection[str]) -> None:
        """Start the cooldown of a client that has spoken, after the store has. The rows of `forgotten` are deleted."""
        self[name].last_run_s = at_s
        gone = {name, *forgotten}
        self.forgotten = [other for other in self.forgotten if other not in gone]

    def changed(self) -> Iterator[tuple[str, Signals]]:
        """Yield the signals that changed since they were stored, by name."""
        for name, named in self._named.items():
            if named.signals.changed:
                yield name, named.signals

    def _put_last(self, name: str) -> None:
        named = self._named.pop(name)
        self._named[name] = named
        self._bound()

    def _bound(self) -> None:
        absent = [
            (named.last_run_s is not None, name)
            for name, named in self._named.items()
            if not (named.sessions or named.reserved)
        ]
        absent.sort(key=lambda found: found[0])  # stable: within each group the order of leaving stays
        for dreamt, name in absent[: max(0, len(absent) - ABSENT)]:
            if dreamt:
                self.forgotten.append(name)
            del self._named[name]
