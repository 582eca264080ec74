"""Run the benches: `python -m tests.bench [--quick] [--only NAME] [--json FILE] [--compare FILE]`.

`--table FILE...` runs nothing: it prints the table of bounds, with a column for each of those files of `--json`.
"""

import argparse
import importlib
import os
import signal
import sys

from tests.bench.bounds import bounds_table
from tests.bench.harness import compare, machine, read_json, run, table, write_json

# In this order. `quick` runs those that fit into a minute.
BENCHES = (
    "hook_call", "in_memory", "contexts", "offer", "start", "shell", "first_line", "growth", "crowd",
    "carried", "redact", "memory",
)  # fmt: skip
QUICK_ROUNDS = 5
QUICK = ("hook_call", "in_memory", "contexts", "offer", "start")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="dreamd beside its peers")
    parser.add_argument("--quick", action="store_true", help="without peers and long benches, in a minute")
    parser.add_argument("--only", metavar="NAME", action="append", choices=BENCHES, help="only this bench")
    parser.add_argument("--rounds", type=int, help="rounds of each bench")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file too")
    parser.add_argument("--compare", metavar="FILE", help="compare with the figures of an earlier run")
    parser.add_argument(
        "--table", metavar="FILE", nargs="+", help="print the bounds of earlier runs, and run nothing"
    )
    asked = parser.parse_args()
    if asked.table:
        print("\n".join(bounds_table([read_json(path) for path in asked.table])))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # servers and folders of a bench end with it
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each start would compile all of it
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    results = []
    for name in asked.only or (QUICK if asked.quick else BENCHES):
        bench = importlib.import_module(f"tests.bench.{name}").bench(asked.quick)
        bench.rounds = asked.rounds or (min(bench.rounds, QUICK_ROUNDS) if asked.quick else bench.rounds)
        results.append(run(bench))
        print("\n".join(table(results[-1])), flush=True)
    print(f"\nall benches took {sum(result['seconds'] for result in results)} s")
    measured = {"machine": machine(), "benches": results}
    if asked.json:
        write_json(asked.json, measured)
    if asked.compare:
        print("\n".join(compare(read_json(asked.compare)["benches"], results)))
    else:
        print("\n".join(bounds_table([measured])))
    return 0


if __name__ == "__main__":
    sys.exit(main())
