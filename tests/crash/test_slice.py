"""A slice of the kill loop, and the proof that it finds what a crash breaks."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.crash.ledger import Broken, Ledger

ROOT = Path(__file__).parents[2]
KILLS = 12  # six seconds


def test_p2_p3_p5_p6_p7_hold_after_each_kill(record_property: Callable[[str, Any], None]) -> None:
    command = [sys.executable, "-m", "tests.crash.run", "--kills", str(KILLS), "--seed", "1"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, f"make crash N={KILLS} SEED=1: {ended.stdout}{ended.stderr}"
    first, _, seen, *_ = ended.stdout.splitlines()
    record_property("kills", f"{first}; {seen.strip()}")
    assert f"{KILLS} kills" in first


@pytest.mark.parametrize(
    ("lines", "promise"),
    [
        ('["observed", "t", 1, "so"]\n["observed", "t", 1, "so"]\n', "P3"),
        ('["observed", "t", 1, "so"]\n', "P2"),
        ('["accepted", "w1", 1, "so"]\n', "P7"),
        ('["acknowledged", "w1.json", [1]]\n', "P7"),
    ],
)
def test_the_ledger_misses_what_is_gone(tmp_path: Path, lines: str, promise: str) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "ledger").write_text(lines)
    with pytest.raises(Broken, match=promise):
        Ledger(tmp_path / "ledger").check(tmp_path / "s")
