"""The history of a run, made from its seed alone: the settings, the leos, and what happens when."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.sim import database, files

NAMES = ("leo", "leo", "leo", "ann", "bo")
HOOKS = ["generate", "observe"]
ALL = [*HOOKS, "recall", "unobserve"]
# What may happen, with its weight.
KINDS = {
    "offer": 40, "offers": 6, "now": 5, "call": 10, "persist": 10, "ack": 6, "forget": 2, "friend": 3, "again": 3,
    "undream": 3, "pause": 2, "resume": 2, "private": 1, "rename": 3,
    "cut": 4, "half": 1, "garble": 2, "slow": 1, "mood": 4, "leave": 2,
    "write": 8, "damage": 1, "consume": 4, "kill writer": 2, "names": 1, "large": 1,
    "stop": 2, "shutdown": 1, "kill": 3, "kill at database": 4, "kill at file": 4,
    "database fault": 4, "database stall": 3, "file fault": 4, "file stall": 4, "jump": 1, "second": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Something that happens `at` (s after the start). `number` seeds its own chance, so that it stays the same when
    others are left out."""

    at: float
    kind: str
    number: int
    with_: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        about = ", ".join(f"{name}={value!r}" for name, value in self.with_.items())
        return f"{self.at:8.2f} s  {self.kind:16} {about}"


@dataclass(frozen=True)
class History:
    """All that a run is made of. Shrinking leaves events out."""

    seed: int
    settings: dict[str, Any]
    leos: tuple[dict[str, Any], ...]
    events: tuple[Event, ...]


def make_history(seed: int) -> History:
    """Return the history of a seed."""
    chance = random.Random(f"{seed}/history")
    leos = tuple(_make_leo(chance, number) for number in range(chance.randrange(1, 5)))
    kinds = dict(KINDS)
    for kind in list(kinds):  # each run does without some of it, so that the rest goes on undisturbed
        if kind != "offer" and chance.random() < 0.35:
            del kinds[kind]
    length_s = chance.choice((60.0, 150.0, 400.0))
    events = [
        _make_event(chance, kinds, number, length_s, len(leos)) for number in range(chance.randrange(15, 90))
    ]
    return History(seed, _make_settings(chance), leos, tuple(sorted(events, key=lambda event: event.at)))


def _make_settings(chance: random.Random) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "gate__chance": chance.choice((1, 1, 0.6)),
        "gate__cooldown_s": chance.choice((0, 0, 5, 20)),
        "gate__mode": chance.choice(("fixed", "fixed", "adaptive")),
        "gate__trauma_above": chance.choice((-1, -1, 0.4)),
        "dialogue__candidates": chance.choice((0, 1, 2)),
        "dialogue__feed": chance.choice(("true",) * 9 + ("false",)),
        "dialogue__call_deadline_s": 5,
        "dialogue__deadline_s": 30,
        "store__diagnostics": chance.choice(("true", "true", "true", "false")),
        "inbox__retention_s": chance.choice((2592000, 2592000, 20)),
        "inbox__keep": chance.choice((1000, 1000, 2)),
        "inbox__enabled": chance.choice(("true",) * 9 + ("false",)),
        "friend__buffer": chance.choice((64, 3)),
        "inbox__node_form": chance.choice(("simulation", "published")),
    }
    return settings


def _make_leo(chance: random.Random, number: int) -> dict[str, Any]:
    return {
        "name": chance.choice(NAMES),
        "field": chance.choice(("f1", "f1", "f2", None)),
        "provides": chance.choice((HOOKS, ALL, [*HOOKS, "recall"], ["generate"])) if number else ALL,
        "mood": chance.choice(("well", "well", "well", "odd", "stalls", "mute", "dies", "poisoned")),
        "back_s": chance.choice((0.2, 1.0, 10.0)),
    }


def _make_event(
    chance: random.Random, kinds: dict[str, int], number: int, length_s: float, leos: int
) -> Event:
    kind = chance.choices(list(kinds), list(kinds.values()))[0]
    with_: dict[str, Any] = {"leo": chance.randrange(leos)} if kind in _OF_A_LEO else {}
    for name, values in _WITH.get(kind, {}).items():
        with_[name] = values(chance)
    return Event(round(chance.uniform(0.0, length_s), 3), kind, number, with_)


