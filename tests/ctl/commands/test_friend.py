"""`friend`: shown, kept, restored, exported, imported and reseeded."""

import json
import os
import re
import stat
import time
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.ctl.commands.friend.checkpoint import show_checkpoints
from dreamd.ctl.commands.friend.fragments import show_fragments
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl

NOW = time.mktime((2025, 3, 4, 12, 0, 0, 0, 0, -1))
ORIGIN = {"origin": ["I am small.", "I listen."], "readme": ["Words are doors."]}
REPLACED = {
    "fragments", "origin", "drift", "kept", "added", "left", "added_dropped", "added_forgotten", "skipped", "undo",
    "origin_kept",
}  # fmt: skip

FRAGMENTS = [
    {"id": 1, "text": "I am small, and I listen to the water below", "weight": 1.0, "origin": True, "dialog": None,
     "added_at": NOW - 7200},
    {"id": 4, "text": "the rain\x1b[2J is near", "weight": 0.3, "origin": False, "dialog": 12, "added_at": NOW - 61},
    {"id": 9, "text": "a door", "weight": 0.05, "origin": False, "dialog": None, "added_at": 0.0},
]  # fmt: skip


def test_fragments_at_80_and_at_40_columns() -> None:
    assert show_fragments(FRAGMENTS, 80, NOW).splitlines() == [
        "1  1.00 ██████  origin         2 h  I am small, and I listen to the water below",
        "4  0.30 █▊····  from 12      1 min  the rain [2J is near",
        "9  0.05 ▎·····  brought          -  a door",
        "",
        "3 fragments, 1 of them origin.",
    ]
    narrow = show_fragments(FRAGMENTS, 40, NOW, most=1, plain=True).splitlines()
    assert narrow == [
        "1  1.00  origin  I am small, and I",
        "                 listen to the water",
        "                 below",
        "",
        "3 fragments, 1 of them origin; 2 more",
        "with -n 0.",
    ]
    assert "first leo that connects" in show_fragments([], 80, NOW)
    changed = show_fragments(FRAGMENTS, 80, NOW, changed_at=NOW - 60).splitlines()[-2:]
    assert " ".join(changed) == (
        "Last changed by a command: 11:59:00. `dreamctl friend restore previous` takes that back."
    )


def test_checkpoints_as_text() -> None:
    kept = [{"name": "tuesday", "at": NOW - 60, "learned": 4, "origin": 3}]
    assert show_checkpoints(kept, 80, NOW).splitlines() == [
        "name     kept      learned  origin",
        "tuesday  11:59:00  4        3",
    ]
    assert "friend checkpoint NAME" in show_checkpoints([], 80, NOW)


@pytest.fixture
def kept(daemon: DaemonProcess) -> list[dict]:
    """A friend of three origin fragments and one learned, whatever the tests before have done."""
    learned = {"text": "the sea", "weight": 0.4, "added_at": 5.0}
    with DreamClient(socket_path=daemon.socket) as client:
        assert client.start(10.0)
        client.call("friend.reseed", ORIGIN)
        client.call("friend.import", [learned])
        return client.call("friend.fragments")


def measured(fragments: list[dict]) -> list[tuple]:
    return sorted((f["text"], f["weight"], f["origin"]) for f in fragments)


