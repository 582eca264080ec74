"""Fixtures of dreamctl's tests: a daemon, and a leo that dreams."""

import asyncio
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.clock import Clock
from dreamd.store.store import Store
from tests.helpers.daemons.in_loop import wait_for_database
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.store_rows import one_dream


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    state = tmp_path_factory.mktemp("ctl") / "state"
    with DaemonProcess(state, "--set", "gate.cooldown_s=0", "--set", "dialogue.candidates=1") as running:
        yield running


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """Return the socket path for a daemon of the test."""
    return tmp_path / "s"


class Speaker:
    """A leo who says numbered lines, and counts what he observed."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words
        self.said = 0
        self.observed: list[str] = []

    def generate(self, seed: str, temperature: float, semantic_weight: float) -> str:
        self.said += 1
        return self.words[(self.said - 1) % len(self.words)]

    def observe(self, text: str) -> None:
        self.observed.append(text)


LINES = ("the rain is near", "a roof keeps it", "who keeps the roof", "you do", "we both do")


@pytest.fixture
def leo(daemon: DaemonProcess) -> Iterator[tuple[Speaker, DreamClient]]:
    """A leo who can speak, connected to `daemon`."""
    speaker = Speaker(LINES)
    with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
        assert client.start(10.0)
        yield speaker, client


SHARDS = {
    "seed": {"goal": "g", "ul_tags": ["pwd=hunter2hunter2"]},
    "result": {"trace_id": "sim-1", "shards": [{"index": 0, "timestamp": 1, "text": "a@b.example"}]},
    "cap_token": {"scopes": ["memory.inbox.dreams.write"]},
}


@contextmanager
def at_home(folder: Path, words: tuple[str, ...], origin: str) -> Iterator[tuple[DaemonProcess, DreamClient]]:
    """Start a daemon with its state in `folder`/state and a leo with an origin. Write leo's dream.py and shards, which
    the commands take, beside them."""
    speaker = Speaker(words)
    (folder / "dream.py").write_text('"""His own."""\n')
    (folder / "shards.json").write_text(json.dumps(SHARDS))
    # One candidate: his words are said in their order.
    settings = ["--set", "gate.cooldown_s=0", "--set", "dialogue.candidates=1"]
    with DaemonProcess(folder / "state", *settings, env={"XDG_CONFIG_HOME": str(folder)}) as daemon:
        with DreamClient(speaker.generate, speaker.observe, socket_path=daemon.socket) as client:
            assert client.start(10.0)
            client.call("dream.seed", {"origin": [origin]})
            yield daemon, client


async def _dreamt(state: Path) -> None:
    with pytest.MonkeyPatch.context() as patched:
        wait_for_database(patched)
        store = await Store.open(state / "dream.sqlite3", clock=Clock())
    async with store:
        await one_dream(store)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder in which leo dreamt once, and no daemon runs."""
    folder = tmp_path / "state"
    folder.mkdir()
    asyncio.run(_dreamt(folder))
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder for backups."""
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def contents(file: Path) -> list[str]:
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        return list(database.iterdump())


def refused(result: object, *words: str) -> None:
    """Check for one line on stderr with these words, exit code 1, and nothing on stdout."""
    assert (result.exit_code, result.stdout) == (1, "")
    assert len(result.stderr.splitlines()) == 1
    assert [word for word in ("Error: ", *words) if word not in result.stderr] == []
