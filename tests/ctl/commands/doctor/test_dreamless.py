"""The doctor on a leo who is connected, replies, and does not dream."""

from typing import Any

from dreamd.ctl.commands.doctor.daemon import Answers
from dreamd.ctl.commands.doctor.database import Database
from dreamd.ctl.commands.doctor.dreaming import DREAMLESS, check_leo

NOW, DAY_S = 1_800_000_000.0, 86_400.0


def decisions(**counts: int) -> tuple[dict[str, Any], ...]:
    """Return so many decisions of each reason, newest first."""
    return tuple(
        {"at": NOW - DAY_S, "dream": reason == "dream", "reason": reason}
        for reason, count in counts.items()
        for _ in range(count)
    )


def said(*made: dict[str, Any], latest: float | None = None) -> list[str]:
    dialogs = () if latest is None else ({"started_at": latest, "lines": 4, "outcome": "complete"},)
    return [
        found.text
        for found in check_leo(Answers(decisions=made), Database("/d", latest=dialogs), NOW)
        if found.text.startswith("no dream")
    ]


def test_many_replies_without_a_dream_are_a_warning() -> None:
    made = decisions(calm=170, chance=44)
    assert said(*made) == ["no dream in 214 replies: 170 calm, 44 chance"]
    assert said(*made, latest=NOW - 9 * DAY_S) == ["no dream for 9.0 d and 214 replies: 170 calm, 44 chance"]


def test_those_before_the_last_dream_do_not_count() -> None:
    assert said(*decisions(calm=DREAMLESS - 1, dream=1, chance=99)) == []
    found = said(*decisions(calm=DREAMLESS, dream=1, chance=99), latest=NOW - 9 * DAY_S)
    assert found == [f"no dream for 1.0 d and {DREAMLESS} replies: {DREAMLESS} calm"]


def test_few_replies_say_nothing() -> None:
    assert said() == []
    assert said(*decisions(calm=DREAMLESS - 1)) == []
