"""Fail each call of the scenario in turn, with each error that it can give: `make sweep`, or `--only fsync`."""

import argparse
import asyncio
import logging
import random
import sys
import time
from collections import Counter

from tests.sweep.faults import ERRORS
from tests.sweep.scenario import Outcome, run_scenario

Fault = tuple[str, int, str]  # a kind of call, the number of the call, and the error


def all_faults() -> list[Fault]:
    """Return each fault of the scenario, which is run once without any."""
    calls = run_one("", 0, "").calls
    return [
        (kind, nth, error)
        for kind, errors in ERRORS.items()
        for nth in range(1, calls[kind] + 1)
        for error in errors
    ]


def choose(seed: int, count: int) -> list[Fault]:
    """Return so many faults, as equal a number of each kind as there are."""
    chance, faults = random.Random(seed), all_faults()
    chance.shuffle(faults)
    seen: Counter[str] = Counter()
    order = {}
    for fault in faults:
        seen[fault[0]] += 1
        order[fault] = seen[fault[0]]
    return sorted(faults, key=lambda fault: order[fault])[:count]


def run_one(kind: str, nth: int, error: str) -> Outcome:
    """Run the scenario with one fault."""
    return asyncio.run(run_scenario(kind, nth, error))


def main(arguments: list[str]) -> int:
    """Run the sweep, and print what broke. Return 1 if a promise did not hold."""
    parser = argparse.ArgumentParser(prog="make sweep")
    parser.add_argument("--only", default="", help="a kind of call, as in SQL or fsync")
    parser.add_argument("--nth", type=int, default=0, help="the call of that number alone")
    parser.add_argument("--error", default="", help="this error alone")
    parser.add_argument("--every", type=int, default=1, help="every so manieth fault alone")
    asked = parser.parse_args(arguments)
    logging.getLogger("dreamd").setLevel(logging.CRITICAL)
    wanted = [
        (kind, nth, error)
        for kind, nth, error in all_faults()
        if kind == (asked.only or kind) and nth == (asked.nth or nth) and error == (asked.error or error)
    ][:: asked.every]
    began, fired, broken = time.monotonic(), Counter[str](), 0
    for number, (kind, nth, error) in enumerate(wanted, 1):
        outcome = run_one(kind, nth, error)
        if number % 500 == 0:
            print(f"{number} of {len(wanted)} faults", file=sys.stderr, flush=True)
        fired[kind] += bool(outcome.failed)
        if outcome.broken:
            broken += 1
            print(
                f"--only {kind} --nth {nth} --error {error}: {outcome.failed}: {outcome.broken}", flush=True
            )
    print(
        f"{len(wanted)} faults in {time.monotonic() - began:.0f} s, {fired.total()} fired, {broken} broke a promise"
    )
    print("  " + ", ".join(f"{kind} {count}" for kind, count in fired.items()))
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
