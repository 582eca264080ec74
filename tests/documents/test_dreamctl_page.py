"""Check that docs/reference/dreamctl.md gives each --json shape with all of its keys and no others."""

import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from dreamd.ctl.__main__ import COMMANDS, cli
from tests.ctl.conftest import LINES, at_home
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl, spawn_dreamctl
from tests.helpers.shapes import TEXT, differences, events_of, parsed, shape_of
from tests.helpers.waiting import until

# What is asked in this order of a daemon in which leo has dreamt once, and the beginning of its row, or the section, in
# the document.
ASKED = [
    ("status", "status"),
    ("doctor", "doctor"),
    ("why", "why"),
    ("recent", "recent"),
    ("show last", "show"),
    ("search roof", "search"),
    ("whence keeps the roof", "whence"),
    ("effect", "effect"),
    ("diary --since 1d", "diary"),
    ("export {folder}/dreams.jsonl --force", "export"),
    ("replay last", "replay"),
    ("dream", "dream"),
    ("pause 2h", "pause"),
    ("resume", "resume"),
    ("friend", "friend"),
    ("friend drop {fragment}", "friend drop"),
    ("friend checkpoint one", "friend checkpoint NAME"),
    ("friend checkpoint", "friend checkpoint`"),
    ("friend restore one", "friend restore"),
    ("friend restore --before last", "friend restore --before"),
    ("friend diff last now", "friend diff"),
    ("friend checkpoint one --delete", "friend checkpoint --delete"),
    ("friend export {folder}/friend.json --force", "friend export"),
    ("friend import {folder}/friend.json", "friend import"),
    ("friend reseed {folder}/friend.json --yes", "friend reseed"),
    ("drift", "drift"),
    ("report --out {folder}/page.html", "report"),
    ("stats", "stats"),
    ("config", "config"),
    ("config init", "config init"),
    ("config set gate.chance 0.5", "config set"),
    ("config unset gate.chance", "config unset"),
    ("config check", "config check"),
    ("backup {folder}/copy.sqlite3", "backup"),
    ("call why 1", "call"),
    ("host --json --check -- sh {broken}", "host"),
    ("inbox ls", "inbox ls"),
    ("inbox show {trace}", "inbox show"),
    ("inbox persist {folder}/shards.json", "inbox persist"),
    ("inbox sweep", "inbox sweep"),
    ("inbox verify", "inbox verify"),
    ("inbox schema", "inbox schema"),
    ("inbox ack {trace}", "inbox ack"),
    ("service uninstall --dry-run", "service uninstall"),
    ("service status", "service status"),
    ("leo check {folder} --python {python}", "leo check"),
    ("leo install {folder} --python {python}", "leo install"),
    ("leo uninstall {folder}", "leo uninstall"),
    ("completions bash", "completions"),
]
# What ends what the others ask about, in this order.
FORGETS = [
    ("undream --all-since 1h", "undream"),
    ("prune --older-than 90d", "prune"),
    ("forget last", "forget"),
]
# What is asked of a state folder whose daemon `service start` has started, in this order.
SERVICE = ["start", "restart", "status", "logs", "stop", "uninstall"]
EVENTS = ["watch", "trace", "demo"]
# The first needs a user manager, the second ends the daemon: tests/systemd/test_install.py, test_restore.py. The last
# two need a server: tests/ctl/commands/inbox/relay.
ELSEWHERE = ["service install", "restore", "inbox relay", "inbox pull"]


@pytest.fixture(scope="module")
def dreamt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DaemonProcess, dict[str, str]]]:
    """A daemon in which a leo, who is still there, has dreamt once; and what the commands speak of."""
    folder = tmp_path_factory.mktemp("document")
    with at_home(folder, LINES, "I am small.") as (daemon, client):
        client.dream_now()
        until(lambda: client.call("inbox.list"), "its file is written")
        (waiting,) = client.call("inbox.list")
        (daemon.state_dir / "inbox/dreams/.tmp/sim-9.json").write_text("half")
        fragment = next(each["id"] for each in client.call("friend.fragments") if not each["origin"])
        named = {
            "folder": str(folder), "trace": waiting["trace_id"], "python": sys.executable,
            "fragment": str(fragment), "broken": str(Path(__file__).parents[1] / "data/hosts/broken.sh"),
        }  # fmt: skip
        yield daemon, named


def test_each_shape_is_as_documented(dreamt: tuple[DaemonProcess, dict[str, str]]) -> None:
    daemon, named = dreamt
    place = ["--socket", daemon.socket, "--state-dir", daemon.state_dir]
    found = {}
    for command, about in ASKED:
        words = [word.format(**named) for word in command.split()]  # a path may hold a space
        result = dreamctl(*place, *words, "--json", XDG_CONFIG_HOME=named["folder"])
        if (result.exit_code, result.stderr) != (0, "") or result.stdout.strip() == "[]":
            found[command] = [result.exit_code, result.stderr, result.stdout]
        else:
            found[command] = differences(shape_of(about), json.loads(result.stdout))
    assert {command: wrong for command, wrong in found.items() if wrong} == {}


