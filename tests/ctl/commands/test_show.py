"""`show`, and the ways to name a dialogue."""

import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.ctl.commands.show import show_dialogue
from tests.ctl.conftest import Speaker
from tests.helpers.daemons.little import LittleDaemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl

NOW = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))

TURN = {
    "turn": 1, "speaker": "leo", "text": "the rain\x1b[2J is near", "novelty": 0.5, "arousal": 0.25, "entropy": 1.0,
    "trauma": 0.0, "overlap": 0.1, "quality": None, "seed": "who are you a field", "temperature": 0.6,
    "semantic_weight": 0.3, "expert": "wounded", "observed": "answered", "at": NOW - 59,
    "undone": None, "missing": None,
}  # fmt: skip
DIALOGUE = {
    "id": 7, "trace_id": "dream-1741086000-7-0a1b2c3d", "started_at": NOW - 60, "finished_at": NOW - 58,
    "outcome": "hook_error", "lines": 1, "client": "leo", "avg_trauma": 0.25, "avg_arousal": 0.5, "drift": 0.0625,
    "note": "generate raised TypeError", "fed": True, "undone": None, "opening": "the rain is near", "turns": [TURN],
}  # fmt: skip
IMPORTED = DIALOGUE | {
    "trace_id": None, "finished_at": None, "outcome": None, "client": None, "avg_trauma": None, "note": None,
    "turns": [TURN | {"text": "", "novelty": None, "arousal": None, "entropy": None, "trauma": None, "seed": None,
                      "temperature": None, "semantic_weight": None, "observed": None}],
}  # fmt: skip

AT_80 = """\
dialogue  7, dream-1741086000-7-0a1b2c3d
began     11:59:00, took 2 s
outcome   hook_error, 1 line
ended by  generate raised TypeError
dreamer   leo
measures  trauma 0.25, arousal 0.50, drift 0.06

   leo: the rain [2J is near
        novelty ███··· 0.50  arousal █▌···· 0.25  entropy ██████ 1.00
        trauma ······ 0.00
        temperature 0.60, semantic weight 0.30, expert wounded, observed:
          answered
        prompted by: who are you a field"""


def plain(text: str) -> str:
    return text.replace("\x1b[36m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")


def test_a_dialogue_at_80_and_at_40_columns() -> None:
    """Control characters in the text of a dream do not reach the terminal."""
    assert plain(show_dialogue(DIALOGUE, 80, NOW, full=True)) == AT_80
    assert plain(show_dialogue(DIALOGUE, 80, NOW)) == (
        "dialogue 7, 11:59:00, hook_error (generate raised TypeError), 1 line\n\n   leo: the rain [2J is near"
    )
    assert plain(show_dialogue(DIALOGUE, 40, NOW)) == (
        "dialogue 7, 11:59:00, hook_error\n  (generate raised TypeError), 1 line\n\n   leo: the rain [2J is near"
    )
    narrow = plain(show_dialogue(DIALOGUE, 40, NOW, full=True, plain=True))
    assert max(map(len, narrow.splitlines())) <= 40
    assert "novelty ###... 0.50" in narrow
    assert "\x1b" not in narrow


def test_shows_a_dialogue_with_missing_values() -> None:
    assert plain(show_dialogue(IMPORTED, 80, NOW, full=True)) == (
        "dialogue  7, imported\nbegan     11:59:00\noutcome   running, 1 line\ndreamer   -\n"
        "measures  trauma -, arousal 0.50, drift 0.06\n\n   leo: (not kept)"
    )


def test_show_is_the_last_dialogue_unless_told_otherwise(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient]
) -> None:
    _, client = leo
    first, second = client.dream_now()["dialog"], client.dream_now()["dialog"]
    (newest, older) = client.call("dialogs.recent", 2)
    by = {
        asked: dreamctl("--socket", daemon.socket, "show", "--json", *asked)
        for asked in ((), ("last",), (first,))
    }
    assert [json.loads(result.stdout)["id"] for result in by.values()] == [second, second, first]
    assert json.loads(by[()].stdout).keys() == DIALOGUE.keys()
    assert json.loads(by[()].stdout)["turns"][0].keys() == TURN.keys()
    by_trace = dreamctl("--socket", daemon.socket, "--json", "show", older["trace_id"][:-1])
    assert json.loads(by_trace.stdout)["id"] == first
    shown = dreamctl("--socket", daemon.socket, "show", "--full").stdout
    assert newest["trace_id"] in shown
    assert "\x1b" not in shown  # into a pipe


def begun(*ages_s: float) -> dict[str, object]:
    """Return the answers of a daemon with dialogues that began so many seconds ago, newest first."""
    dialogues = {
        len(ages_s) - place: DIALOGUE | {"id": len(ages_s) - place, "started_at": time.time() - age_s}
        for place, age_s in enumerate(ages_s)
    }
    return {
        "dialogs.recent": lambda _, params: list(dialogues.values())[: params[0]],
        "dialogs.get": lambda _, params: dialogues[params[0]],
    }


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("-n 2", [3, 4]),
        ("-n 9", [1, 2, 3, 4]),
        ("--since 2h", [3, 4]),
        ("--since 1d", [2, 3, 4]),
        ("--since 2h -n 1", [4]),
        ("--since 30s", []),
        ("--since 2001-02-03", [1, 2, 3, 4]),
        ("--since 2001-02-03T04:05", [1, 2, 3, 4]),
    ],
)
def test_show_has_several_the_newest_last(socket: Path, asked: str, found: list[int]) -> None:
    with LittleDaemon(socket, begun(60, 3600, 4 * 3600, 3 * 86400)):
        as_json = dreamctl("--socket", socket, "show", "--json", *asked.split())
        assert [each["id"] for each in json.loads(as_json.stdout)] == found
        shown = dreamctl("--socket", socket, "show", *asked.split()).stdout
    heads = [line for line in shown.splitlines() if line.startswith("dialogue ")]
    assert [int(head.split()[1].rstrip(",")) for head in heads] == found
    assert ("No dialogue since then" in shown) == (not found)


