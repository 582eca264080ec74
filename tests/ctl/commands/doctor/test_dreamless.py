"""The doctor on a leo who is connected, replies, and does not dream."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from dreamd.ctl.commands.doctor.daemon import Answers
from dreamd.ctl.commands.doctor.database import Database
from dreamd.ctl.commands.doctor.dreaming import DREAMLESS, check_leo
from dreamd.dream.gate import Decision
from dreamd.store.writes import keep_decisions
from tests.helpers.dreamctl import dreamctl

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


def test_counts_replies_that_are_stored_if_no_daemon_answers(state: Path) -> None:
    calm = Decision(at=NOW, dream=False, reason="calm")
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database, database:
        keep_decisions(database, [calm] * DREAMLESS, {})
    shown = " ".join(dreamctl("--state-dir", state, "doctor").stdout.split())
    assert f"and {DREAMLESS} replies: {DREAMLESS} calm" in shown