def _one_of(*values: Any) -> Callable[[random.Random], Any]:
    return lambda chance: chance.choice(values)


def _kill_at_database(chance: random.Random) -> tuple[str, bool, float]:
    """When, whether with the machine, and how much of the last write is then on disk."""
    return (
        chance.choice(("before", "after")),
        chance.random() < 0.6,
        chance.choice((0.0, 0.5, 1.0, chance.random())),
    )


def _database_fault(chance: random.Random) -> tuple[str, bool]:
    """The error, and whether it comes after the work."""
    return chance.choice(database.ERRORS[: None if chance.random() < 0.1 else -1]), chance.random() < 0.5


_YES = {share: (lambda chance, share=share: chance.random() < share) for share in (0.3, 0.5)}
_FEW = _one_of(0, 1, 2, 3, 5, 8, 13, 21)
_DOWN = _one_of(0.1, 2.0, 30.0)
_TRACE = _one_of("w-0", "w-1", "w-2", "w-3")
_MOODS = _one_of("well", "well", "odd", "stalls", "mute", "dies", "poisoned")
# What belongs to an event, by kind.
_WITH: dict[str, dict[str, Callable[[random.Random], Any]]] = {
    "rename": {"name": _one_of("leo", "ann", "bo")},
    "offers": {"n": lambda chance: chance.randrange(2, 12)},
    "call": {"method": lambda chance: chance.choice(_CALLS)},
    "persist": {"trace": _TRACE, "n": _one_of(1, 1, 2, 5), "twice": _YES[0.3]},
    "write": {"trace": _TRACE, "n": _one_of(1, 1, 2, 5), "twice": _YES[0.3]},
    "damage": {"trace": lambda chance: f"w-{chance.randrange(6)}"},
    "friend": {"how": _one_of("checkpoint", "restore", "before", "drop", "reseed", "import", "delete")},
    "mood": {"mood": _MOODS},
    "slow": {"seconds": _one_of(1.0, 20.0, 100.0)},
    "leave": {"seconds": _one_of(2.0, 30.0, 100.0)},
    "pause": {"seconds": _one_of(1.0, 20.0, 100.0, None)},
    "kill writer": {"calls": lambda chance: chance.randrange(1, 20)},
    "kill": {"power": _YES[0.5], "down_s": _DOWN},
    "kill at file": {"power": _YES[0.5], "skip": _FEW, "down_s": _DOWN},
    "kill at database": {"what": _kill_at_database, "skip": _FEW, "down_s": _DOWN},
    "stop": {"down_s": _DOWN},
    "shutdown": {"down_s": _DOWN},
    "database fault": {"what": _database_fault, "left": _one_of(1, 1, 2, 6, 40), "skip": _FEW},
    "database stall": {
        "what": _one_of(0.6, 3.0, 6.0, 20.0), "when": _one_of("before", "after"), "left": _one_of(1, 1, 2),
        "skip": _FEW,
    },
    "file fault": {"what": _one_of(*files.ERRORS), "left": _one_of(1, 1, 2, 6, 60), "skip": _FEW},
    "file stall": {"what": _one_of(0.2, 1.0, 5.0, 20.0), "left": _one_of(1, 2), "skip": _FEW},
    "jump": {"seconds": _one_of(-100.0, 3600.0, 90000.0)},
}  # fmt: skip
_OF_A_LEO = frozenset({
    "offer", "offers", "now", "call", "persist", "ack", "forget", "friend", "again", "cut", "half", "garble", "slow",
    "mood", "leave", "names", "large", "shutdown", "undream", "pause", "resume", "private", "rename",
})  # fmt: skip
_CALLS = (
    "status", "why", "stats", "dialogs.recent", "dialogs.get", "dialogs.search", "dialogs.replay", "friend.fragments",
    "friend.drift", "friend.checkpoints", "events.subscribe", "inbox.list", "inbox.read", "no.such", "hello",
    "dialogs.whence",
)  # fmt: skip
