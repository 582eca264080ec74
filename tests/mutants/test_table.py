"""The tables of faults fit the code, and the search for them tells what is caught from what survives."""

from pathlib import Path
from typing import Any

import pytest

from tests.mutants import run
from tests.mutants.run import Mutant, read_mutants

LEAST = 200  # faults
MISFITS = 10


def test_nearly_every_fault_fits_its_module_once() -> None:
    """After a change of the code, change the fault in its table too, or take it out. A few may wait for that."""
    mutants = read_mutants()
    fitting = {mutant.fault: (run.ROOT / mutant.module).read_text().count(mutant.old) for mutant in mutants}
    misfits = {fault: times for fault, times in fitting.items() if times != 1}
    assert len(misfits) <= MISFITS, misfits
    assert len(mutants) >= LEAST


def test_each_faulty_module_is_still_python() -> None:
    for mutant in read_mutants():
        text = (run.ROOT / mutant.module).read_text()
        compile(text.replace(mutant.old, mutant.new), mutant.module, "exec")


def test_each_named_test_file_is_there() -> None:
    named = {test.partition("::")[0] for mutant in read_mutants() for test in mutant.tests}
    assert [test for test in named if not (run.ROOT / "tests" / test).exists()] == []


@pytest.mark.parametrize(("new", "how"), [("expiry < now_s", "caught"), ("expiry  <=  now_s", "survived")])
def test_tells_what_is_caught_from_what_survives(tmp_path: Path, new: str, how: str) -> None:
    tests = ("inbox/test_capability.py",)
    mutant = Mutant("inbox", "dreamd/inbox/capability.py", "a late token", "expiry <= now_s", new, tests, "")
    copy = run.Copy(tmp_path)
    found, test = copy.find(mutant, 60)
    assert (found, test.partition("::")[0]) == (how, tests[0] if how == "caught" else "")
    module = (copy.root / mutant.module).read_text()
    assert module == (run.ROOT / mutant.module).read_text()


def test_ends_the_search_that_hangs(tmp_path: Path) -> None:
    new = "__import__('time').sleep(60)"
    tests = ("inbox/test_capability.py",)
    mutant = Mutant("inbox", "dreamd/inbox/capability.py", "a hang", "expiry <= now_s", new, tests, "")
    assert run.Copy(tmp_path).find(mutant, 1.0)[0] == "no answer"


def test_a_survivor_without_a_reason_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mutants = [
        mutant._replace(survives="no need" if n else "") for n, mutant in enumerate(read_mutants()[:2])
    ]
    ends: list[Any] = [(mutant, "survived", "") for mutant in mutants]
    monkeypatch.setattr(run, "find_all", lambda *_: ends)
    assert run.main([]) == 1
    ends.pop(0)
    assert run.main([]) == 0
    assert "1 not caught, as expected" in capsys.readouterr().out
