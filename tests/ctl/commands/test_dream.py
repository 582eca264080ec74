"""`dream`: the lines of a dream that was asked for."""

import json
from pathlib import Path

from dreamclient.clients.thread import DreamClient

from tests.ctl.conftest import LINES, Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl


def test_dream_shows_the_lines_and_the_end(daemon: DaemonProcess, leo: tuple[Speaker, DreamClient]) -> None:
    speaker, _ = leo
    result = dreamctl("--socket", daemon.socket, "dream")
    assert (result.exit_code, result.stderr) == (0, "")
    *lines, end = result.stdout.splitlines()
    assert speaker.observed == list(LINES[: len(lines)])
    assert lines == [
        f"{'leo' if turn % 2 == 0 else 'friend':>6}: {text}" for turn, text in enumerate(speaker.observed)
    ]
    assert end.endswith(f": complete, {len(lines)} lines.")


def test_dream_as_json_and_then_recent(daemon: DaemonProcess, leo: tuple[Speaker, DreamClient]) -> None:
    speaker, _ = leo
    answer = json.loads(dreamctl("--socket", daemon.socket, "dream", "--json").stdout)
    assert answer.keys() == {"dialog", "outcome", "lines", "turns"}
    assert [turn["text"] for turn in answer["turns"]] == speaker.observed
    (newest,) = json.loads(dreamctl("--socket", daemon.socket, "--json", "recent", "-n", 1).stdout)
    assert (newest["id"], newest["outcome"], newest["lines"]) == (
        answer["dialog"],
        "complete",
        answer["lines"],
    )
    assert "complete" in dreamctl("--socket", daemon.socket, "recent").stdout


def test_dream_names_its_session(daemon: DaemonProcess, leo: tuple[Speaker, DreamClient]) -> None:
    speaker, client = leo
    number = client.daemon["session"]
    assert dreamctl("--socket", daemon.socket, "dream", "--session", number).exit_code == 0
    assert speaker.observed
    wrong = dreamctl("--socket", daemon.socket, "dream", "--session", number + 100)
    assert (wrong.exit_code, wrong.stdout) == (4, "")
    assert "NO_HOOKS" in wrong.stderr


def test_a_dream_without_a_word_is_a_problem(daemon: DaemonProcess) -> None:
    """P10: a mute leo is reported at once."""
    silent = Speaker(("",))
    with DreamClient(silent.generate, silent.observe, socket_path=daemon.socket) as client:
        assert client.start(10.0)
        result = dreamctl("--socket", daemon.socket, "dream")
    assert result.exit_code == 1
    assert result.stdout.endswith(": empty, 0 lines.\n")


def test_refuses_to_dream_without_a_leo(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path / "state") as lonely:
        result = dreamctl("--state-dir", lonely.state_dir, "dream")
    assert result.exit_code == 4
    assert result.stderr == (
        "Error: leo is not running: no session provides generate and observe (NO_HOOKS, 13)\n"
    )


def test_each_command_says_that_a_dream_was_not_fed(tmp_path: Path) -> None:
    speaker = Speaker(LINES)
    with (
        DaemonProcess(tmp_path / "state", "--set", "dialogue.feed=false") as quiet,
        DreamClient(speaker.generate, speaker.observe, socket_path=quiet.socket) as client,
    ):
        assert client.start(10.0)

        def said(*words: object) -> str:
            done = dreamctl("--socket", quiet.socket, *words)
            assert (done.exit_code, done.stderr) == (0, "")
            return done.stdout

        assert ": complete, not fed, " in said("dream")
        assert speaker.observed == []
        assert ", complete, not fed, " in said("show")
        assert "observed: unfed" in said("show", "--full")
        assert "complete, not fed" in said("recent")
        assert "began dialogue 1, which is not fed; asked" in said("why")
        status = said("status")
        assert "ago, dialogue 1, complete, not fed" in status
        assert "feed       off: dreams are shown and kept, and do not reach leo" in status
        said("report", "--out", tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text()
        assert "complete, not fed" in page
        assert "1 dream did not reach leo, since feeding was off." in page
        assert json.loads(said("show", "--json"))["fed"] is False
        assert json.loads(said("status", "--json"))["last"]["fed"] is False
        assert json.loads(said("replay", "--json"))["same"] is True
