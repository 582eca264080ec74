"""What is kept of each client by its `hello` name, beyond its connections: cooldown, pause, a context to dream of.

Clients make names up, so the names of clients that are not connected are bounded. Nothing here touches a disk or
a clock.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from dreamd.dream.model import Context
from dreamd.dream.signals import Signals

ABSENT = 64  # names of clients that are not connected: more leos than one user has

# Seconds. A client whose hooks give nothing is asked again after 30 s, then ever less often, at last hourly: one
# that is repaired dreams again the same evening.
MUTE_FIRST_S = 30.0
MUTE_MOST_S = 3600.0
KEPT_S = 86400.0  # a context is dreamt of within a day, or not at all


@dataclass
class KeptContext:
    """A context that was not dreamt of, the draw that was made for it, and when it came (monotonic s)."""

    ctx: Context
    drawn: float | None
    at_s: float


@dataclass
class ClientState:
    """One name. `last_run_s` and `reserved` are unix seconds, which outlive a restart; all others are monotonic."""

    last_run_s: float | None = None
    reserved: dict[int, float] = field(default_factory=dict)  # by dialogue: the cooldown that it holds
    signals: Signals = field(default_factory=Signals)  # of its last contexts
    sessions: int = 0
    running: set[int] = field(default_factory=set)  # dialogues whose client is connected
    lost: int = (
        0  # dialogues in a row that lost their client before a line; a redelivered context counts, too
    )
    _kept: KeptContext | None = None
    _pause_s: float = 0.0
    _muted_until_s: float = -inf

    # cooldown

    def cooldown_left_s(self, now_s: float, interval_s: float) -> float:
        """Return what is left of the interval. A clock that jumped back never blocks longer than one interval."""
        if self.last_run_s is not None and not self.last_run_s <= now_s:
            self.last_run_s = now_s
        for dialog, at_s in self.reserved.items():
            self.reserved[dialog] = min(at_s, now_s)
        last_s = max(
            (at for at in (self.last_run_s, *self.reserved.values()) if at is not None), default=-inf
        )
        return max(0.0, interval_s - (now_s - last_s))

    def begin(self, dialog: int, at_s: float) -> None:
        """Reserve the cooldown for a dialogue that starts."""
        self.reserved[dialog] = at_s
        self.running.add(dialog)

    def end(self, dialog: int, *, keep: bool = False) -> None:
        """Note that a dialogue does not run any more. Give back what it reserved, unless it is to go on; what it was
        charged for its first line stays."""
        self.running.discard(dialog)
        if not keep:
            self.reserved.pop(dialog, None)

    # the pause of a client whose dialogues come back empty

    def came_back(self, spoke: bool, now_s: float) -> None:
        """Note how a dialogue ended: one that spoke ends the pause, an empty one doubles it."""
        if spoke:
            self._pause_s, self._muted_until_s = 0.0, -inf
        else:
            self._pause_s = min(MUTE_MOST_S, max(MUTE_FIRST_S, 2 * self._pause_s))
            self._muted_until_s = now_s + self._pause_s

    def mute_left_s(self, now_s: float) -> float:
        """Return what is left of the pause."""
        return max(0.0, self._muted_until_s - now_s)

    # a context for later

    def keep(self, ctx: Context, drawn: float | None, now_s: float) -> None:
        """Keep a context until a client of this name can dream of it. It takes the place of an older one."""
        self._kept = KeptContext(ctx, drawn, now_s)

    def take(self, now_s: float) -> KeptContext | None:
        """Return the kept context and forget it: it is delivered once."""
        kept, self._kept = self._kept, None
        return kept if kept is not None and now_s - kept.at_s < KEPT_S else None


class Clients:
    """Names by name. A name that has a session or a running dialogue stays; of the others, ABSENT stay.

    One that has dreamt leaves only for another that has dreamt. `forgotten` holds those until the store has deleted
    their rows.
    """

    def __init__(self) -> None:
        self._named: dict[str, ClientState] = {}  # in the order in which they were last in use
        self.forgotten: list[str] = []

    def __getitem__(self, name: str) -> ClientState:
        """Return what is kept of a name: nothing, for a new one."""
        named = self._named.get(name)
        if named is None:
            named = self._named[name] = ClientState()
        return named

    def load(
        self, last_run_s: Mapping[str, float], signals: Mapping[str, Mapping[str, Sequence[float]]]
    ) -> None:
        """Take what the store holds of past dreams and contexts. Of too many, the last ones stay."""
        for name, kept in signals.items():
            self[name].signals.load(kept)
        for name, at_s in sorted(last_run_s.items(), key=lambda item: item[1]):
            self[name].last_run_s = at_s
        self._bound()

    def join(self, name: str) -> None:
        """Count one more session of this name."""
        self[name].sessions += 1

    def leave(self, name: str) -> None:
        """Count one session less."""
        self[name].sessions -= 1
        self._put_last(name)

    def end(self, name: str, dialog: int, *, keep: bool = False) -> None:
        """Note that a dialogue of this name has ended; or that it is to go on, which keeps its cooldown."""
        self[name].end(dialog, keep=keep)
        self._put_last(name)

    def charged(self, name: str, at_s: float, forgotten: Collection[str]) -> None:
        """Start the cooldown of a client that has spoken, as the store has; the rows of `forgotten` are deleted."""
        self[name].last_run_s = at_s
        gone = {name, *forgotten}
        self.forgotten = [other for other in self.forgotten if other not in gone]

    def changed(self) -> Iterator[tuple[str, Signals]]:
        """Yield the signals that came since they were kept, by name."""
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
        absent.sort(key=lambda found: found[0])  # in each half the order of leaving stays
        for dreamt, name in absent[: max(0, len(absent) - ABSENT)]:
            if dreamt:
                self.forgotten.append(name)
            del self._named[name]
