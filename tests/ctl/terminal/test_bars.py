"""Measures drawn in characters."""

from dreamd.ctl.terminal.bars import draw_bar, draw_chart, draw_measures


def test_a_bar_is_as_long_as_its_value_and_fills_its_cells() -> None:
    assert [draw_bar(value, 4) for value in (0, 0.03, 0.5, 0.53, 1, 7, -1)] == [
        "····", "▏···", "██··", "██▏·", "████", "████", "····",
    ]  # fmt: skip
    assert [draw_bar(value, 4, plain=True) for value in (0, 0.3, 1)] == ["....", "#...", "####"]


LINE = {"novelty": 0.5, "arousal": 1.0, "entropy": None, "trauma": 0.0}


def test_measures_are_side_by_side_if_there_is_room() -> None:
    assert draw_measures(LINE, 80, "  ").splitlines() == [
        "  novelty ███··· 0.50  arousal ██████ 1.00  trauma ······ 0.00"
    ]
    assert draw_measures(LINE, 20, "", plain=True).splitlines() == [
        "novelty ###... 0.50",
        "arousal ###### 1.00",
        "trauma ...... 0.00",
    ]
    assert draw_measures({}, 80, "") == ""


def test_a_chart_has_an_axis_from_0_to_a_round_number() -> None:
    assert draw_chart([0.0, 0.05, 0.1, 0.2], 18, 2) == ["0.20 │         ███", "0.00 │   ▄▄▄██████"]
    assert draw_chart([0.0, 0.05, 0.1, 0.2], 18, 2, plain=True) == [
        "0.20 |         ###",
        "0.00 |   ...######",
    ]
    assert draw_chart([], 18, 2) == ["0.05 │", "0.00 │"]
    assert draw_chart([7.0], 9, 1) == ["1.00 │███"]


def test_too_many_values_become_means() -> None:
    (row,) = draw_chart([0.0, 1.0] * 500, 16, 1)
    assert row == "1.00 │" + "▄" * 10
