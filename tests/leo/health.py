"""What dreaming does to a real leo: `make leo LEO=PATH`.

    python -m tests.leo.health PATH [--python P] [--prompts 60] [--seeds 5] [--only replies,alone,talk]

PATH is a checkout of leo with his README; it is copied, never touched. P is a Python that has what leo needs, and
msgpack. Every scene has a leo who was just born, in a process of its own (scenes.py), and a daemon of its own.
All of it takes about an hour.
"""

import argparse
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.helpers.daemon import DaemonProcess

ROOT = Path(__file__).parents[2]
# Each reply is dreamt of: no cooldown, no chance, and a novelty gate that is never shut.
FORCED = ("gate.cooldown_s=0", "gate.chance=1", "gate.novelty_above=-1")
NATURAL = (
    "gate.cooldown_s=0",
    "gate.chance=1",
)  # what the gates let through, were it not for time and chance
NEVER = ("gate.enabled=false",)  # but where a dream is asked for by `dream.now`
FIRST_SEED = 101
DREAMS_ALONE = 60
TALK = 40  # prompts with a dream after each
PAUSE_S = 0.3  # between a reply and the next prompt; people take longer
SCENE_S = 3600

Found = dict[str, Any]


class Stage:
    """Runs scenes, each with a copy of the checkout and a state folder of the daemon, in `folder`."""

    def __init__(self, checkout: Path, python: str, folder: Path) -> None:
        self.checkout, self.python, self.folder = checkout, python, folder
        self.count = 0

    def run(
        self,
        scene: str,
        seed: int,
        prompts: int,
        *,
        settings: tuple[str, ...] | None = None,
        absent: bool = False,
        stopped: bool = False,
        diet: str = "diet",
    ) -> Found:
        """What scenes.py found, and what the daemon did; without `settings` there is no daemon, and no attachment
        unless one is said to be `absent`."""
        self.count += 1
        place = self.folder / str(self.count)
        kept_out = shutil.ignore_patterns(".git", "state", "bin", "json", "__pycache__")
        shutil.copytree(self.checkout, place / "leo", ignore=kept_out)
        if (place / "leo" / "dream_original.py").exists():  # he is with dreamd already
            (place / "leo" / "dream_original.py").replace(place / "leo" / "dream.py")
        with ExitStack() as stack:
            daemon = None
            socket = str(place / "nobody.sock") if absent else ""
            if settings is not None:
                options = [option for setting in settings for option in ("--set", setting)]
                daemon = stack.enter_context(DaemonProcess(place / "dreamd", *options))
                socket = str(daemon.socket)
                if stopped:
                    daemon.process.send_signal(signal.SIGSTOP)
            spec = {"scene": scene, "seed": seed, "prompts": prompts, "pause_s": PAUSE_S, "diet": diet}
            spec |= {"socket": socket, "result": str(place / "result.json")}
            self._play(spec, place / "leo")
            found: Found = json.loads((place / "result.json").read_text())
            if daemon is not None and not stopped:
                found |= dreamt(daemon)
        shutil.rmtree(place)
        return found

    def _play(self, spec: Found, checkout: Path) -> None:
        env = {name: value for name, value in os.environ.items() if not name.startswith("DREAM")}
        # What a leo says depends on the order of his sets.
        env |= {"PYTHONPATH": str(ROOT / "client"), "PYTHONHASHSEED": "0"}
        command = [self.python, str(Path(__file__).with_name("scenes.py")), json.dumps(spec)]
        done = subprocess.run(
            command, cwd=checkout, env=env, timeout=SCENE_S, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"the scene {spec['scene']} failed:\n{done.stderr[-2000:]}")


