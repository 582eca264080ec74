"""`diary` and `export`: the lines of dialogues in forms for people and programs."""

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from dreamclient.clients.thread import DreamClient
from dreamclient.messages import Method

from dreamd.ctl.daemon.connection import Target
from dreamd.ctl.daemon.source import Source
from tests.ctl.conftest import Speaker
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.dreaming import STIRRED

LINES = ("the rain is near", "a roof *keeps* it", "who keeps the [roof]", "you do")
GUIDE = Path(__file__).parents[3] / "docs/guides/diary.md"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with a dream of the day before yesterday, one of now, and no daemon."""
    folder = tmp_path_factory.mktemp("diary") / "state"
    speaker = Speaker(LINES)
    settings = ("gate.cooldown_s=0", "dialogue.candidates=1", "dialogue.turns_min=4")
    with DaemonProcess(folder, *(word for each in settings for word in ("--set", each))) as daemon:
        with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.call("dream.now", STIRRED | {"prompt": "is it raining?"}, timeout_s=20)
            client.call("dream.now", STIRRED, timeout_s=20)
    with closing(sqlite3.connect(folder / "dream.sqlite3")) as database, database:
        database.execute("UPDATE dream_dialogs SET started_at = started_at - 2 * 86400 WHERE id = 1")
    return folder


def test_the_dreams_of_a_day_read_as_markdown(state: Path) -> None:
    shown = dreamctl("--state-dir", state, "diary")
    assert shown.exit_code == 0
    title, blank, began, *rest = shown.stdout.splitlines()
    assert title == time.strftime("# Dreams of %A, %-d %B %Y")
    assert (blank, bool(re.fullmatch(r"## \d\d:\d\d", began))) == ("", True)
    assert rest == [
        "", "**leo** · the rain is near",
        "", r"**friend** · *a roof \*keeps\* it*",
        "", r"**leo** · who keeps the \[roof\]",
        "", "**friend** · *you do*",
    ]  # fmt: skip
    both = dreamctl("--state-dir", state, "diary", "--since", "3d").stdout
    assert len(re.findall("^# Dreams of", both, re.MULTILINE)) == 2
    assert len(json.loads(dreamctl("--state-dir", state, "diary", "--since", "3d", "--json").stdout)) == 2
    assert (
        dreamctl("--state-dir", state, "diary", "--since", "2999-01-01").stdout == "No dream in this time.\n"
    )


def test_each_format_has_every_line(state: Path, tmp_path: Path) -> None:
    lines = dreamctl("--state-dir", state, "export").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert [each["id"] for each in found] == [1, 2]
    assert [turn["text"] for turn in found[0]["turns"]] == list(LINES)
    assert "is it raining?" in found[0]["turns"][0]["seed"]
    text = dreamctl("--state-dir", state, "export", "--format", "txt").stdout
    assert text.split("\n\n")[0].splitlines() == [
        f"{'friend' if number % 2 else 'leo'}: {line}" for number, line in enumerate(LINES)
    ]
    assert dreamctl("--state-dir", state, "export", "--format", "md", "--since", "1d").stdout == (
        dreamctl("--state-dir", state, "diary").stdout
    )
    file = tmp_path / "dreams.txt"
    written = dreamctl("--state-dir", state, "export", file, "--format", "txt")
    assert written.stdout == f"Written: 2 dialogues to {file}\n"
    assert file.read_text() == text
    assert file.stat().st_mode & 0o777 == 0o600
    again = dreamctl("--state-dir", state, "export", file)
    assert (again.exit_code, "--force" in again.stderr) == (1, True)
    own = dreamctl("--state-dir", state, "export", state / "dream.sqlite3", "--force")
    assert own.exit_code == 2


STEERING = "a\x1b[2J \x9b2J \x7f \u202e \u2028 \x07 雨"


class Long(Source):
    """A hundred dialogues of 200 kB each."""

    def call(self, method: str, *params: Any, timeout_s: float = 0.0) -> Any:
        if method == Method.DIALOGS_RECENT:
            return [{"id": number, "started_at": 1.0} for number in range(100, 0, -1)]
        said = [{"speaker": "leo", "text": f"{STEERING} {'x' * 200_000}"}]
        return {"id": params[0], "started_at": 1.0, "outcome": "complete", "turns": said}


@pytest.mark.parametrize("form", ["jsonl", "txt", "md"])
def test_exports_any_number_of_dialogues_and_holds_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr(Target, "dreams", lambda _: nullcontext(Long()))
    tracemalloc.start()
    try:
        written = dreamctl("export", tmp_path / "all", "--format", form)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert written.exit_code == 0
    assert most < 10_000_000
    text = (tmp_path / "all").read_text(encoding="utf-8")
    assert len(text) > 20_000_000
    assert not {"\x1b", "\x9b", "\x7f", "\u202e", "\u2028", "\x07"} & set(text[:400])
    if form == "jsonl":
        assert json.loads(text.partition("\n")[0])["turns"][0]["text"].startswith(STEERING)


def test_the_units_of_the_guide_write_a_page(state: Path, tmp_path: Path) -> None:
    """The test runs the unit's command as systemd would."""
    path, service = re.findall(r"```ini\n(.+?)```", GUIDE.read_text(), re.DOTALL)
    assert "PathChanged=%h/.local/state/dreamd/inbox/dreams" in path
    assert "StandardOutput" not in service
    (command,) = re.findall(r"^ExecStart=(.+)$", service, re.MULTILINE)
    env = {
        "HOME": str(tmp_path),
        "DREAMD_STATE_DIR": str(state),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    ran = subprocess.run(
        shlex.split(command.replace("%%", "%")),
        env=env,
        umask=0o077,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (0, "")
    (page,) = (tmp_path / "dreams").iterdir()
    assert page.name == time.strftime("%Y-%m-%d.md")
    assert "**leo** · the rain is near" in page.read_text()
    assert page.stat().st_mode & 0o077 == 0
