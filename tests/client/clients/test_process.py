"""A host that forks while a hook is at work: real forks of this process. And one that blocks signals."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from dreamclient.clients import process as forks
from dreamclient.clients.process import unforked
from dreamclient.clients.thread import DreamClient
from dreamclient.leo.feeding import ingest
from dreamclient.leo.namespace import SharedChance
from dreamclient.leo.voice import Voice

from tests.helpers import leo_double
from tests.helpers.daemons.little import LittleDaemon

DEADLINE_S = 20.0


def found_in_child(find: Callable[[], object]) -> str:
    """Return what `find` returns in a forked child, or an empty text if it does not end."""
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


def on_a_thread(work: Callable[[], object]) -> bool:
    """Return True if `work` ends on a thread of this process."""
    hook = threading.Thread(target=work, daemon=True)
    hook.start()
    hook.join(DEADLINE_S / 4)
    return not hook.is_alive()


def fed_on_a_thread(path: Path) -> bool:
    return on_a_thread(lambda: ingest(path, ["a"], lambda *_: None))


def feed() -> None:
    with unforked():
        pass


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


def test_a_fork_waits_until_a_line_is_fed(tmp_path: Path, forking: threading.Event) -> None:
    """P1: otherwise the child inherits SQLite's held locks, and hangs at its first query."""
    path = tmp_path / "leo.sqlite3"
    sqlite3.connect(path).close()
    hook = Busy(forking, lambda midst: ingest(path, ["a"], lambda *_: midst()))
    hook.start()
    assert hook.began.wait(DEADLINE_S)
    assert found_in_child(lambda: hook.inside) == "False"
    hook.join(DEADLINE_S)


def test_a_fork_waits_for_the_end_of_a_line_that_borrows_chance(forking: threading.Event) -> None:
    """P13: otherwise the child draws from the random state of the dreams."""

    def borrow(midst: Callable[[], None]) -> None:
        with SharedChance().borrowed():
            midst()

    hook = Busy(forking, borrow)
    hook.start()
    assert hook.began.wait(DEADLINE_S)
    assert found_in_child(lambda: hook.inside) == "False"
    hook.join(DEADLINE_S)


def test_a_hook_goes_on_within_its_work_while_a_fork_waits_for_its_end(
    forking: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "FORK_WAITS_S", DEADLINE_S)

    def feed_often(midst: Callable[[], None]) -> None:
        with unforked():
            midst()
            for _ in range(10_000):  # the fork begins to wait somewhere among them
                with unforked():
                    pass

    hook = Busy(forking, feed_often)
    hook.start()
    assert hook.began.wait(DEADLINE_S)
    started = time.monotonic()
    assert found_in_child(lambda: hook.inside) == "False"
    assert time.monotonic() - started < DEADLINE_S
    hook.join(DEADLINE_S)


def test_forked_leos_dream_by_other_numbers() -> None:
    """The workers of a web server would all have the same dream."""
    voice, shared = Voice(vars(leo_double), pytest.fail), SharedChance()
    drawn = {found_in_child(lambda: (voice._random.random(), hash(shared._state))) for _ in range(2)}
    assert len(drawn | {str((voice._random.random(), hash(shared._state)))}) == 3


def test_a_hook_that_hangs_does_not_hang_a_fork(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "FORK_WAITS_S", 0.01)
    path = tmp_path / "leo.sqlite3"
    sqlite3.connect(path).close()
    began, end = threading.Event(), threading.Event()

    def hang() -> None:
        with unforked():
            began.set()
            end.wait(DEADLINE_S / 2)

    hook = threading.Thread(target=hang)
    hook.start()
    assert began.wait(DEADLINE_S)
    assert found_in_child(lambda: fed_on_a_thread(path)) == "True"
    assert hook.is_alive()  # the fork did not wait for its end
    end.set()
    hook.join(DEADLINE_S)
    with unforked():  # the parent's is whole
        assert found_in_child(lambda: fed_on_a_thread(path)) == "True"