def dreamt(daemon: DaemonProcess) -> Found:
    """What the daemon counted."""
    status = daemon.call("status")
    with closing(sqlite3.connect(f"file:{status['database']['path']}?mode=ro", uri=True)) as database:
        observed = Counter(
            dict(database.execute("SELECT observed, COUNT(*) FROM dream_turns GROUP BY observed"))
        )
    return {
        "decisions": status["decisions"],
        "dialogues": status["dialogues"],
        "hooks": status["hooks"],
        "failures": status["failures"],
        "lines": observed.total(),
        "taken": observed["answered"],
    }


def conversation(stage: Stage, prompts: int) -> None:
    """Replies with no dream, with the gates as they are, and with a dream after each."""
    off = stage.run("replies", FIRST_SEED, prompts)
    print("\nreplies identical to those without dreamd, byte for byte")
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


def dreams(found: Found) -> None:
    for what in ("decisions", "dialogues", "failures"):
        print(
            f"  {what:<14}"
            + (", ".join(f"{name} {n}" for name, n in sorted(found[what].items()) if n) or "none")
        )
    silent, lines = found["dialogues"].get("empty", 0), found["lines"]
    share = 100 / (lines + silent) if lines + silent else 0.0
    print(
        f"  {'lines':<14}{lines} spoken, {silent * share:.1f} % empty, {found['taken'] * share:.1f} % taken"
    )
    for hook, figures in found["hooks"].items():
        print(f"  {hook:<14}{figures['calls']} calls, p50 {figures['p50_ms']} ms, p99 {figures['p99_ms']} ms")


def latency(seconds: list[float]) -> tuple[float, float]:
    return median(seconds), quantiles(seconds, n=20)[-1]


def health(stage: Stage, scene: str, seeds: int) -> None:
    """Distinct-2 and vocabulary, with the diet and with whole lines, as ratios to what they would be without."""
    if scene == "alone":
        print(f"\n{DREAMS_ALONE} dreams alone: 100 probe replies after, over before")
    else:
        print(f"\n{TALK} prompts with a dream after each: 100 probe replies, over the same without dreams")
    print("            seed  distinct-2  vocabulary  trigrams gained  lines  taken")
    table: dict[str, list[tuple[float, ...]]] = {"diet": [], "whole lines": []}
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        control = stage.run("talk", seed, TALK) if scene == "talk" else None
        for diet, rows in table.items():
            count = DREAMS_ALONE if scene == "alone" else TALK
            found = stage.run(scene, seed, count, settings=NEVER, diet=diet)
            before, gain = (control["after"], control["gain"]) if control else (found["before"], 0)
            ratios = [found["after"][measure] / before[measure] for measure in ("distinct_2", "vocabulary")]
            rows.append(
                (*ratios, found["gain"] - gain, found["lines"], found["taken"] / max(1, found["lines"]))
            )
            row(diet, str(seed), rows[-1])
    for diet, rows in table.items():
        row(diet, "median", tuple(map(median, zip(*rows, strict=True))))
    kept = [median(line[2] for line in rows) for rows in table.values()]
    print(f"  trigrams gained with the diet, over those with whole lines: {kept[0] / kept[1]:.2f}")


def row(kind: str, seed: str, figures: tuple[float, ...]) -> None:
    pairs, vocabulary, gain, lines, taken = figures
    print(
        f"  {kind:<12}{seed:>6}{pairs:10.3f}{vocabulary:12.3f}{gain:17.0f}{lines:7.0f}{taken:7.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="make leo", description="What dreaming does to a real leo.")
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", default="replies,alone,talk")
    given = parser.parse_args()
    if not (given.checkout / "leo.py").is_file():
        parser.error(f"{given.checkout} is no checkout of leo: it has no leo.py")
    wanted = given.only.split(",")
    with tempfile.TemporaryDirectory(prefix="leo-") as folder:  # short: a socket's path has 107 bytes
        stage = Stage(given.checkout, given.python, Path(folder))
        if "replies" in wanted:
            conversation(stage, given.prompts)
        for scene in ("alone", "talk"):
            if scene in wanted:
                health(stage, scene, given.seeds)


if __name__ == "__main__":
    main()
