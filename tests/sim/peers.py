"""The clients: leos that stall, vanish, die in a hook, lie and answer rubbish, and programs that ask."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgpack

from tests.sim.wires import Wire

if TYPE_CHECKING:
    from tests.sim.world import World

WORDS = tuple(
    "river old stone quiet light snow the a of and sleeps under house water born sentence speaks holds "  # noqa: SIM905
    "small sea never window hand dark bird morning salt field bread rain road winter mother name door glass".split()
)
MARK = "zq"  # in every text of a leo, so that a text in a log is found
# What a hook does, by mood: the weights of the behaviours below.
MOODS = {
    "well": {"answer": 30, "slow": 1, "measured": 4, "again": 1},
    "odd": {
        "answer": 8,
        "measured": 2,
        "lie": 3,
        "raise": 1,
        "empty": 1,
        "again": 2,
        "twice": 2,
        "rubbish": 1,
    },
    "stalls": {"answer": 6, "slow": 3, "silent": 2, "late": 2},
    "mute": {"raise": 3, "empty": 3, "silent": 1},
    "dies": {"answer": 5, "die": 2},
    "poisoned": {"die": 1},
}
RUBBISH: tuple[Any, ...] = (
    None, 7, [], {"text": 5}, {"text": "x", "novelty": "much"}, {"novelty": 0.5}, b"\xff", True,
    msgpack.Timestamp(253402300800, 0), {"text": "zq0 ok", "arousal": float("nan")}, [["x"] * 50] * 50,
)  # fmt: skip


class Peer:
    """A client of this name. `provides`: its hooks. `mood`: how they behave. It comes back when a connection is lost,
    unless `stays_away`."""

    def __init__(self, world: "World", number: int, about: dict[str, Any]) -> None:
        self._world, self.number = world, number
        self.name, self.field = about["name"], about["field"]
        self.provides, self.mood = about["provides"], about["mood"]
        self.back_s: float = about.get("back_s", 1.0)
        self.stays_away = False
        self.wire: Wire | None = None
        self.greeted = False
        self.garbled = False  # it has sent what breaks the protocol
        # By msgid: the method, since when, what to do then, and the texts that it has kept.
        self.calls: dict[int, tuple[str, float, Any, list[str]]] = {}
        self._next = 0
        self._chance = world.chance(f"peer {number}")
        self._texts = 0
        self._connecting = False
        self.connect()

    # the connection

    def connect(self) -> None:
        """Connect and say hello, as soon as a daemon serves."""
        self._connecting = False
        life = self._world.life
        if self.wire is not None or self.stays_away:
            return
        if not life.serves:
            self._connect_later()
            return
        self.wire = Wire(self._world, self, self._world.model.next_wire())
        life.wires.append(self.wire)
        self.greeted, self.calls, self.garbled = False, {}, False
        self.hello(self.name)

    def _connect_later(self) -> None:
        if not self._connecting:
            self._connecting = True
            self._world.after(self.back_s, self.connect)

    def hello(self, name: str) -> None:
        about = {"protocol": 1, "name": name, "version": "0", "pid": 1, "provides": self.provides}
        self.call("hello", [about | ({"field": self.field} if self.field else {})], self._greeted)

    def _greeted(self, error: Any, result: Any) -> None:
        self.greeted = error is None
        if self.greeted and self._chance.random() < 0.7:
            self.call("dream.seed", [self.origin()])

    def origin(self) -> dict[str, list[str]]:
        """Return texts to be born of."""
        return {"origin": [self.text() for _ in range(self._chance.randrange(1, 9))], "readme": []}

    def lost(self, wire: Wire) -> None:
        """The connection has ended."""
        if self.wire is wire:
            self.wire, self.calls = None, {}
            if not self.stays_away:
                self._connect_later()

    def owed(self, wire: Wire) -> bool:
        """Return whether the daemon still owes an answer to a peer that has only closed its sending half."""
        return wire is self.wire and bool(self.calls) and not self.garbled

    def cut(self) -> None:
        """End as a process does that is killed."""
        if self.wire is not None:
            wire, self.wire, self.calls = self.wire, None, {}
            wire.cut()
            if not self.stays_away:
                self._connect_later()

    # calls

    def send(self, message: Any) -> None:
        if self.wire is not None:
            self.wire.send(message if isinstance(message, bytes) else msgpack.packb(message))

    def call(
        self,
        method: str,
        params: list[Any],
        then: Callable[[Any, Any], None] = lambda error, result: None,
        texts: list[str] | None = None,
    ) -> None:
        """Call the daemon. `then` gets its error and its result."""
        if self.wire is None or self.wire.has_ended:
            return
        msgid, self._next = self._next, self._next + 1
        self.calls[msgid] = method, self._world.now, then, texts or []
        self.send([0, msgid, method, params])

    def took(self, wire: Wire, message: Any) -> None:
        """Take one message of the daemon."""
        if wire is not self.wire:
            return
        kind = message[0]
        if kind == 0:
            self._hook(message[1], message[2], message[3])
        elif kind == 1 and message[1] in self.calls:
            method, _, then, _ = self.calls.pop(message[1])
            self._world.note(
                "peer", self.number, method, "error" if message[2] else "answered", (message[2] or [""])[0]
            )
            then(message[2], message[3])

    # hooks

    def text(self) -> str:
        """Return a new text."""
        self._texts += 1
        said = [self._chance.choice(WORDS) for _ in range(self._chance.randrange(3, 16))]
        end = self._chance.choice((".", "!", " -", ", and then. So it was."))
        return f"{MARK}{self.number}x{self._texts} {' '.join(said)}{end}"

    def _hook(self, msgid: int, method: str, params: list[Any]) -> None:
        weights = MOODS[self.mood]
        how = self._chance.choices(list(weights), list(weights.values()))[0]
        self._world.note("peer", self.number, method, how)
        answer = partial(self._answer, self.wire, msgid)
        delay_s = self._chance.uniform(1e-3, 0.3)
        match how:
            case "slow":
                delay_s = self._chance.uniform(0.5, 4.5)
            case "late":
                delay_s = self._chance.uniform(5.0, 8.0)
            case "silent":
                return
            case "die":
                self._world.after(self._chance.uniform(0, 0.2), self._die, self.wire)
                return
            case "raise":
                error = self._chance.choice(
                    (
                        [11, f"TypeError: {self.text()}", {"type": "TypeError", "where": "leo.py:1"}],
                        "zq0 no",
                        [1],
                        5,
                    )
                )
                self._world.after(delay_s, answer, error, None)
                return
            case "rubbish":
                self._world.after(delay_s, answer, None, self._chance.choice(RUBBISH))
                return
            case "twice":
                self._world.after(delay_s + 0.1, answer, None, "zq0 late")
        self._world.after(delay_s, answer, None, self._result(method, how, params))

    def _result(self, method: str, how: str, params: list[Any]) -> Any:
        chance = self._chance
        measures = {name: chance.random() for name in ("novelty", "arousal", "entropy", "trauma")}
        if how == "lie":
            measures = dict.fromkeys(measures, chance.choice((-5.0, 9.0, 1e308, 0.0)))
        if method == "generate":
            text = "" if how == "empty" else "zq0 said before." if how == "again" else self.text()
            return {"text": text, **measures} if how in ("measured", "lie") else text
        if method == "observe":
            said = {**measures, "taken": chance.random() < 0.7}
            added = {"added": {"n": self._texts}, "taken": True} if how == "answer" else {}
            return said | added if how in ("measured", "lie") else added or None
        if method == "unobserve":
            return {"undone": chance.random() < 0.9, "missing": -1 if how == "lie" else 0}
        return [self.text() for _ in range(chance.randrange(4))]

    def _answer(self, wire: Wire, msgid: int, error: Any, result: Any) -> None:
        if wire is self.wire:
            try:
                self.send([1, msgid, error, result])
            except ValueError:
                self.send([1, msgid, None, None])

    def _die(self, wire: Wire | None) -> None:
        if wire is not None and wire is self.wire:
            self.cut()
