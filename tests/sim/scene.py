"""Lets an event of a history happen."""

import random
from typing import TYPE_CHECKING

from tests.sim.leo_events import OF_A_LEO
from tests.sim.world_events import OF_THE_WORLD

if TYPE_CHECKING:
    from tests.sim.history import Event
    from tests.sim.run import Run


def perform(run: "Run", event: "Event") -> None:
    """Let an event happen."""
    world = run.world
    world.note("event", event.kind, *event.with_.values())
    chance = random.Random(f"{world.seed}/event {event.number}")
    about = dict(event.with_)
    if "leo" in about:
        peer = run.peers[about.pop("leo") % len(run.peers)]
        OF_A_LEO[event.kind](run, peer, chance, **about)
    else:
        OF_THE_WORLD[event.kind](run, chance, **about)