def test_each_shape_of_forgetting_is_as_documented(tmp_path: Path) -> None:
    with at_home(tmp_path, LINES, "I am small.") as (daemon, client):
        client.dream_now()
        for command, about in FORGETS:
            result = dreamctl("--state-dir", daemon.state_dir, *command.split(), "--json")
            assert differences(shape_of(about), json.loads(result.stdout)) == []


def test_each_shape_of_a_service_is_as_documented(tmp_path: Path) -> None:
    for command in SERVICE:
        process = spawn_dreamctl(
            "--state-dir", tmp_path / "state", "service", command, "--json", cwd=tmp_path, HOME=str(tmp_path)
        )  # fmt: skip
        out, err = process.communicate(timeout=30)
        assert (command, process.returncode, err) == (command, 0, "")
        assert differences(shape_of(f"service {command}"), json.loads(out)) == []


def lines_until(
    command: list[object], cwd: Path, act: Callable[[], object], last: str | None
) -> list[dict[str, Any]]:
    """Yield the output of a command that runs until Ctrl-C, up to an event of type `last`."""
    process = spawn_dreamctl(*command, "--json", cwd=cwd)
    with process.stdout, process.stderr:
        if last:
            process.stderr.readline()  # it watches
            act()
        found = []
        for line in process.stdout:
            found.append(json.loads(line))
            if found[-1].get("type") == last:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    return found


def check_events(found: list[dict[str, Any]], shapes: dict[str, Any], not_seen: set[str]) -> None:
    """Check that each type except `not_seen` occurs, and that each event has the shape of its type."""
    assert {each["type"] for each in found} == shapes.keys() - not_seen
    for each in found:
        assert (each["type"], differences({"type": "", **shapes[each["type"]]}, each)) == (each["type"], [])


def test_each_event_is_as_documented(dreamt: tuple[DaemonProcess, dict[str, str]], tmp_path: Path) -> None:
    daemon, _ = dreamt

    def dream() -> None:
        assert dreamctl("--socket", daemon.socket, "dream").exit_code == 0

    def timed(command: str) -> dict[str, Any]:
        return {name: {"at": "", **shape} for name, shape in events_of(command).items()}

    place = ["--socket", daemon.socket]
    check_events(
        lines_until([*place, "watch"], tmp_path, dream, "inbox.written"),
        timed("watch"),
        {"lost", "dialog.suspended", "dialog.undone", "friend.changed"},
    )
    traced = lines_until([*place, "trace"], tmp_path, dream, "notification")
    check_events(traced, timed("trace"), {"lost", "unreadable"})
    (decision, *_) = lines_until([*place, "why", "--watch", "-n", 1], tmp_path, dream, None)
    assert differences(shape_of("why")[0], decision) == []
    demo = spawn_dreamctl("--state-dir", "state", "demo", "--json", cwd=tmp_path)
    shown = [json.loads(line) for line in demo.communicate(timeout=30)[0].splitlines()]
    as_watched = {name: timed("watch")[name] for name in ("line", "dialog.finished")}
    check_events(shown, as_watched | events_of("demo"), {"refused"})


def verbs(group: click.Group, context: click.Context, name: str = "") -> Iterator[str]:
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        yield from (
            verbs(command, context, f"{each} ") if isinstance(command, click.Group) else [name + each]
        )


def test_every_command_is_documented() -> None:
    tested = {
        *(command for command, _ in ASKED + FORGETS),
        *(f"service {command}" for command in SERVICE),
        *EVENTS,
        *ELSEWHERE,
    }
    all_verbs = list(verbs(cli, click.Context(cli)))
    assert len(all_verbs) > len(COMMANDS)
    assert [verb for verb in all_verbs if not any(f"{each} ".startswith(f"{verb} ") for each in tested)] == []


def test_a_shape_finds_each_difference() -> None:
    shape = parsed("{id, at?, by: {<reason>: count}, turns: [{text, ..}], python: {path} or null}")
    answer = {"id": 1, "by": {"calm": 2}, "turns": [{"text": "", "seed": ""}], "python": None}
    assert differences(shape, answer) == []
    wrong = {"at": 1, "by": [], "turns": [{}], "python": {"path": "", "new": 1}, "more": 1}
    assert [each.split(" ")[0] for each in differences(shape, wrong)] == [
        ".id", ".by:", ".turns[0].text", ".python.new", ".more",
    ]  # fmt: skip


def test_the_exit_codes_are_documented() -> None:
    assert re.findall(r"^\| (\d) \|", TEXT, re.MULTILINE) == ["0", "1", "2", "3", "4"]
