"""The signals of the last contexts of one client, each value ranked among those before it.

A high value for one leo may be a low one for another: on the real leo trauma is 0.93 to 1.00 after every reply. So the
gates compare a value with the last ones of its own client. Nothing here touches a disk or a clock.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from dreamd.dream.model import Context

RANKED = 256  # values of a signal
ENOUGH = 30  # values: with fewer, a rank means little
# Values do not vary if the middle 80 % of them lie within this range: a rank among them would be noise.
VARIES = 0.1

# overlap: of prompt and reply with the origin. measured: the quality of the reply as the host measured it.
Signal = Literal["trauma", "novelty", "quality", "overlap", "measured"]
SIGNALS: tuple[Signal, ...] = ("trauma", "novelty", "quality", "overlap", "measured")
# The signals that replace one that does not vary.
IN_PLACE_OF: Mapping[Signal, Signal] = {"trauma": "overlap", "quality": "measured"}


class Recent:
    """The last RANKED values, in their order of arrival and sorted."""

    def __init__(self, values: Sequence[float] = ()) -> None:
        self._came = array("d", values[-RANKED:])
        self._sorted = array("d", sorted(self._came))
        self.varies = self._spreads()  # the middle 80 % of the values are spread wider than noise

    def __len__(self) -> int:
        return len(self._came)

    def add(self, value: float) -> None:
        """Add a value, and drop the oldest if there are too many."""
        if len(self._came) == RANKED:
            del self._sorted[bisect_left(self._sorted, self._came.pop(0))]
        self._came.append(value)
        insort(self._sorted, value)
        self.varies = self._spreads()

    def beside(self, value: float) -> tuple[int, int]:
        """Return the numbers of smaller and of larger values."""
        return bisect_left(self._sorted, value), len(self._sorted) - bisect_right(self._sorted, value)

    def rank(self, value: float) -> float:
        """Return the share of smaller values, in [0, 1]. Equal values share their middle rank."""
        below, above = self.beside(value)
        return 0.5 * (1 + (below - above) / max(1, len(self)))

    @property
    def enough(self) -> bool:
        """True if there are enough values for a meaningful rank."""
        return len(self._came) >= ENOUGH

    def _spreads(self) -> bool:
        if not self._sorted:
            return False
        outside = len(self._sorted) // 10
        return self._sorted[-1 - outside] - self._sorted[outside] > VARIES

    def values(self) -> list[float]:
        """Return the values in their order of arrival."""
        return self._came.tolist()


class Place(Struct, kw_only=True, omit_defaults=True):
    """The place of a value: of the `among` others `below` are smaller, and `above` are larger."""

    signal: Signal  # the one that was ranked
    value: float
    below: int
    above: int
    among: int
    varies: bool = True  # False if no signal that replaces it varies either
    open: bool = False  # it calls for a dream

    @property
    def rank(self) -> float:
        """The share of smaller values, in [0, 1]. Equal values share their middle rank."""
        return 0.5 * (1 + (self.below - self.above) / (self.among + 1))


class Signals:
    """The signals of one client's last contexts."""

    def __init__(self) -> None:
        self.recent: dict[Signal, Recent] = {name: Recent() for name in SIGNALS}
        self.changed = False  # since they were stored

    def load(self, kept: Mapping[str, Sequence[float]]) -> None:
        """Load the stored values. Values that came meanwhile are newer."""
        for name, recent in self.recent.items():
            self.recent[name] = Recent([*kept.get(name, ()), *recent.values()])

    def add(self, ctx: Context, overlap: Callable[[], float]) -> None:
        """Add the signals of a context. `overlap` is called only if trauma has too few values or does not vary."""
        self.changed = True
        if ctx.trauma_level is not None:
            trauma = self.recent["trauma"]
            trauma.add(ctx.trauma_level)
            if not (trauma.enough and trauma.varies):
                self.recent["overlap"].add(overlap())
        for name in ("novelty", "quality", "measured"):
            value = signal_of(ctx, name)
            if value is not None:
                self.recent[name].add(value)

    def place(self, ctx: Context, name: Signal, overlap: Callable[[], float]) -> Place | None:
        """Return the place of a context's signal among the last ones, or of the one that replaces it. Return None if
        the context lacks it, or if there are too few values."""
        value, recent = signal_of(ctx, name), self.recent[name]
        if value is None or not recent.enough:
            return None
        if not recent.varies and (other := IN_PLACE_OF.get(name)) is not None:
            others = self.recent[other]
            if others.enough and others.varies:
                instead = overlap() if other == "overlap" else signal_of(ctx, other)
                if instead is not None:
                    name, value, recent = other, instead, others
        below, above = recent.beside(value)
        among = len(recent) - 1  # without the context itself
        return Place(signal=name, value=value, below=below, above=above, among=among, varies=recent.varies)

    def take(self) -> bytes:
        """Return the values by signal as MessagePack for the store, and mark them as unchanged."""
        self.changed = False
        return msgspec.msgpack.encode({name: recent.values() for name, recent in self.recent.items()})


def signal_of(ctx: Context, name: Signal) -> float | None:
    """Return a signal of a context, None if the context lacks it."""
    if name == "trauma":
        return ctx.trauma_level
    if name == "novelty":
        return None if ctx.pulse is None else ctx.pulse.novelty
    if name == "quality":
        return ctx.quality
    measured = ctx.math_state.get("quality") if ctx.math_state else None
    return None if measured is None else min(1.0, max(0.0, float(measured)))
