"""`friend restore --before`: the friend as he was before a dialogue."""

import pytest

from tests.ctl.commands.friend.conftest import Ask
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


@pytest.mark.usefixtures("restored")
def test_restores_the_friend_before_a_dialogue_and_takes_it_back(dreamt: DaemonProcess, ask: Ask) -> None:
    now = ask()
    told = " ".join(
        dreamctl("--state-dir", dreamt.state_dir, "friend", "restore", "--before", 2).stdout.split()
    )
    assert told.startswith("Restored: 2 fragments, 1 of them origin, drift ")
    assert ask("diff", "2", "now")["same"] == 2
    assert ask("restore", "--before", "last")["missing"] == 0
    assert ask("diff", "last", "now")["changed"] == []
    ask("restore", "previous~2")
    assert [(each["text"], each["weight"]) for each in ask()] == [
        (each["text"], each["weight"]) for each in now
    ]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ([], 2, "name a checkpoint, or a dialogue with --before"),
        (["monday", "--before", "2"], 2, "name a checkpoint, or a dialogue with --before"),
        (["--before", "99"], 4, "no dialogue 99"),
    ],
)
def test_refuses_none_and_both_and_an_unknown_dialogue(
    dreamt: DaemonProcess, words: list[str], code: int, why: str
) -> None:
    result = dreamctl("--state-dir", dreamt.state_dir, "friend", "restore", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert why in result.stderr
