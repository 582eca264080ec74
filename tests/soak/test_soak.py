"""A slice of `make soak`: three days, and what counts as growth."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.soak import run
from tests.soak.run import Sample, growths, live

FIRST = Sample(
    day=36, dreams=360, database_kib=1000, inbox_files=300, inbox_kib=700, memory_mib=50.0, descriptors=20, tasks=5,
    threads=9, log_lines=0, status_ms=1.0, start_ms=300.0,
)  # fmt: skip


async def test_p4_three_days_of_dreams_leave_the_origin_whole_and_only_what_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P4, and the bounds of database and inbox, with the machine's own figures left out."""
    monkeypatch.setattr(run, "_start_ms", lambda folder: 1.0)
    state = tmp_path / "s"
    state.mkdir()
    samples = await live(state, 3, 3, False, lambda _: None, store__keep_days=1, inbox__keep=4)
    assert [sample.inbox_files for sample in samples] == [3, 4, 4]
    assert samples[-1].database_kib < 1.5 * samples[1].database_kib
    assert {sample.log_lines for sample in samples} == {0}
    assert samples[-1].descriptors <= samples[0].descriptors + 2


@pytest.mark.parametrize(
    ("figure", "flat", "grown"),
    [
        ("database_kib", 1200, 1300), ("inbox_files", 370, 380), ("memory_mib", 57.0, 58.0), ("descriptors", 22, 23),
        ("tasks", 7, 8), ("threads", 10, 11), ("log_lines", 0, 1), ("status_ms", 7.0, 8.0), ("start_ms", 600.0, 601.0),
    ],
)  # fmt: skip
def test_tells_what_grew_after_the_first_tenth(figure: str, flat: float, grown: float) -> None:
    assert growths([FIRST, replace(FIRST, **{figure: flat})]) == []
    [told] = growths([FIRST, replace(FIRST, **{figure: grown})])
    assert told == f"{figure} grew from {getattr(FIRST, figure)} to {grown}"
