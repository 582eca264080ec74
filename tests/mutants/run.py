"""Put faults into copies of the tree, one at a time, and let its tests find them: `make mutants ARGS="inbox wire"`.

The tables beside this file hold the faults, by module: `fault` says what is wrong then, `old` is replaced by `new`,
`also` names tests that are run before the module's own file, and `survives` says why no test finds it. "daemon 12"
in a fault means that dreamd once had it.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import Queue
from typing import NamedTuple

from tests.test_suite import ELSEWHERE, ROOT, files_of

TABLES = sorted(Path(__file__).parent.glob("*.toml"))
SECONDS = 20.0  # that the tests of one fault may take
HANGS_S = 10  # a test that takes longer fails
PYTEST = (
    sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-rfE", "-p", "no:cacheprovider", f"--timeout={HANGS_S}",
)  # fmt: skip
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "state", "node_modules")


class Mutant(NamedTuple):
    """One fault: its table and module, the text that is replaced, and the test files that look for it."""

    table: str
    module: str
    fault: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str


def read_mutants(tables: list[Path] = TABLES) -> list[Mutant]:
    """Return the faults of these tables."""
    return [
        Mutant(
            table.stem,
            module,
            one["fault"],
            one["old"],
            one["new"],
            tuple(dict.fromkeys([*one.get("also", ()), _tests_of(module)])),
            one.get("survives", ""),
        )
        for table in tables
        for module, faults in tomllib.loads(table.read_text()).items()
        for one in faults
    ]


def _tests_of(module: str) -> str:
    """Return the test file of a module, from tests/."""
    found = next((file for file in files_of(Path(module)) if file.exists()), None)
    return str(found.relative_to(ROOT / "tests")) if found else ELSEWHERE[module]


class Copy:
    """A copy of the tree, in which one fault after the other is put."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        shutil.copytree(ROOT, self.root, ignore=NOT_COPIED)
        self._edits = 0
        self._sound: set[str] = set()  # tests that pass without a fault

    def find(self, mutant: Mutant, seconds: float) -> tuple[str, str]:
        """Return how the tests ended with a fault, and the test that found it: one that passes without the fault."""
        file = self.root / mutant.module
        sound = file.read_text()
        if sound.count(mutant.old) != 1:
            return "does not fit", "the code has changed: change the fault too, or take it out"
        try:
            self._write(file, sound.replace(mutant.old, mutant.new, 1))
            until = time.monotonic() + seconds
            for tests in mutant.tests:
                how, test = self.run(tests, until - time.monotonic())
                if how != "survived":
                    break
        finally:
            self._write(file, sound)
        if how == "caught" and test not in self._sound:
            if self.run(test, seconds)[0] != "survived":
                return "no answer", f"{test} fails without the fault too"
            self._sound.add(test)
        return how, test

    def _write(self, file: Path, text: str) -> None:
        """Write a file with a time of its own: compiled modules are known by time and size alone."""
        file.write_text(text)
        self._edits += 1
        os.utime(file, (self._edits, self._edits))

    def run(self, tests: str, seconds: float) -> tuple[str, str]:
        """Run a file of tests, or one test, until one fails. Return "caught", "survived" or "no answer", and the test
        that failed."""
        paths = f"{self.root}{os.pathsep}{self.root / 'client'}"
        base = self.root.parent / "pytest"
        process = subprocess.Popen(
            [*PYTEST, f"--basetemp={base}", f"tests/{tests}"],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return "no answer", f"{tests} in {seconds:.0f} s"
        finally:
            _end_group(process)
        failed = re.search(r"^(?:FAILED|ERROR) tests/(.+?)(?: - |$)", said, re.MULTILINE)
        if process.returncode == 0:
            return "survived", ""
        return "caught", failed[1] if failed else said.strip().rpartition("\n")[2][:100]


def _end_group(process: "subprocess.Popen[str]") -> None:
    """End the tests and the daemons that they have started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def find_all(mutants: list[Mutant], seconds: float, at_once: int) -> Iterator[tuple[Mutant, str, str]]:
    """Yield each fault with how its tests ended, in the order of the tables."""
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        copies: Queue[Copy] = Queue()
        for number in range(at_once):
            (Path(folder) / str(number)).mkdir()
            copies.put(Copy(Path(folder) / str(number)))

        def find(mutant: Mutant) -> tuple[Mutant, str, str]:
            copy = copies.get()
            try:
                return mutant, *copy.find(mutant, seconds)
            finally:
                copies.put(copy)

        with ThreadPoolExecutor(at_once) as pool:
            yield from pool.map(find, mutants)


def main(arguments: list[str]) -> int:
    """Look for all faults of the tables that are named, and print how each ended. Return 1 if one was not expected."""
    parser = argparse.ArgumentParser(prog="make mutants")
    parser.add_argument("tables", nargs="*", help="dream, engine, store, inbox, wire, client; all by default")
    parser.add_argument("--only", default="", help="faults whose text or module holds this")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--at-once", type=int, default=2)
    asked = parser.parse_args(arguments)
    mutants = [
        mutant
        for mutant in read_mutants()
        if mutant.table in (asked.tables or [mutant.table])
        and asked.only in f"{mutant.module} {mutant.fault}"
    ]
    began, found = time.monotonic(), Counter[str]()
    unexpected = 0
    for mutant, how, test in find_all(mutants, asked.seconds, asked.at_once):
        if how != "caught" and mutant.survives:
            how, test = "not caught, as expected", mutant.survives
        found[how] += 1
        unexpected += how in ("survived", "no answer", "does not fit")
        print(f"{how}: {mutant.module}: {mutant.fault}\n    {test}", flush=True)
    counts = ", ".join(f"{count} {how}" for how, count in sorted(found.items()))
    print(f"{len(mutants)} faults in {time.monotonic() - began:.0f} s: {counts}")
    return bool(unexpected)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
