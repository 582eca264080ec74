"""A slice of the sweep: some calls of each kind fail, each with one of its errors."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.sweep import faults, run, scenario

FAULTS = 20  # three seconds
SEED = 1


def test_p2_p3_p5_p6_p7_p10_hold_when_a_call_fails(record_property: Callable[[str, Any], None]) -> None:
    broken, fired = {}, 0
    for fault in run.choose(SEED, FAULTS):
        outcome = run.run_one(*fault)
        fired += bool(outcome.failed)
        if outcome.broken:
            broken[fault] = outcome.broken
    assert broken == {}, f"seed {SEED}: make sweep ARGS='--only KIND --nth N --error E' runs one of them"
    assert fired > 0.9 * FAULTS
    record_property("failed calls", f"{fired}, seed {SEED}")


def test_each_kind_of_call_is_in_the_scenario() -> None:
    calls = run.run_one("", 0, "").calls
    assert {kind: calls[kind] for kind in faults.ERRORS if not calls[kind]} == {}


def test_finds_a_failure_that_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """P10: a failed sync that is swallowed and not counted."""
    monkeypatch.setattr(scenario.Scenario, "_look", lambda *_: None)
    broken = [run.run_one("fsync", nth, "EIO").broken for nth in (2, 3)]
    assert any("nothing shows that fsync failed" in each for each in broken)
