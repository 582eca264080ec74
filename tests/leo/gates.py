"""Measure how often the gates are open for a real leo, and how many dreams a day follow."""

from math import ceil
from random import Random
from statistics import mean, median

from dreamd.dream.signals import ENOUGH
from tests.leo.stage import FIRST_SEED, Found, Stage

REPLIES = 100  # after the first ENOUGH
WATCHED = ("gate.cooldown_s=0", "gate.chance=0")  # each reply is decided, and none is dreamt of
GATES = ("trauma", "novelty", "quality")
A_DAY, EVERY_S = 200, 60.0  # replies, and seconds from one to the next
DAYS = 400
SETTINGS = ((0.3, 180.0), (1.0, 180.0), (0.1, 0.0))  # gate.chance, gate.cooldown_s


def gates(stage: Stage, seeds: int) -> None:
    """Print the open share of each gate, and the dreams of a day."""
    print(f"\n{REPLIES} replies after the first {ENOUGH}: share for which each gate is open (what is ranked)")
    shares: list[float] = []
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        found = stage.run("felt", seed, ENOUGH + REPLIES, settings=WATCHED)
        decisions = found["why"][ENOUGH:]
        opened = [decision["reason"] == "chance" for decision in decisions]
        shares.append(mean(opened))
        told = ", ".join(of_gate(gate, decisions) for gate in GATES)
        print(f"  {seed}  {told}; any {shares[-1]:.0%}", flush=True)
        print("       a day of 200 replies, dreams by the formula:", ", ".join(days(opened)), flush=True)
    print(f"  median of any: {median(shares):.0%}")


def of_gate(gate: str, decisions: list[Found]) -> str:
    places = [decision["places"][gate] for decision in decisions if gate in (decision.get("places") or {})]
    if not places:
        return f"{gate} not told"
    ranked = sorted({place["signal"] for place in places if place.get("varies", True)})
    if not ranked:
        return f"{gate} does not vary"
    return f"{gate} {mean(bool(place.get('open')) for place in places):.0%} ({', '.join(ranked)})"


def expected(share: float, chance: float, cooldown_s: float) -> float:
    """Return the dreams of a day, by the formula of docs/reference/settings.md."""
    within = max(0, ceil(cooldown_s / EVERY_S) - 1)
    return A_DAY * share * chance / (1 + share * chance * within)


def days(opened: list[bool]) -> list[str]:
    """Return how many dreams such a day has, on average, beside what the formula says."""
    found = []
    for chance, cooldown_s in SETTINGS:
        rng = Random(1)
        counts = [dreams_of_a_day(opened, chance, cooldown_s, rng) for _ in range(DAYS)]
        found.append(
            f"({chance:g}, {cooldown_s:g} s) {mean(counts):.1f}, {expected(mean(opened), chance, cooldown_s):.1f}"
        )
    return found


def dreams_of_a_day(opened: list[bool], chance: float, cooldown_s: float, rng: Random) -> int:
    start, dreams, free_at = rng.randrange(len(opened)), 0, 0.0
    for number in range(A_DAY):
        now = number * EVERY_S
        if now >= free_at and opened[(start + number) % len(opened)] and rng.random() < chance:
            dreams += 1
            free_at = now + cooldown_s
    return dreams
