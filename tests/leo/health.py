"""Measure what dreaming does to a real leo: `make leo LEO=PATH`.

    python -m tests.leo.health PATH [--python P] [--prompts 60] [--seeds 5] [--only replies,gates,alone,talk,undone]

PATH is a checkout of leo with his README; it is copied, never touched. P is a Python that has what leo needs, and
msgpack. Every scene has a leo who was just born, in a process of its own (scenes.py), and a daemon of its own.
All of it takes about an hour.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import mean, median, quantiles
from typing import Any

from tests.helpers.dialogue_measures import answers, cut_share
from tests.leo.gates import gates
from tests.leo.stage import FIRST_SEED, FORCED, NATURAL, NEVER, Found, Stage

DREAMS_ALONE = 60
UNDONE = 20  # dreams that are taken back at once, and as many with talk in between
TALK = 40  # prompts with a dream after each
KINDS = {"dreams": "diet", "diet off": "whole lines"}
MEASURES = ("distinct_2", "vocabulary", "origin")


def conversation(stage: Stage, prompts: int) -> None:
    """Compare replies without dreams, with the gates as they are, and with a dream after each reply."""
    off = stage.run("replies", FIRST_SEED, prompts)
    print("\nreplies identical to those without dreamd, byte for byte")
    same = off
    for name, options in (
        ("(leo alone, again)", {}),
        ("dreaming off", {"settings": NEVER}),
        ("daemon absent", {"absent": True}),
        ("daemon stopped", {"settings": NEVER, "stopped": True}),
        ("dreams not taken", {"settings": FORCED, "diet": "nothing"}),
    ):
        same = stage.run("replies", FIRST_SEED, prompts, **options)
        alike = sum(a == b for a, b in zip(off["replies"], same["replies"], strict=True))
        print(f"  {name:<20}{alike} of {prompts}")
    natural = stage.run("replies", FIRST_SEED, prompts, settings=NATURAL)
    forced = stage.run("replies", FIRST_SEED, prompts, settings=FORCED)
    for name, found in (
        ("gates as they are, no cooldown, chance 1", natural),
        ("a dream forced after each", forced),
    ):
        print(f"\n{prompts} prompts, {name}")
        dreams(found)
    print("\nreply latency, s               p50     p95")
    row_of_latency("off", latency(off["seconds"]))
    row_of_latency("forced", latency(forced["seconds"]))
    row_of_latency("forced / off", latency(forced["seconds"]), latency(off["seconds"]))
    # Dreams that are taken make other replies, short or long: what dreaming costs shows where they are the same.
    both = zip(off["replies"], same["replies"], off["seconds"], same["seconds"], strict=True)
    alike_s = [(off_s, same_s) for one, other, off_s, same_s in both if one == other]
    without, beside = (latency(list(seconds)) for seconds in zip(*alike_s, strict=True))
    row_of_latency(f"same {len(alike_s)} replies", beside, without)


def row_of_latency(name: str, figures: tuple[float, ...], over: tuple[float, ...] = (1, 1)) -> None:
    middle, high = (figure / floor for figure, floor in zip(figures, over, strict=True))
    print(f"  {name:<24}{middle:8.3f}{high:8.3f}", flush=True)


def latency(seconds: list[float]) -> tuple[float, float]:
    return median(seconds), quantiles(seconds, n=20)[-1]


def dreams(found: Found) -> None:
    for what in ("decisions", "dialogues", "failures"):
        told = ", ".join(f"{name} {n}" for name, n in sorted(found[what].items()) if n)
        print(f"  {what:<14}{told or 'none'}")
    print(f"  {'lines':<14}{lines_in_words(found)}")
    for hook, figures in found["hooks"].items():
        print(f"  {hook:<14}{figures['calls']} calls, p50 {figures['p50_ms']} ms, p99 {figures['p99_ms']} ms")


def lines_in_words(found: Found) -> str:
    texts = found["texts"]
    lines = [line for dialogue in texts for line in dialogue]
    if len(texts) < 2:
        return f"{len(lines)} spoken"
    complete = found["dialogues"].get("complete", 0) / sum(found["dialogues"].values())
    return (
        f"{len(lines)} spoken, {found['taken'] / len(lines):.0%} taken, {cut_share(lines):.1%} cut,"
        f" answers {answers(texts):.1f} x chance, {complete:.0%} of the dialogues complete"
    )


def health(stage: Stage, scene: str, seeds: int) -> None:
    """Return the probe replies after dreams, with the diet and with whole lines, relative to those without dreams."""
    if scene == "alone":
        print(f"\n{DREAMS_ALONE} dreams alone: 100 probe replies after, over before")
    else:
        print(f"\n{TALK} prompts with a dream after each: 100 probe replies, over the same without dreams")
    print("               seed  distinct-2  vocabulary  origin  (share)  trigrams gained")
    table: dict[str, list[tuple[float, ...]]] = {kind: [] for kind in KINDS}
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        control = stage.run("talk", seed, TALK) if scene == "talk" else None
        if control is not None:
            print(f"  {'no dreams':<12}{seed:>5}{'':31}{control['after']['origin']:9.4f}", flush=True)
        for kind, rows in table.items():
            count = DREAMS_ALONE if scene == "alone" else TALK
            found = stage.run(scene, seed, count, settings=NEVER, diet=KINDS[kind])
            before, gain = (control["after"], control["gain"]) if control else (found["before"], 0)
            ratios = [found["after"][measure] / before[measure] for measure in MEASURES]
            rows.append((*ratios, found["after"]["origin"], found["gain"] - gain))
            row(kind, str(seed), rows[-1])
            print(f"  {'':17}{lines_in_words(found)}", flush=True)
    for kind, rows in table.items():
        row(kind, "median", tuple(map(median, zip(*rows, strict=True))))
        print(f"  {'':17}origin, mean of the ratios: {interval([ratios[2] for ratios in rows])}")


def taken_back(stage: Stage) -> None:
    """Say how many dreams leave no trace in his tables once they are taken back."""
    found = stage.run("undone", FIRST_SEED, 2 * UNDONE, settings=NEVER)
    print("\ndreams taken back")
    print(f"  all rows as before the dream      {sum(found['same'])} of {len(found['same'])}")
    print(
        f"  words, pairs and triples as after the talk alone  {sum(found['exact'])} of {len(found['exact'])}"
    )


def row(kind: str, seed: str, figures: tuple[float, ...]) -> None:
    pairs, vocabulary, origin, share, gain = figures
    print(
        f"  {kind:<10}{seed:>7}{pairs:12.3f}{vocabulary:12.3f}{origin:8.3f}{share:9.4f}{gain:17.0f}",
        flush=True,
    )


# Student's t for 95 %, by degrees of freedom.
_T = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def interval(ratios: list[float]) -> str:
    """Return the mean and its 95 % interval."""
    middle = mean(ratios)
    free = len(ratios) - 1
    if not free:
        return f"{middle:.2f}"
    spread = (sum((ratio - middle) ** 2 for ratio in ratios) / free / len(ratios)) ** 0.5
    half = _T.get(free, 2.0) * spread
    return f"{middle:.2f} ({middle - half:.2f} to {middle + half:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(prog="make leo", description="What dreaming does to a real leo.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="replies,gates,alone,talk,undone")
    given = parser.parse_args()
    if not (given.checkout / "leo.py").is_file():
        parser.error(f"{given.checkout} is no checkout of leo: it has no leo.py")
    wanted: dict[str, Any] = {
        "replies": lambda: conversation(stage, given.prompts),
        "gates": lambda: gates(stage, given.seeds),
        "alone": lambda: health(stage, "alone", given.seeds),
        "talk": lambda: health(stage, "talk", given.seeds),
        "undone": lambda: taken_back(stage),
    }
    with tempfile.TemporaryDirectory(prefix="leo-") as folder:  # short: a socket's path has 107 bytes
        stage = Stage(given.checkout, given.python, Path(folder))
        for name in given.only.split(","):
            wanted[name]()


if __name__ == "__main__":
    main()
