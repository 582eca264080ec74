"""Fuzz every target: `make fuzz MINUTES=10`. What found something joins the corpus, which `make test` replays."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.seeds import CORPUS, seeds_of
from tests.fuzz.targets import TARGETS

KEPT = Path(".fuzz")  # what reached new code, so that the next run goes on from there
MOST_BYTES = 4096  # of an input
SLOW_S = 10  # an input that takes longer has found something


def main(arguments: list[str]) -> int:
    """Fuzz, print a line for each target, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of all targets together, on all cores")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of libFuzzer")
    parser.add_argument(
        "target", nargs="*", help="or those that begin with it, such as wire; all if none is named"
    )
    asked = parser.parse_args(arguments)
    chosen = [name for name in TARGETS if not asked.target or name.startswith(tuple(asked.target))]
    seconds = max(1, int(asked.minutes * 60 * min(asked.jobs, len(chosen)) / len(chosen)))
    print(f"seed {asked.seed}: {len(chosen)} targets, {seconds} s each, {asked.jobs} at a time", flush=True)
    with ThreadPoolExecutor(asked.jobs) as pool:
        ran = list(pool.map(lambda name: _fuzz(name, seconds, asked.seed), chosen))
    total = sum(inputs for inputs, _ in ran)
    wire = sum(inputs for name, (inputs, _) in zip(chosen, ran, strict=True) if name.startswith("wire"))
    found = sum(found for _, found in ran)
    print(f"{total:,} inputs, {wire:,} of them of the wire; {found} found something")
    return bool(found)


def _fuzz(name: str, seconds: int, seed: int) -> tuple[int, bool]:
    """Fuzz one target, and return how many inputs it was given, and whether one of them found something."""
    folder, artifact = KEPT / name, KEPT / f"{name}.found"
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds_of(name)):
        (folder / f"seed-{number}").write_bytes(data)
    artifact.unlink(missing_ok=True)
    options = [f"-max_total_time={seconds}", f"-max_len={MOST_BYTES}", f"-timeout={SLOW_S}", f"-seed={seed}"]
    options += [f"-exact_artifact_path={artifact}", "-print_final_stats=1", "-verbosity=1"]
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(folder), *options]
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = ended.stdout.decode(errors="replace")
    counted = re.search(r"number_of_executed_units: (\d+)", said)
    covered = re.findall(r"cov: (\d+)", said)
    inputs = int(counted[1]) if counted else 0
    print(f"{name:16} {inputs:>12,} inputs  {covered[-1] if covered else 0:>5} places", flush=True)
    if ended.returncode == 0:
        return inputs, False
    raised = re.search(r"Uncaught Python exception: ===\n(.*)", said)
    why = raised[1] if raised else said[-2000:]
    print(f"{name} FOUND: {why}", flush=True)
    if artifact.exists():
        _join(name, why[:200], artifact.read_bytes())
    return inputs, True


def _join(name: str, why: str, data: bytes) -> None:
    """Add an input to the corpus."""
    file = CORPUS / f"{name}.json"
    known = json.loads(file.read_text()) if file.exists() else []
    if data.hex() not in {one["hex"] for one in known}:
        known.append({"found": why, "hex": data.hex()})
        CORPUS.mkdir(exist_ok=True)
        file.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    if shutil.which("nice") and hasattr(os, "nice"):
        os.nice(10)
    sys.exit(main(sys.argv[1:]))
