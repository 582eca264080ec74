"""`friend drop`: by the numbers that `friend` shows, never the origin."""

import pytest

from tests.ctl.commands.friend.conftest import Ask
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


@pytest.mark.usefixtures("restored")
def test_drops_several_fragments_and_says_how_to_undo_it(dreamt: DaemonProcess, ask: Ask) -> None:
    before = ask()
    numbers = [each["id"] for each in before if not each["origin"]][:2]
    shown = dreamctl("--state-dir", dreamt.state_dir, "friend").stdout
    assert all(f"\n{number}  " in f"\n{shown}" for number in numbers)
    dropped = dreamctl("--state-dir", dreamt.state_dir, "friend", "drop", *numbers, numbers[0])
    told = " ".join(dropped.stdout.split())
    assert told.startswith(f"Dropped: {len(before) - 2} fragments, 1 of them origin, drift ")
    assert "0 came, 2 went." in told
    assert "friend restore previous` takes this back." in told
    assert "friend diff previous` shows what changed." in told
    assert ask() == [each for each in before if each["id"] not in numbers]
    back = dreamctl("--state-dir", dreamt.state_dir, "friend", "restore", "previous").stdout
    assert "Dropped earlier, and back now: 2." in " ".join(back.split())


@pytest.mark.parametrize(
    ("numbers", "code", "why"),
    [
        ((1,), 4, "fragment 1 is of the origin, which stays; `dreamctl friend reseed` replaces the origin"),
        ((999,), 4, "the friend has no fragment 999; `dreamctl friend -n 0` shows their numbers"),
        ((), 2, "Missing argument"),
        ((0,), 2, "0 is not in the range"),
        (("last",), 2, "'last' is not a valid number"),
    ],
)
def test_refuses_what_it_cannot_drop_and_changes_nothing(
    dreamt: DaemonProcess, ask: Ask, numbers: tuple[object, ...], code: int, why: str
) -> None:
    before = ask()
    learned = [each["id"] for each in before if not each["origin"]][: len(numbers)]
    result = dreamctl("--state-dir", dreamt.state_dir, "friend", "drop", *learned, *numbers)
    assert (result.exit_code, result.stdout) == (code, "")
    assert why in result.stderr.replace(f" --state-dir {dreamt.state_dir}", "")  # in a command to copy
    assert ask() == before
