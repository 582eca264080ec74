"""`drift`: how far the friend is from his origin."""

import json
import time
from pathlib import Path

from dreamd.ctl.commands.drift import show_drift
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.dreamctl import dreamctl

NOW = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))


DRIFT = [
    {"id": 12, "at": NOW - 60, "drift": 0.18},
    {"id": 11, "at": NOW - 120, "drift": 0.2},
    {"id": 9, "at": NOW - 90000, "drift": 0.0},
]


def test_drift_as_a_chart_with_its_ends_in_words() -> None:
    shown = show_drift(DRIFT, 80, NOW).splitlines()
    rows, words = shown[:8], " ".join(shown[9:])
    assert rows[0] == "0.20 │   ███▂▂▂"
    assert rows[-1] == "0.00 │   ██████"
    assert words == (
        "From dialogue 9 (2025-03-03 11:00) to 12 (11:59:00): 0.00 to 0.18, farthest 0.20 after 11."
    )
    narrow = show_drift(DRIFT * 50, 40, NOW, plain=True)
    assert max(map(len, narrow.splitlines())) <= 40
    assert narrow.isascii()
    assert show_drift(DRIFT[:1], 80, NOW) == "0.18 after dialogue 12 (11:59:00). A chart needs two."
    assert show_drift([], 80, NOW) == "No dialogue has spoken yet."


def test_drift_that_stays_at_the_origin_is_a_sentence() -> None:
    still = [each | {"drift": each["drift"] / 50} for each in DRIFT]
    assert show_drift(still, 200, NOW) == (
        "From dialogue 9 (2025-03-03 11:00) to 12 (11:59:00) the friend stayed at his origin: the drift is 0.00 after "
        "each."
    )
    assert max(map(len, show_drift(still, 40, NOW).splitlines())) <= 40


def test_shows_the_drift_of_a_daemon(socket: Path) -> None:
    with LittleDaemon(socket, {"friend.drift": lambda _, params: DRIFT[: params[0]]}):
        answer = dreamctl("--socket", socket, "drift", "-n", 2, "--json")
        assert (answer.exit_code, json.loads(answer.stdout)) == (0, DRIFT[:2])
        assert "0.20 │" in dreamctl("--socket", socket, "drift", TERM="dumb").stdout  # into a pipe
