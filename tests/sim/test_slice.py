"""A slice of the simulation, the proof that it replays exactly, and that it finds faults which are put in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dreamd.engine.dialogue_run import DialogueRun
from dreamd.inbox.folder import writing
from tests.sim.files import SimFiles
from tests.sim.history import make_history
from tests.sim.run import run_history
from tests.sim.shrink import report, shrink

SEEDS = range(1, 51)  # six seconds of processor
LONGEST = 400  # runs in which each of the faults below is found
MOST_EVENTS = 40  # of a history that is made short here: a longer one takes many runs, and may stay long


def test_p2_p3_p4_p5_p6_p7_p8_p11_p12_p13_hold_in_simulated_histories(record_property):
    lines = 0
    for seed in SEEDS:
        outcome = run_history(make_history(seed))
        assert outcome.failure is None, f"make sim SEED={seed} RUNS=1: {outcome.failure}"
        lines += outcome.checks["lines"]
    record_property("simulated histories", f"{len(SEEDS)}, with {lines} lines of dialogues")
    assert lines > 5 * len(SEEDS)


def test_a_history_is_the_same_in_every_process():
    command = [sys.executable, "-m", "tests.sim.run", "--seed", "4", "--runs", "3", "--verbose"]
    root = Path(__file__).parents[2]
    other = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    hashes = [run_history(make_history(seed)).hash for seed in (6, 5, 4, 4, 5, 6)]
    assert hashes[:3] == hashes[:2:-1]
    assert [line.split()[1] for line in other.stdout.splitlines()[:3]] == hashes[3:]


def _record_later(run, line):
    """Observe before it is recorded."""
    return run.tell("line", text=line.text) or _nothing()


async def _nothing():
    pass


def _move_without_sync(folder, trace_id, number, wall_s):
    """Acknowledge, and leave it to chance when it is on disk."""
    name = writing.part_name(trace_id, number)
    folder.files.rename(name, folder.main, name, folder.done)
    return name


FAULTS = {
    "P2": (DialogueRun, "_record", _record_later),
    "P5": (writing, "_move_to_done", _move_without_sync),
    "P6": (SimFiles, "fsync", lambda *_: None),
}


@pytest.mark.parametrize("promise", FAULTS)
def test_finds_a_fault_and_makes_its_history_short(monkeypatch, promise):
    monkeypatch.setattr(*FAULTS[promise])
    outcomes = (run_history(make_history(seed)) for seed in range(1, LONGEST))
    failed = (each for each in outcomes if each.failure and each.failure.promise == promise)
    outcome = next(each for each in failed if len(each.history.events) <= MOST_EVENTS)
    again = run_history(outcome.history)
    assert (again.hash, str(again.failure)) == (outcome.hash, str(outcome.failure))
    short = shrink(outcome.history, promise, run_history)
    assert len(short.events) <= 8 < len(outcome.history.events)
    assert f"{promise}: " in report(outcome, run_history)
