"""Two leos that dream with one friend are reported, with what to do about it."""

import pytest

from dreamd.ctl.commands.doctor.daemon import Answers
from dreamd.ctl.commands.doctor.database import Database
from dreamd.ctl.commands.doctor.dreaming import check_leo

NOW = 1_800_000_000.0
DAY_S = 86_400


def session(name: str, pid: int = 7, *provides: str) -> dict[str, object]:
    return {"name": name, "pid": pid, "provides": provides or ("generate", "observe"), "mute_s": 0.0}


def dialog(client: str | None, ago_s: float = 60.0) -> dict[str, object]:
    return {"client": client, "started_at": NOW - ago_s, "outcome": "complete", "lines": 3, "note": None}


def warned(sessions: list[dict[str, object]], *dialogs: dict[str, object]) -> list[tuple[str, str]]:
    found = check_leo(Answers({"sessions": sessions}), Database("/d", latest=dialogs), NOW)
    return [(one.text, one.advice) for one in found if one.level == "WARN" and "one friend" in one.text]


@pytest.mark.parametrize(
    ("sessions", "dialogs", "who"),
    [
        ([session("leo"), session("maria", 8)], [], "leo and maria dream"),
        ([session("leo")], [dialog("leo"), dialog("maria")], "leo and maria dream"),
        ([], [dialog("a"), dialog("b"), dialog("c")], "a, b and c dream"),
        ([session("leo"), session("leo", 8)], [], "2 processes named leo dream"),
    ],
)
def test_warns_of_two_leos_with_one_friend(
    sessions: list[dict[str, object]], dialogs: list[dict[str, object]], who: str
) -> None:
    [(text, _)] = warned(sessions, *dialogs)
    assert text.startswith(who)


@pytest.mark.parametrize(
    ("sessions", "dialogs"),
    [
        ([session("leo"), session("leo")], [dialog("leo")]),  # one process that has connected twice
        ([session("leo"), session("dreamctl", 9)], [dialog("dreamctl"), dialog(None)]),
        ([session("leo"), session("viewer", 9, "recall")], []),
        ([session("leo")], [dialog("an earlier name", 2 * DAY_S)]),
        ([], []),
    ],
)
def test_is_silent_about_one_leo(sessions: list[dict[str, object]], dialogs: list[dict[str, object]]) -> None:
    assert warned(sessions, *dialogs) == []


@pytest.mark.parametrize(
    ("name", "instance"), [("maria", "--instance maria`"), ("two words", "--instance NAME`")]
)
def test_says_how_to_give_each_a_daemon(name: str, instance: str) -> None:
    [(_, advice)] = warned([session("leo"), session(name, 8)])
    assert instance in advice
    assert "DREAMD_STATE_DIR" in advice
