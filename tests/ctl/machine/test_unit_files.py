"""The program that a unit starts."""

import pytest

from dreamd.ctl.machine.unit_files import start_words


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ('ExecStart="/a b/100%%/python" -m dreamd', "/a b/100%/python"),
        ("ExecStart=/x -m dreamd", "/x"),
        ('ExecStart="/not closed', ""),
        ("", ""),
    ],
)
def test_reports_a_missing_or_other_interpreter_of_a_unit(text, program):
    assert "".join(start_words(text)[:1]) == program
