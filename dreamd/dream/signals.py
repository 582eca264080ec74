"""What the contexts of one client told of late, each value ranked among those before it.

What is much for one leo is nothing for another: on the real one trauma is 0.93 to 1.00 after every reply. So the gates
ask how a value compares with the last ones of its own client. Nothing here touches a disk or a clock.
"""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct

from dreamd.dream.model import Context

RANKED = 256  # values of a signal
ENOUGH = 30  # values, below which a rank says little
# Values do not vary if all of them, but for a tenth on each side, lie within so much: what decides there is noise.
VARIES = 0.1

# `overlap` is that of prompt and reply with the origin, `measured` the quality of the reply as the host measured it.
Signal = Literal["trauma", "novelty", "quality", "overlap", "measured"]
SIGNALS: tuple[Signal, ...] = ("trauma", "novelty", "quality", "overlap", "measured")
# What is ranked in the place of a signal that does not vary.
IN_PLACE_OF: Mapping[Signal, Signal] = {"trauma": "overlap", "quality": "measured"}


class Recent:
    """The last RANKED values, in the order in which they came and in that of their size."""

    def __init__(self, values: Sequence[float] = ()) -> None:
        self._came = array("d", values[-RANKED:])
        self._sorted = array("d", sorted(self._came))

    def __len__(self) -> int:
        return len(self._came)

    def add(self, value: float) -> None:
        """Take a value; the oldest of too many leaves."""
        if len(self._came) == RANKED:
            del self._sorted[bisect_left(self._sorted, self._came.pop(0))]
        self._came.append(value)
        insort(self._sorted, value)

    def beside(self, value: float) -> tuple[int, int]:
        """Return how many values are smaller, and how many are larger."""
        return bisect_left(self._sorted, value), len(self._sorted) - bisect_right(self._sorted, value)

    def rank(self, value: float) -> float:
        """Return the share of values that are smaller, in [0, 1]; equals share their middle rank."""
        below, above = self.beside(value)
        return 0.5 * (1 + (below - above) / max(1, len(self)))

    @property
    def enough(self) -> bool:
        """Whether there are so many that a rank says something."""
        return len(self._came) >= ENOUGH

    @property
    def varies(self) -> bool:
        """Whether the middle of the values is wider than noise."""
        if not self._sorted:
            return False
        outside = len(self._sorted) // 10
        return self._sorted[-1 - outside] - self._sorted[outside] > VARIES

    def values(self) -> list[float]:
        """Return the values in the order in which they came."""
        return self._came.tolist()


class Place(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a value stands: of the `among` others `below` are smaller, and `above` are larger."""

    signal: Signal  # the one that was ranked
    value: float
    below: int
    above: int
    among: int
    varies: bool = True  # where not, nothing stands in its place either
    open: bool = False  # it calls for a dream

    @property
    def rank(self) -> float:
        """The share of values that are smaller, in [0, 1]; equals share their middle rank."""
        return 0.5 * (1 + (self.below - self.above) / (self.among + 1))


class Signals:
    """The signals of one client's last contexts."""

    def __init__(self) -> None:
        self.recent: dict[Signal, Recent] = {name: Recent() for name in SIGNALS}
        self.changed = False  # since they were kept

    def load(self, kept: Mapping[str, Sequence[float]]) -> None:
        """Take what the store kept. What came meanwhile is newer."""
        for name, recent in self.recent.items():
            self.recent[name] = Recent([*kept.get(name, ()), *recent.values()])

    def add(self, ctx: Context, overlap: Callable[[str], float]) -> None:
        """Take the signals of a context. `overlap` is asked for only where trauma may not be enough."""
        self.changed = True
        if ctx.trauma_level is not None:
            trauma = self.recent["trauma"]
            trauma.add(ctx.trauma_level)
            if not (trauma.enough and trauma.varies):
                self.recent["overlap"].add(overlap(_said(ctx)))
        for name in ("novelty", "quality", "measured"):
            value = told(ctx, name)
            if value is not None:
                self.recent[name].add(value)

    def place(self, ctx: Context, name: Signal, overlap: Callable[[str], float]) -> Place | None:
        """Return where a signal of a context stands among the last ones, or what is ranked in its place. None if the
        context does not tell it, or if too few were told for a rank."""
        value, recent = told(ctx, name), self.recent[name]
        if value is None or not recent.enough:
            return None
        other = IN_PLACE_OF.get(name)
        if (
            other is not None
            and not recent.varies
            and self.recent[other].enough
            and self.recent[other].varies
        ):
            instead = overlap(_said(ctx)) if other == "overlap" else told(ctx, other)
            if instead is not None:
                name, value, recent = other, instead, self.recent[other]
        below, above = recent.beside(value)
        among = len(recent) - 1  # it is one of them
        return Place(signal=name, value=value, below=below, above=above, among=among, varies=recent.varies)

    def take(self) -> bytes:
        """Return the values by signal for the store, as MessagePack. They have not changed since."""
        self.changed = False
        return msgspec.msgpack.encode({name: recent.values() for name, recent in self.recent.items()})


def told(ctx: Context, name: Signal) -> float | None:
    """Return a signal of a context; None if the context does not tell it."""
    if name == "trauma":
        return ctx.trauma_level
    if name == "novelty":
        return None if ctx.pulse is None else ctx.pulse.novelty
    if name == "quality":
        return ctx.quality
    measured = ctx.math_state.get("quality") if ctx.math_state else None
    return min(1.0, max(0.0, float(measured))) if isinstance(measured, int | float) else None


def _said(ctx: Context) -> str:
    return f"{ctx.prompt} {ctx.reply}"
