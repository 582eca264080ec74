"""`effect`: one sentence first, with a daemon and without one, and in the report."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from dreamd.clock import Clock
from dreamd.ctl.commands.effect import show_effect
from dreamd.ctl.commands.report.effect import effect_section
from dreamd.ctl.terminal.effect import effect_in_words
from dreamd.dream.gate import Decision, GateSettings
from dreamd.dream.trial import ComparedReply
from dreamd.store.store import Store
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl

NOW = time.mktime((2026, 11, 30, 22, 0, 0, 0, 0, -1))


def difference(measure: str, change: float, **more: Any) -> dict[str, Any]:
    judged = {"low": change - 0.0406, "high": change + 0.0406, "p": 0.5, "p_holm": 1.0, "differs": False}
    return {
        "measure": measure, "replies": 262, "dreamt": 0.812 + change, "without": 0.812, "difference": change,
        **judged, **more,
    }  # fmt: skip


UNKNOWN = dict.fromkeys(("dreamt", "without", "difference", "low", "high", "p", "p_holm"))
FOUND = {
    "client": "leo", "clients": {"leo": 262}, "chance": 0.5, "feed": True, "replies": 262, "dreamt": 131,
    "fed": 131, "needed": 130, "enough": True, "since": NOW - 9e6, "until": NOW - 60.0,
    "differences": [
        difference("novelty", -0.0101),
        difference("quality", 0.0001),
        difference("distinct_pairs", 0.065, p=0.001, p_holm=0.005, differs=True),
        difference("origin", 0.003, replies=90, low=None, high=None, p=None, p_holm=None),
        difference("from_dreams", 0.0, **UNKNOWN, replies=0),
    ],
}  # fmt: skip
AT_80 = """\
Replies after a dream held 8 % more distinct word pairs (3 to 13 %).

measure         change  95 % interval     after a dream  without  p
novelty         -0.010  -0.051 to +0.030  0.802          0.812    1.000
quality         0.000   -0.040 to +0.041  0.812          0.812    1.000
distinct pairs  +0.065  +0.024 to +0.106  0.877          0.812    0.005
origin          +0.003  too few: 90       0.815          0.812    -
from dreams     -       not known         -              -        -

