"""`friend diff`: what came, what went, whose weight changed, with a daemon and without."""

from pathlib import Path

import pytest

from dreamd.ctl.commands.friend.diff import compare_friends, show_difference
from tests.ctl.commands.friend.conftest import Ask, copied
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


def fragment(text: str, weight: float, origin: bool = False, dialog: int | None = None) -> dict[str, object]:
    return {"id": 1, "text": text, "weight": weight, "origin": origin, "dialog": dialog, "added_at": 0.0}


FOUND = compare_friends(
    [fragment("I am small", 1.0, True), fragment("a\x1b[2J door, which stands at the end", 0.05, dialog=2),
     fragment("we both do", 0.3, dialog=3), fragment("the rain", 0.2), fragment("", 0.1)],
    [fragment("I am small", 0.99, True), fragment("we both do", 0.6, dialog=3), fragment("the rain", 0.2),
     fragment("who keeps the roof", 0.3, dialog=12)],
)  # fmt: skip


def test_difference_at_80_and_at_40_columns() -> None:
    assert show_difference(FOUND, 80, 0).splitlines() == [
        "+ 0.300  from 12    who keeps the roof",
        "- 0.050  from 2     a [2J door, which stands at the end",
        "~ 0.300 to 0.600  from 3     we both do",
        "~ 1.000 to 0.990  origin     I am small",
        "",
        "1 came, 1 went, 2 changed in weight, 1 stayed as they were. Forgotten since: 1.",
    ]
    assert show_difference(FOUND, 40, 1).splitlines() == [
        "+ 0.300  who keeps the roof",
        "- 0.050  a [2J door, which stands at the",
        "         end",
        "~ 0.300 to 0.600  we both do",
        "~ 1 more with -n 0",
        "",
        "1 came, 1 went, 2 changed in weight, 1",
        "stayed as they were. Forgotten since: 1.",
    ]


def test_a_learned_text_that_became_origin_went_and_came() -> None:
    found = compare_friends([fragment("we", 0.3)], [fragment("we", 1.0, True)])
    assert (len(found.came), len(found.went), found.changed, found.same) == (1, 1, [], 0)
    assert show_difference(compare_friends([], []), 80, 0) == "Nothing differs."


def test_compares_dialogues_checkpoints_and_now(ask: Ask) -> None:
    now, monday = ask(), ask("diff", "monday", "4")
    assert (monday["a"], monday["b"]) == (
        {"checkpoint": "monday", "dialog": None},
        {"checkpoint": None, "dialog": 4},
    )
    assert (monday["came"], monday["went"], monday["changed"]) == ([], [], [])  # nothing happened in between
    since = ask("diff", "1")
    assert [each["text"] for each in since["came"]] == [each["text"] for each in now if not each["origin"]]
    assert [(each["before"], each["after"]) for each in since["changed"]] == [(1.0, now[0]["weight"])]
    assert ask("diff", "now", "1")["went"] == since["came"]
    assert ask("diff") == ask("diff", "last", "now") == ask("diff", "4")
    assert [len(ask("diff", "1", "-n", count)["came"]) for count in (1, 2, 0)] == [1, 2, len(since["came"])]


def test_says_the_same_without_a_daemon(dreamt: DaemonProcess, ask: Ask, tmp_path: Path) -> None:
    state = copied(dreamt, tmp_path / "copy")
    for moments in ([], ["1", "now"], ["monday", "last"]):
        with_one = dreamctl("--state-dir", dreamt.state_dir, "friend", "diff", *moments)
        without = dreamctl("--state-dir", state, "friend", "diff", *moments)
        assert (without.exit_code, without.stdout) == (0, with_one.stdout)
        assert "No daemon answers" in without.stderr


@pytest.mark.parametrize(
    ("moment", "code", "why"),
    [
        ("tuesday", 4, "'tuesday' is no checkpoint (`dreamctl friend checkpoint` lists them), no dialogue"),
        ("99", 4, "no dialogue 99; `dreamctl recent` lists them"),
        ("dream-1-2-ffffffff", 4, "no dialogue 2"),
        ("0", 2, "no dialogue has such a number"),
        ("", 4, "'' is no checkpoint"),
    ],
)
def test_refuses_what_is_no_moment(dreamt: DaemonProcess, moment: str, code: int, why: str) -> None:
    result = dreamctl("--state-dir", dreamt.state_dir, "friend", "diff", moment)
    assert (result.exit_code, result.stdout) == (code, "")
    told = result.stderr.replace(f" --state-dir {dreamt.state_dir}", "")  # in a command to copy
    assert why in told or "no trace id" in told
