"""The clock: any moment has a day, whatever a clock says."""

from math import inf, nan

from dreamd.clock import day_name, day_number


def test_names_the_day_of_any_moment() -> None:
    assert day_name(day_number(1_796_000_000.0)) == "2026-11-30"
    assert [day_name(day_number(at)) for at in (-1.0, 0.0, inf, nan)] == ["1970-01-01"] * 4
    assert day_name(day_number(1e300)) == "9999-12-31"