def friend(daemon: DaemonProcess, *arguments: object) -> dict | list:
    result = dreamctl("--socket", daemon.socket, "friend", *arguments, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_shows_the_fragments_of_the_daemon(daemon: DaemonProcess, kept: list[dict]) -> None:
    assert dreamctl("--socket", daemon.socket, "friend", "--json").exit_code == 0
    answer = friend(daemon)
    assert answer == kept
    assert answer[0].keys() == FRAGMENTS[0].keys()
    assert friend(daemon, "-n", 1) == answer[:1]
    assert friend(daemon, "-n", 0) == answer
    shown = dreamctl("--socket", daemon.socket, "friend", "-n", 1).stdout
    assert "fragments, 3 of them origin; 3 more with -n 0.\nLast changed by a command: " in shown


def test_keeps_lists_and_restores_a_checkpoint(daemon: DaemonProcess, kept: list[dict]) -> None:
    assert friend(daemon, "checkpoint", "tuesday") == {"name": "tuesday", "fragments": 4, "origin": 3}
    taken = dreamctl("--socket", daemon.socket, "friend", "checkpoint", "tuesday")
    assert (taken.exit_code, taken.stdout) == (4, "")
    for empty in (["checkpoint", ""], ["export", daemon.state_dir.parent / "f", "--checkpoint", ""]):
        assert dreamctl("--socket", daemon.socket, "friend", *empty).exit_code == 4
    again = dreamctl("--socket", daemon.socket, "friend", "checkpoint", "tuesday", "--again")
    assert again.stdout == "Kept as tuesday: 4 fragments, 3 of them origin.\n"
    (newest, *_) = friend(daemon, "checkpoint")
    assert newest.keys() == {"name", "at", "learned", "origin"}
    assert newest["name"] == "tuesday"
    assert "tuesday" in dreamctl("--socket", daemon.socket, "friend", "checkpoint", "--utc").stdout

    with DreamClient(socket_path=daemon.socket) as client:
        assert client.start(10.0)
        client.call("friend.import", [{"text": "another", "weight": 0.1}])
    restored = friend(daemon, "restore", "tuesday")
    assert restored.keys() == REPLACED
    assert measured(friend(daemon)) == measured(kept)
    told = dreamctl("--socket", daemon.socket, "friend", "restore", "previous").stdout
    assert told.startswith("Restored: 4 fragments, 3 of them origin, drift ")
    assert dreamctl("--socket", daemon.socket, "friend", "restore", "unknown").exit_code == 4


def test_imports_an_exported_file(daemon: DaemonProcess, kept: list[dict], tmp_path: Path) -> None:
    file = tmp_path / "friend.json"
    assert friend(daemon, "export", file) == {"path": str(file), "fragments": 4}
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    there = dreamctl("--socket", daemon.socket, "friend", "export", file)
    assert (there.exit_code, there.stdout) == (1, "")
    assert "--force" in there.stderr
    assert "4 fragments" in dreamctl("--socket", daemon.socket, "friend", "export", file, "--force").stdout
    assert dreamctl("--socket", daemon.socket, "friend", "export", tmp_path / "no" / "f").exit_code == 1

    friend(daemon, "checkpoint", "before-import", "--again")
    with DreamClient(socket_path=daemon.socket) as client:
        assert client.start(10.0)
        client.call("friend.import", [{"text": "another", "weight": 0.1}])
    assert friend(daemon, "import", file).keys() == REPLACED
    assert measured(friend(daemon)) == measured(kept)
    friend(daemon, "export", file, "--force", "--checkpoint", "previous")
    assert "another" in file.read_text()


def friend_file(path: Path, *fragments: dict) -> Path:
    path.write_text(json.dumps({"kind": "dreamd.friend", "version": 1, "fragments": fragments}))
    return path


def test_p4_the_origin_goes_by_an_import_or_a_reseed_and_a_restore_brings_it_back(
    daemon: DaemonProcess, kept: list[dict], tmp_path: Path
) -> None:
    another = {"text": "I am another.", "weight": 1.0, "origin": True}
    file = friend_file(tmp_path / "other.json", another, another, {"text": "the hill", "weight": 0.2})
    imported = dreamctl("--socket", daemon.socket, "friend", "import", file)
    told = " ".join(imported.stdout.split())
    assert told.startswith("Imported: 2 fragments, 1 of them origin")
    assert f"`dreamctl --socket {daemon.socket} friend restore previous` takes this back. `dreamctl" in told
    name = re.search(r"The origin that went is kept as (origin~\d+)\.$", told)[1]
    restored = dreamctl("--socket", daemon.socket, "friend", "restore", "previous").stdout
    assert "shows what changed. The origin that went" in " ".join(restored.split())
    assert measured(friend(daemon)) == measured(kept)
    friend(daemon, "checkpoint", "now", "--again")
    unchanged = dreamctl("--socket", daemon.socket, "friend", "restore", "now").stdout
    assert unchanged.endswith("0 came, 0 went. Nothing changed.\n")
    assert friend(daemon, "restore", "previous")["origin"] == 1

    unasked = dreamctl("--socket", daemon.socket, "friend", "reseed", file)
    assert (unasked.exit_code, unasked.stdout) == (2, "")
    assert "--yes" in unasked.stderr
    text = tmp_path / "birth.txt"
    text.write_text("A new birth.\n\nAnd a second thought.")
    assert friend(daemon, "reseed", text, "--yes")["origin"] == 2
    assert friend(daemon, "reseed", file, "--yes")["origin"] == 1
    assert friend(daemon, "restore", name)["origin"] == 3


def test_import_skips_a_repeated_text(daemon: DaemonProcess, kept: list[dict], tmp_path: Path) -> None:
    many = [{"text": f"line {number}", "weight": 0.2} for number in range(66)]
    file = friend_file(tmp_path / "many.json", *many)
    imported = dreamctl("--socket", daemon.socket, "friend", "import", file)
    assert imported.stdout.startswith("Imported: 67 fragments, 3 of them origin")
    assert imported.stderr.startswith("2 had no place: ")


def test_deletes_a_checkpoint(daemon: DaemonProcess, kept: list[dict]) -> None:
    friend(daemon, "checkpoint", "wednesday", "--again")
    assert friend(daemon, "checkpoint", "--delete", "wednesday") == {"name": "wednesday"}
    assert "wednesday" not in [each["name"] for each in friend(daemon, "checkpoint")]
    gone = dreamctl("--socket", daemon.socket, "friend", "checkpoint", "--delete", "wednesday")
    assert (gone.exit_code, gone.stdout) == (4, "")
    assert "no checkpoint of that name" in gone.stderr
    friend(daemon, "checkpoint", "thursday", "--again")
    told = dreamctl("--socket", daemon.socket, "friend", "checkpoint", "thursday", "--delete")
    assert told.stdout == "Deleted the checkpoint thursday.\n"
    for wrong in (["--delete"], ["--delete", "--again", "a"]):
        assert dreamctl("--socket", daemon.socket, "friend", "checkpoint", *wrong).exit_code == 2


def test_reseed_asks_for_confirmation_on_a_terminal(
    daemon: DaemonProcess, kept: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "birth.txt"
    file.write_text("A new birth.")
    monkeypatch.setattr("dreamd.ctl.commands.friend.reseed.can_ask", lambda: True)
    refused = dreamctl("--socket", daemon.socket, "friend", "reseed", file)  # nothing is typed
    assert refused.exit_code == 1
    assert refused.stdout == ""
    assert "Go on?" in refused.stderr
    assert measured(friend(daemon)) == measured(kept)


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[1]", '{"kind": "dreamd.friend", "fragments": [{"weight": 1}]}', "\udcff", "[" * 100_000],
)
def test_a_file_that_is_no_export_is_wrong_usage(daemon: DaemonProcess, tmp_path: Path, text: str) -> None:
    file = tmp_path / "f.json"
    file.write_text(text, errors="surrogateescape")
    result = dreamctl("--socket", daemon.socket, "friend", "import", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Error: " in result.stderr


@pytest.mark.parametrize("command", [["import"], ["reseed", "--yes"]])
def test_refuses_a_file_of_a_newer_version(
    daemon: DaemonProcess, kept: list[dict], tmp_path: Path, command: list[str]
) -> None:
    file = tmp_path / "f.json"
    file.write_text('{"kind": "dreamd.friend", "version": 2, "fragments": [{"text": "the sea"}]}')
    result = dreamctl("--socket", daemon.socket, "friend", *command, file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the file is of version 2, and this dreamctl knows 1" in result.stderr
    assert friend(daemon) == kept


def test_reports_once_a_file_that_exceeds_a_message(daemon: DaemonProcess, tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_text(json.dumps({"kind": "dreamd.friend", "fragments": [{"text": "x" * (1 << 20)}]}))
    result = dreamctl("--socket", daemon.socket, "friend", "import", file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.count("friend.import: ") == 1


def test_refuses_an_invalid_weight_and_names_it(daemon: DaemonProcess, tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_text('{"kind": "dreamd.friend", "fragments": [{"text": "the sea", "weight": 2}]}')
    result = dreamctl("--socket", daemon.socket, "friend", "import", file)
    assert result.exit_code == 4
    assert "INVALID_PARAMS" in result.stderr
    assert "weight" in result.stderr
