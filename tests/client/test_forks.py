"""A host that forks while a hook is at work: real forks of this process."""

import os
import sqlite3
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dreamclient import forks
from dreamclient.field_ingest import ingest
from dreamclient.field_turns import ThreadTurns
from dreamclient.forks import unforked

DEADLINE_S = 20.0


def found_in_child(find: Callable[[], object]) -> str:
    """What `find` returns in a forked child; empty where it does not end."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():  # since 3.12 Python warns of it, and hosts do it all the same
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        threading.Timer(DEADLINE_S, os._exit, [1]).start()
        os.write(writing, str(find()).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    os.waitpid(child, 0)
    return text


@pytest.fixture
def forking() -> Iterator[threading.Event]:
    """Is set when a fork is about to happen, before it waits."""
    about, over = threading.Event(), threading.Event()
    os.register_at_fork(before=lambda: None if over.is_set() else about.set())
    yield about
    over.set()


class Busy(threading.Thread):
    """A hook at `work`, which says that it is in the midst of it by `inside`, and leaves when a fork is about to be."""

    def __init__(self, forking: threading.Event, work: Callable[[Callable[[], None]], object]) -> None:
        super().__init__(daemon=True)
        self._forking, self._work = forking, work
        self.inside, self.began = False, threading.Event()

    def run(self) -> None:
        self._work(self._midst)

    def _midst(self) -> None:
        self.inside = True
        self.began.set()
        self._forking.wait(DEADLINE_S)
        self.inside = False


def test_a_fork_waits_for_the_end_of_what_is_fed(tmp_path: Path, forking: threading.Event) -> None:
    """P1: else the child finds SQLite's locks held, and hangs at its first query."""
    path = tmp_path / "leo.sqlite3"
    sqlite3.connect(path).close()
    hook = Busy(forking, lambda midst: ingest(path, ["a"], lambda *_: midst()))
    hook.start()
    assert hook.began.wait(DEADLINE_S)
    assert found_in_child(lambda: hook.inside) == "False"
    hook.join(DEADLINE_S)


def test_a_fork_waits_for_the_end_of_a_turn(forking: threading.Event) -> None:
    """P13: else the child draws from the dreams' chance."""
    turns = ThreadTurns()
    hook = Busy(forking, turns.take)
    hook.start()
    assert hook.began.wait(DEADLINE_S)
    assert found_in_child(lambda: hook.inside) == "False"
    hook.join(DEADLINE_S)


def test_a_hook_that_hangs_does_not_hang_who_forks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "FORK_WAITS_S", 0.01)
    path = tmp_path / "leo.sqlite3"
    sqlite3.connect(path).close()
    began, end = threading.Event(), threading.Event()

    def hang() -> None:
        with unforked():
            began.set()
            end.wait(DEADLINE_S)

    hook = threading.Thread(target=hang)
    hook.start()
    assert began.wait(DEADLINE_S)
    assert found_in_child(lambda: ingest(path, ["a"], lambda *_: None)) == "None"
    end.set()
    hook.join(DEADLINE_S)
    with unforked():  # the parent's is whole
        assert found_in_child(lambda: ingest(path, ["a"], lambda *_: None)) == "None"
