"""A daemon whose friend has learned, for the tests of `friend`."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ctl.conftest import LINES, at_home
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def dreamt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with four dialogues and, after the third, the checkpoint monday."""
    with at_home(tmp_path_factory.mktemp("friend"), LINES, "I am small.") as (daemon, client):
        for number in range(1, 5):
            client.dream_now()
            if number == 3:
                client.call("friend.checkpoint", "monday")
        yield daemon


@pytest.fixture
def ask(dreamt: DaemonProcess) -> Ask:
    """Return a function that gives the JSON of `dreamctl friend ..`."""

    def answer(*words: object) -> Any:
        result = dreamctl("--state-dir", dreamt.state_dir, "friend", *words, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)

    return answer


@pytest.fixture
def restored(ask: Ask) -> Iterator[None]:
    """Put the friend back after the test."""
    ask("checkpoint", "before-the-test", "--again")
    yield
    ask("restore", "before-the-test")


def copied(daemon: DaemonProcess, folder: Path) -> Path:
    """Return a copy of the daemon's state folder that no daemon serves."""
    folder.mkdir()
    result = dreamctl("--state-dir", daemon.state_dir, "backup", folder / "dream.sqlite3")
    assert result.exit_code == 0, result.stderr
    return folder