Compared: replies of leo, 131 after a dream and 131 without one, 2026-08-18 18:00
to 21:59:00.
p is for all measures together: with 0.05 or less a change counts as a
difference."""


def found(**changed: Any) -> dict[str, Any]:
    return {**FOUND, **changed}


def calm() -> list[dict[str, Any]]:
    return [each | {"differs": False} for each in FOUND["differences"]]  # type: ignore[attr-defined]


def test_shows_the_answer_first_at_80_and_at_40_columns() -> None:
    shown = show_effect(found(until=NOW - 60), 80, NOW)
    assert shown.splitlines()[:8] == AT_80.splitlines()[:8]
    assert shown.splitlines()[-2:] == AT_80.splitlines()[-2:]
    narrow = show_effect(FOUND, 40, NOW)
    assert max(map(len, narrow.splitlines())) <= 40
    assert "+0.024 to +0.106" in narrow


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"differences": calm()}, "Over 262 replies, dreams changed nothing that can be told from chance."),
        ({"fed": 0}, "Of 131 dreams none fed a line to leo, so there is nothing to judge."),
        ({"replies": 34, "enough": False}, "Too few to judge: 34 of about 130 replies."),
        ({"replies": 0, "enough": False}, "Too few to judge: 0 of about 130 replies."),
        (
            {"replies": 0, "enough": False, "chance": 1.0},
            (
                "gate.chance is 1, so there is nothing to compare with. `dreamctl config set gate.chance 0.5`"
                " lets chance decide."
            ),
        ),
        (
            {"replies": 0, "enough": False, "feed": False},
            (
                "Dreams are not fed to leo, so there is nothing to compare. `dreamctl config set dialogue.feed true`"
                " feeds them."
            ),
        ),
        (
            {
                "differences": [
                    difference("from_dreams", 0.03, differs=True, without=0.0, low=0.01, high=0.05),
                    difference("quality", -0.0406, differs=True, low=-0.0812, high=-0.00406),
                ]
            },
            (
                "Replies after a dream held 3 percentage points more words from dreams (1 to 5 percentage points)."
                " Replies after a dream were 5 % worse by his own measure (0.5 to 10 %)."
            ),
        ),
    ],
)
def test_says_the_answer_in_a_sentence(changed: dict[str, Any], said: str) -> None:
    assert effect_in_words(found(**changed)) == said


def test_says_what_a_reader_must_know() -> None:
    few = found(replies=34, dreamt=18, fed=15, enough=False, since=NOW - 33 * 3600.0, until=NOW)
    shown = show_effect(few | {"clients": {"leo": 34, "eva": 2}}, 1000, NOW)
    assert "18 after a dream and 16 without one" in shown
    assert "If he goes on like this, there are enough in 4.0 d." in shown
    assert "Of the dreams 3 fed nothing in time. They count as dreams." in shown
    assert "Others have replies too: eva 2. `dreamctl effect --client NAME` shows them." in shown
    assert "measure" not in shown
    assert "after one in the cooldown, or with calm gates, it does not" in shown
    assert "in the cooldown" in show_effect(few | {"replies": 0}, 40, NOW).replace("\n", " ")
    hindered = show_effect(few | {"chance": 0.0}, 1000, NOW)
    assert "No reply is added now. gate.chance is 0," in hindered
    assert "enough in" not in hindered
    assert "cooldown" not in hindered + show_effect(FOUND, 1000, NOW)


def test_is_a_section_of_the_report() -> None:
    section = effect_section(found(client="<leo>"), NOW)
    assert "<p>Replies after a dream held 8 % more distinct word pairs (3 to 13 %).</p>" in section
    assert "<td>+0.024 to +0.106</td>" in section
    assert "&lt;leo&gt;" in section
    assert "could not be read" in effect_section(None, NOW)


def compared(number: int, client: str = "leo") -> ComparedReply:
    return ComparedReply(
        at=NOW + number, client=client, chance=0.5, dreamt=number % 3 > 0, fed=number % 3 > 1, novelty=0.5,
        quality=(number % 7) / 7, distinct_pairs=0.9, origin=0.1, from_dreams=None,
    )  # fmt: skip


async def kept(state: Path) -> None:
    state.mkdir(0o700)
    decision = Decision(at=NOW, dream=False, reason="chance", client="leo", gate=GateSettings(chance=1.0))
    async with await Store.open(state / "dream.sqlite3", clock=Clock()) as store:
        await store.keep_trial([compared(number) for number in range(140)] + [compared(1, "eva")])
        await store.keep_decisions([decision], {})


def test_gives_one_answer_with_a_daemon_and_without(tmp_path: Path) -> None:
    state = tmp_path / "state"
    asyncio.run(kept(state))
    asked = ["--state-dir", state, "effect"]
    alone = dreamctl(*asked, "--json")
    assert alone.exit_code == 0
    with DaemonProcess(state):
        beside, page = dreamctl(*asked, "--json"), tmp_path / "page.html"
        assert dreamctl("--state-dir", state, "report", "--out", page).exit_code == 0
    answer = json.loads(beside.stdout)
    assert answer == json.loads(alone.stdout)
    assert (answer["client"], answer["clients"]) == ("leo", {"leo": 140, "eva": 1})
    assert (answer["replies"], answer["dreamt"], answer["fed"], answer["chance"]) == (140, 93, 46, 0.3)
    assert answer["summary"] == "Over 140 replies, dreams changed nothing that can be told from chance."
    assert f"<h2>Do his dreams help?</h2><p>{answer['summary']}</p>" in page.read_text()

    other = dreamctl(*asked, "--client", "eva")
    assert other.stdout.startswith("Too few to judge: 1 of about 130 replies.")
    wrong = dreamctl(*asked, "--client", "eve")
    assert (
        wrong.exit_code,
        "no replies of eve were compared; there are those of leo, eva" in wrong.stderr,
    ) == (2, True)


def test_says_of_the_chance_what_the_settings_say_and_not_an_old_decision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    asyncio.run(kept(state))
    asked = ["--state-dir", state, "effect"]
    assert "gate.chance is" not in dreamctl(*asked).stdout  # the stored decision had 1
    (tmp_path / "config.toml").write_text("[gate]\nchance = 0\n")
    monkeypatch.setenv("DREAMD_CONFIG", str(tmp_path / "config.toml"))
    assert "No reply is added now. gate.chance is 0," in " ".join(dreamctl(*asked).stdout.split())
    (tmp_path / "config.toml").write_text("[gate]\nchance = 'x'\n")
    assert (dreamctl(*asked).exit_code, "gate.chance is" in dreamctl(*asked).stdout) == (0, False)
