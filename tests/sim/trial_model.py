"""What must hold of the trial of dreaming: which replies are compared, computed from the decisions alone."""

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from tests.sim.life import Life
    from tests.sim.model import Model
    from tests.sim.world import World

FED_S = 20.0  # a reply that comes earlier is left out: docs/background/effect.md


class Compared(NamedTuple):
    """A reply that is to be compared, as its row names it."""

    at: float
    client: str
    chance: float
    dreamt: bool


class TrialModel:
    """The replies that are to be compared, each once, and those that are stored."""

    def __init__(self, world: "World", model: "Model") -> None:
        self._world, self._model = world, model
        self._drawn: dict[int, tuple[float, float, bool]] = {}  # by session: when, gate.chance, the arm
        self._prompts: set[str] = set()  # of contexts that were decided
        self._expected = Counter[Compared]()
        self._of_this_life = Counter[Compared]()

    def began(self) -> None:
        """Begin a life of the daemon, with new sessions. What an earlier one had not stored may be lost."""
        self._drawn.clear()
        self._of_this_life.clear()

    def decided(self, life: "Life", decision: Any) -> None:
        """Work out what a decision means: it ends one comparison of its session, and may begin another."""
        if decision.reason == "asked":  # a dream comes between that chance did not decide
            self._drawn.pop(decision.session, None)
        if decision.reason in ("asked", "resumed") or not self._is_new(life, decision):
            return
        drawn, now_s = self._drawn.pop(decision.session, None), self._world.now
        if drawn is not None and now_s - drawn[0] >= FED_S:
            compared = Compared(decision.at, decision.client, *drawn[1:])
            self._expected[compared] += 1
            self._of_this_life[compared] += 1
        chance = decision.gate.chance if decision.gate else 0.0
        by_chance = decision.reason in ("dream", "chance") and 0.0 < chance < 1.0
        if by_chance and self._model.settings.dialogue.feed:
            self._drawn[decision.session] = now_s, chance, decision.dream

    def _is_new(self, life: "Life", decision: Any) -> bool:
        prompt = life.parts.engine.dreamers[decision.session].latest.prompt
        is_new = prompt not in self._prompts  # each context has its own
        self._prompts.add(prompt)
        return is_new

    def check(self, connection: Any) -> None:
        """Check that each stored reply is one to be compared, and stored once."""
        doubled = self._stored(connection) - self._expected
        self._model.hold("a trial counts each reply once", not doubled, f"{list(doubled)[:3]}")
        (unfed,) = connection.execute("SELECT count(*) FROM dream_trial WHERE fed AND NOT dreamt").fetchone()
        self._model.hold("a trial counts each reply once", not unfed, "a dream fed that was none")

    def check_end(self, connection: Any) -> None:
        """Check that all of this life is stored, after a tick at which nothing went wrong."""
        self.check(connection)
        missing = self._of_this_life - self._stored(connection)
        self._model.hold("a trial misses no reply", not missing, f"{list(missing)[:3]}")

    def _stored(self, connection: Any) -> Counter[Compared]:
        rows = connection.execute("SELECT at, client, chance, dreamt FROM dream_trial").fetchall()
        self._model.checks["compared replies"] = max(self._model.checks["compared replies"], len(rows))
        return Counter(Compared(*row[:3], bool(row[3])) for row in rows)
