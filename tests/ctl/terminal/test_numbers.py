"""What is said of a number that an option does not take."""

import pytest

from tests.helpers.dreamctl import dreamctl


@pytest.mark.parametrize(
    ("command", "given", "wrong"),
    [
        ("recent", "abc", "'abc' is not a valid number."),
        ("recent", "0", "0 is not in the range 1 to 1000."),
        ("friend", "-1", "-1 is not in the range 0 or more."),
    ],
)
def test_a_wrong_number_is_told_in_words(command: str, given: str, wrong: str) -> None:
    told = dreamctl(command, "-n", given)
    assert (told.exit_code, told.stdout) == (2, "")
    assert told.stderr.endswith(f"Error: Invalid value for '-n': {wrong}\n")


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "1e5", "soon"])
@pytest.mark.parametrize(
    "command", [("host", "--timeout", "true"), ("call", "--timeout", "why"), ("call", "--cmd-timeout", "why")]
)
def test_wrong_seconds_are_told_in_words(command: tuple[str, str, str], given: str) -> None:
    name, option, last = command
    told = dreamctl(name, option, given, last)
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"Error: Invalid value for '{option}': expected seconds above 0, at most " in told.stderr


def test_the_help_names_the_range() -> None:
    shown = " ".join(dreamctl("recent", "--help").stdout.split())
    assert "-n NUMBER How many. [default: 10; 1 to 1000]" in shown