def test_an_interrupt_at_a_fork_delays_one_hook_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C may come after the fork and before the lock is released."""
    forks._process.fork_begins()
    monkeypatch.setattr(forks, "FORK_WAITS_S", 0.01)
    assert on_a_thread(feed)
    monkeypatch.setattr(forks, "FORK_WAITS_S", DEADLINE_S * 2)
    assert on_a_thread(feed)
    forks._process.fork_ends()  # of another fork, which was forgotten
    assert on_a_thread(feed)


def test_a_hook_that_forks_does_not_wait_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks, "FORK_WAITS_S", DEADLINE_S * 2)
    path = tmp_path / "leo.sqlite3"
    sqlite3.connect(path).close()

    def in_child() -> object:
        with unforked():  # it is still in the hook, and may go on
            return ingest(path, ["a"], lambda *_: None)

    started = time.monotonic()
    with unforked(), unforked():
        assert found_in_child(in_child) == "{}"
    assert time.monotonic() - started < DEADLINE_S


def test_a_fork_gets_its_turn_between_the_hooks_of_a_busy_leo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A waiting fork gets the lock before the hook's next turn, even if that comes at once."""
    monkeypatch.setattr(forks, "FORK_WAITS_S", DEADLINE_S)
    path = tmp_path / "leo.sqlite3"
    sqlite3.connect(path).execute("CREATE TABLE fed (text)").connection.close()
    over = threading.Event()

    def feed_on() -> None:
        while not over.is_set():
            ingest(
                path,
                ["a"],
                lambda connection, text: connection.execute("INSERT INTO fed VALUES (?)", (text,)),
            )

    def child_feeds() -> object:
        own = sqlite3.connect(":memory:")
        return own.execute("CREATE TABLE fed (text)").fetchall()

    hook = threading.Thread(target=feed_on)
    hook.start()
    try:
        for _ in range(20):
            started = time.monotonic()
            assert found_in_child(child_feeds) == "[]"
            assert time.monotonic() - started < forks.FORK_WAITS_S
    finally:
        over.set()
        hook.join(DEADLINE_S)


HOLDS_BACK = """
import os, signal, subprocess, sys, tempfile
from dreamclient import DreamClient, Timing
from dreamclient.embedded import EmbeddedDaemon

with tempfile.TemporaryDirectory() as state:
    daemon = EmbeddedDaemon(state)
    client = DreamClient(name="a host", connect=daemon, timing=Timing(hello_s=60))
    assert client.start(60), client.trouble
    signals = {signal.SIGINT, signal.SIGTERM}
    assert not signals & signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    for one in signals:
        os.kill(os.getpid(), one)
    print(signals == signal.sigpending())
    client.close()
    daemon.close()
    os._exit(0)
"""


def test_p1_a_host_that_blocks_signals_gets_none_through_our_threads() -> None:
    """Neither through the client's nor through those of a daemon in its process."""
    told = subprocess.run(
        [sys.executable, "-c", HOLDS_BACK], capture_output=True, text=True, timeout=60, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (0, "True\n", "")


def test_a_process_that_a_hook_starts_inherits_the_signals_of_the_host(tmp_path: Path) -> None:
    def blocked(*_: object) -> dict[str, str]:
        return {"text": " ".join(sorted(str(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, ())))}

    events: list[dict[str, str]] = []
    path = tmp_path / "dreamd.sock"
    theirs = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        with (
            LittleDaemon(path) as daemon,
            DreamClient(blocked, socket_path=path, on_event=lambda _: events.append(blocked())) as client,
        ):
            assert client.start(DEADLINE_S)
            connection = daemon.arrival()
            connection.notify("event", {})
            answer = connection.call("generate", "a seed", 0.5, 0.5).result
            assert answer == events[0] == blocked()
            assert str(signal.SIGUSR2) in answer["text"].split()
            assert str(signal.SIGTERM) not in answer["text"].split()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, theirs)


def test_a_hook_call_makes_nothing_of_the_signals() -> None:
    """It would take longer than most hooks: `signal.pthread_sigmask` calls a function for each of 60 signals."""
    calls: list[str] = []

    def hook() -> None:
        return None

    def count() -> None:
        sys.setprofile(
            lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None
        )
        try:
            forks.call_host(hook)
        finally:
            sys.setprofile(None)

    thread = threading.Thread(target=count)
    forks.start_thread(thread)
    thread.join(DEADLINE_S)
    assert "hook" in calls
    assert len(calls) < 20, calls
