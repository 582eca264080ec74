"""Every swallowed failure is counted with its reason (P10), bounded (P11), and without text (P14)."""

import pytest

from dreamd.failures import KINDS, LAST, OTHER, TIMES, Failures, hook_failure
from tests.helpers.daemons.in_loop import START, TestClock


@pytest.fixture
def time():
    return TestClock()


@pytest.fixture
def failures(time):
    return Failures(time.clock)


def test_p10_counts_failures_by_place_and_reason_and_keeps_the_last_with_times(failures, time):
    failures.count("generate", "TypeError", place="session 1")
    time.pass_s(1)
    failures.count("generate", "TypeError", place="session 1")
    failures.count("store", "locked")
    assert failures.counts == {"generate: TypeError": 2, "store: locked": 1}
    assert list(failures.last) == [
        {"type": "TypeError", "where": "generate (session 1)", "times": 2, "at": START + 1},
        {"type": "locked", "where": "store", "times": 1, "at": START + 1},
    ]


def test_p11_the_kinds_and_the_last_ones_are_bounded(failures):
    for number in range(KINDS + 100):
        failures.count("host", f"kind{number}")
    failures.count("host", "kind0")
    assert len(failures.counts) == KINDS + 1
    assert failures.counts[f"host: {OTHER}"] == 100
    assert failures.counts["host: kind0"] == 2
    assert len(failures.last) == LAST
    failures.count("generate", "TypeError")  # what one place is full of costs no other its kinds
    assert failures.counts["generate: TypeError"] == 1


def test_bounds_the_counts_that_a_host_reports(failures):
    failures.from_host({"full": 3, "none": 0, "the sea is quiet": 2, "x" * 65: 1, "huge": 1 << 64})
    assert failures.counts == {"host: full": 3, "host: other": 3, "host: huge": TIMES}


@pytest.mark.parametrize(
    ("message", "detail", "kind", "place"),
    [
        (
            "generate raised TypeError",
            {"type": "TypeError", "where": "leo.py:42 in reply"},
            "TypeError",
            "leo.py:42 in reply",
        ),
        ("TypeError: no such word", {}, "TypeError", ""),
        ("sqlite3.OperationalError: locked", {}, "sqlite3.OperationalError", ""),
        ("ValueErrors are many", {}, "error", ""),
        ("the river speaks", {}, "error", ""),
        ("the river", {"type": "the river speaks", "where": "the river speaks of snow"}, "error", ""),
        ("the river", {"type": 5, "where": 6}, "error", ""),
        ("a" * 100 + "Error", {"type": "b" * 65, "where": "leo.py:42 in reply: the river"}, "a" * 64, ""),
        ("x", {"type": "E", "where": "generate"}, "E", "generate"),
        ("x", {"type": "E", "where": "<string>:1 in <lambda>"}, "E", "<string>:1 in <lambda>"),
        ("x", {"type": "E", "where": "leo.py:1 in a\n"}, "E", ""),
    ],
)
def test_p14_of_a_hooks_error_only_its_type_and_place_are_kept(message, detail, kind, place):
    assert hook_failure(message, detail) == (kind, place)


def test_a_megabyte_of_message_is_read_in_linear_time():
    assert hook_failure("E" * (1 << 20), {}) == ("error", "")
    assert hook_failure("Error" * (1 << 18) + "!", {})[0] == "Error" * 12 + "Erro"
