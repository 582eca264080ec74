"""What docs/dreamctl.md says of each --json shape is what the commands print."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dreamclient.blocking import DreamClient

from tests.ctl.conftest import LINES, Speaker
from tests.helpers.daemon import DaemonProcess
from tests.helpers.dreamctl import dreamctl

TEXT = (Path(__file__).parents[2] / "docs" / "dreamctl.md").read_text()
REPLACED = "fragments origin drift kept added left skipped"
RECENT = "id trace_id started_at finished_at outcome lines client avg_trauma avg_arousal drift note"

# The golden shapes: the keys of the answer, or of the first of a list.
SHAPES = [
    ("why", "why", "at dream reason client session dialog"),
    ("recent", "recent", RECENT),
    ("show", "show last", f"{RECENT} turns"),
    ("replay", "replay last", "id lines same difference"),
    ("friend", "friend", "id text weight origin dialog added_at"),
    ("friend", "friend checkpoint one", "name fragments origin"),
    ("friend", "friend checkpoint", "name at learned origin"),
    ("friend", "friend restore one", REPLACED),
    ("friend", "friend export {file} --force", "path fragments"),
    ("friend", "friend import {file}", REPLACED),
    ("friend", "friend reseed {file} --yes", REPLACED),
    ("drift", "drift", "id at drift"),
    ("report", "report --out {file}.html", "path bytes dialogues"),
]


@pytest.fixture(scope="module")
def dreamt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DaemonProcess, Path]]:
    """A daemon in which leo has dreamt once, and a file."""
    folder, speaker = tmp_path_factory.mktemp("document"), Speaker(LINES)
    with DaemonProcess(folder / "state") as daemon:
        with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.call("dream.seed", {"origin": ["I am small."]})
            client.dream_now()
        yield daemon, folder / "friend.json"


def section(verb: str) -> str:
    return TEXT.split(f"\n## {verb}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(("verb", "command", "keys"), SHAPES, ids=[command for _, command, _ in SHAPES])
def test_each_shape_is_printed_and_documented(
    dreamt: tuple[DaemonProcess, Path], verb: str, command: str, keys: str
) -> None:
    daemon, file = dreamt
    result = dreamctl("--socket", daemon.socket, *command.format(file=file).split(), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    answer: Any = json.loads(result.stdout)
    one = answer[0] if isinstance(answer, list) else answer
    assert one.keys() == set(keys.split())
    about = section(verb) + section("recent") * (verb == "show") + "session dialog" * (verb == "why")
    assert [key for key in one if not re.search(rf"\b{key}\b", about)] == []


def test_the_exit_codes_are_documented() -> None:
    assert re.findall(r"^\| (\d) \|", TEXT, re.MULTILINE) == ["0", "1", "2", "3", "4"]