def test_shows_all_of_a_time_without_a_limit(socket: Path) -> None:
    def recent(_: object, page: list[int]) -> list[dict[str, object]]:
        n, before = (*page, 1202)[:2]
        return [DIALOGUE | {"id": number} for number in range(before - 1, max(0, before - 1 - n), -1)]

    with LittleDaemon(socket, {"dialogs.recent": recent, "dialogs.get": lambda _, params: {"id": params[0]}}):
        shown = dreamctl("--socket", socket, "show", "--since", "2001-02-03", "--json").stdout
    assert [each["id"] for each in json.loads(shown)] == list(range(1, 1202))


@pytest.mark.parametrize("asked", ["7 -n 2", "last --since 1d", "--since soon", "--since 99999999d", "-n 0"])
def test_one_dialogue_or_several(socket: Path, asked: str) -> None:
    with LittleDaemon(socket, {}):
        told = dreamctl("--socket", socket, "show", *asked.split())
    assert (told.exit_code, told.stdout) == (2, "")


def test_refuses_an_unknown_or_ambiguous_dialogue(
    daemon: DaemonProcess, leo: tuple[Speaker, DreamClient], socket: Path
) -> None:
    _, client = leo
    for _ in range(2):
        client.dream_now()
    for command in ("show", "replay"):
        for asked in ("999999", "unknown"):
            missing = dreamctl("--socket", daemon.socket, command, asked)
            assert (missing.exit_code, missing.stdout) == (4, "")
            assert "(NOT_FOUND, 12)" in missing.stderr
        several = dreamctl("--socket", daemon.socket, command, "dream-")
        assert (several.exit_code, several.stdout) == (2, "")
        assert "trace ids: dream-" in several.stderr
    for command in ("show", "replay", "forget", "undream", "friend restore --before"):
        unset = dreamctl("--socket", daemon.socket, *command.split(), "")
        assert (unset.exit_code, "not an empty text" in unset.stderr) == (2, True)
    with LittleDaemon(socket, {"dialogs.recent": lambda *_: []}):
        assert dreamctl("--socket", socket, "show").stderr == "Error: no dialogue yet (NOT_FOUND, 12)\n"


def test_finds_the_oldest_dialogue_by_its_whole_trace_id(socket: Path) -> None:
    """The number in the trace id finds it, since it may be older than the dialogues that are searched."""
    answers = {"dialogs.recent": lambda *_: [], "dialogs.get": lambda _, params: DIALOGUE | {"id": params[0]}}
    with LittleDaemon(socket, answers):
        found = dreamctl("--socket", socket, "show", DIALOGUE["trace_id"], "--json")
        assert json.loads(found.stdout)["id"] == 7
        other = dreamctl("--socket", socket, "show", "dream-1741086000-7-0a1b2c3e")
    assert (other.exit_code, other.stdout) == (4, "")
    assert "NOT_FOUND" in other.stderr


@pytest.mark.parametrize("number", ["0", "000", "9" * 19, "9" * 5000])
def test_an_impossible_number_is_wrong_usage(socket: Path, number: str) -> None:
    with LittleDaemon(socket):
        result = dreamctl("--socket", socket, "show", number)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no dialogue has such a number" in result.stderr


def test_times_are_local_or_in_utc(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at = DIALOGUE | {"started_at": 86400.0 * 365, "finished_at": None}
    try:
        with LittleDaemon(socket, {"dialogs.get": lambda *_: at}):
            monkeypatch.setenv("TZ", "Asia/Tokyo")
            time.tzset()
            assert "dialogue 7, 1971-01-01 09:00, " in dreamctl("--socket", socket, "show", "7").stdout
            utc = dreamctl("--socket", socket, "show", "7", "--utc", TZ="Asia/Tokyo")
            assert "dialogue 7, 1971-01-01 00:00, " in utc.stdout
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("env", "coloured", "ascii_only"),
    [
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, True),
    ],
)
def test_colours_only_for_terminals_that_want_them(
    socket: Path, env: dict[str, str], coloured: bool, ascii_only: bool
) -> None:
    ours, theirs = pty.openpty()
    with (
        LittleDaemon(socket, {"dialogs.get": lambda *_: DIALOGUE}),
        open(ours, "rb", buffering=0) as terminal,
    ):
        subprocess.run(  # it fits into the terminal's own buffer
            [sys.executable, "-m", "dreamd.ctl", "--socket", socket, "show", "7", "--full"],
            stdout=theirs,
            env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1", "COLUMNS": "80", **env},
            check=True,
        )
        os.close(theirs)
        said = os.read(terminal.fileno(), 1 << 16).decode()
    assert ("\x1b[36m   leo: the rain [2J is near" in said) is coloured
    assert ("\x1b" in said) is coloured
    assert said.isascii() is ascii_only
