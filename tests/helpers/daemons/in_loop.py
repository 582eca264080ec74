"""Use for the daemon from inside: in the test's loop, on a real socket, with the test's clock."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dreamd import settings
from dreamd.clock import Clock
from dreamd.daemon import Daemon
from dreamd.engine import engine
from dreamd.store import places, watched_database
from dreamd.wire.parts import Parts

START = 1_800_000_000.0  # unix s
OPEN_S = places.OPEN_S


@dataclass
class TestClock:
    """The clocks, moved by hand. Deadlines of calls run on the loop's own clock."""

    __test__ = False

    now: float = START
    ticks: float = 1000.0
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(lambda: self.now, lambda: self.ticks, lambda: self.ticks)

    def pass_s(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds
        self.ticks += seconds


def chosen(**values: Any) -> settings.Settings:
    """Return settings from gate__chance=1 and the like, without those of the machine."""
    assignments = [f"{name.replace('__', '.')}={value}" for name, value in values.items()]
    return settings.load_settings(file=Path("/dev/null"), env={}, assignments=assignments)


@asynccontextmanager
async def serving(
    state_dir: Path,
    *,
    clock: Clock | None = None,
    seed: int = 1,
    tick_s: float = 15.0,
    delivery_s: float = 30.0,
    **values: Any,
) -> AsyncIterator[Parts]:
    """Serve from `state_dir`, with the socket in it. `dream.now` waits `delivery_s` at most for the inbox file."""
    daemon = Daemon(
        chosen(**values),
        state_dir,
        state_dir / "dreamd.sock",
        clock=clock or Clock(),
        chance=random.Random(seed),
        tick_s=tick_s,
    )
    with pytest.MonkeyPatch.context() as patched:
        wait_for_database(patched)
        patched.setattr(engine, "DELIVERY_S", delivery_s)
        async with daemon.serve() as service:
            await service.engine.pending.attempt()  # what an earlier daemon left
            yield service


def wait_for_database(patched: pytest.MonkeyPatch) -> None:
    """Let each daemon of this process wait at its start until its database is open, as on a busy machine it has to. A
    test that has said how long it waits is left alone."""
    if places.OPEN_S == OPEN_S:
        patched.setattr(places, "OPEN_S", 60.0)
        patched.setattr(watched_database, "START_S", 60.0)
