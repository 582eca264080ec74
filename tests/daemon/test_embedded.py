"""The embedded form: a daemon on a thread of its host, which does not notice it."""

import logging
import os
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient
from dreamclient.embedded import EmbeddedDaemon
from dreamclient.errors import DreamError, NotConnected

from dreamd import embedded as embedded_host
from dreamd.app import embed
from dreamd.daemon import Daemon
from dreamd.engine import engine
from dreamd.errors import StartError
from dreamd.process.state_folder import LOCK_NAME, state_lock
from dreamd.store.schema import MIGRATIONS
from tests.helpers.daemons.in_loop import chosen, wait_for_database
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.peer import hearing, saying
from tests.helpers.ptrace import fork
from tests.helpers.state_folder import inbox_files
from tests.helpers.waiting import until

DEADLINE_S = 20.0
STIRRED = {"prompt": "hello", "reply": "I am here", "trauma_level": 0.9}
EAGER = {"gate__chance": 1, "gate__cooldown_s": 0}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts an embedded daemon with these settings; all are closed in the end."""
    wait_for_database(monkeypatch)
    monkeypatch.setattr(engine, "DELIVERY_S", DEADLINE_S)
    begun = []

    def start(folder: Path = tmp_path / "state", db_path: Path | None = None, **settings):
        begun.append(embed(folder, db_path=db_path, settings=chosen(**settings)))
        return begun[-1]

    yield start
    for embedded in begun:
        embedded.close()


def status(embedded):
    with DreamClient(connect=embedded.connect, name="onlooker") as onlooker:
        assert onlooker.start(DEADLINE_S)
        return onlooker.call("status")


def end(embedded):
    """Close it, and wait until it has ended: `close` waits half a second at most."""
    embedded.close()
    embedded.join(DEADLINE_S)
    assert not embedded.alive


def test_a_leo_dreams_with_the_daemon_in_his_process(start, tmp_path):
    embedded = start()
    with DreamClient(saying, hearing, connect=embedded.connect) as leo:
        assert leo.start(DEADLINE_S)
        assert leo.dream_now(STIRRED)["outcome"] == "complete"
    found = status(embedded)
    assert (found["state"], found["socket"], found["pid"]) == ("ok", "", os.getpid())
    assert {path.name for path in (tmp_path / "state").iterdir()} >= {"dream.sqlite3", LOCK_NAME}
    until(lambda: len(inbox_files(tmp_path / "state")) == 1, "its file is written")
    assert not [path for path in (tmp_path / "state").iterdir() if path.is_socket()]


def test_a_host_that_changes_its_folder_keeps_its_daemon(start, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    embedded = start("state", "own.sqlite3")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with DreamClient(saying, hearing, connect=embedded.connect) as leo:
        assert leo.start(DEADLINE_S)
        assert leo.dream_now(STIRRED)["outcome"] == "complete"
    found = status(embedded)
    assert found["state_dir"] == str(tmp_path / "state")
    assert found["database"]["path"] == str((tmp_path / "own.sqlite3").resolve())
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_p8_the_state_folder_is_held_until_the_end(start, tmp_path):
    embedded = start()
    with pytest.raises(StartError) as refused:
        start()
    assert refused.value.exit_code == 3
    assert DaemonProcess(tmp_path / "state").spawn().wait() == 3
    end(embedded)
    with DaemonProcess(tmp_path / "state") as service:
        assert service.call("status")["state"] == "ok"


def test_p8_a_folder_that_a_service_holds_is_refused(start, tmp_path):
    with DaemonProcess(tmp_path / "state"), pytest.raises(StartError):
        start()


def test_changes_nothing_of_the_host(start):
    def host():
        mask = os.umask(0o022)
        os.umask(mask)
        signals = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]
        return mask, signals, resource.getrlimit(resource.RLIMIT_NOFILE), signal.set_wakeup_fd(-1)

    before = host()
    soft, hard = before[2]
    low = min(soft, 256)
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    try:
        status(start())
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (low, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert host() == before


def test_p14_its_log_stays_silent(start, caplog, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/dream.sqlite3").write_bytes(b"no database at all" * 100)
    embedded = start()
    assert status(embedded)["database"]["notes"]  # of which the service's log would tell
    end(embedded)
    assert caplog.records == []
    assert logging.getLogger("dreamd").propagate


def test_log_stays_silent_until_the_last_of_several_daemons_ends(start, tmp_path):
    first, second = start(), start(tmp_path / "second")
    end(first)
    assert not logging.getLogger("dreamd").propagate
    end(second)
    assert logging.getLogger("dreamd").propagate
    assert logging.getLogger("dreamd").handlers == []


def test_close_during_a_restart_ends_it(start, tmp_path, monkeypatch):
    embedded = start()
    (tmp_path / "state/dream.sqlite3").unlink()
    with DreamClient(saying, hearing, connect=embedded.connect) as leo:
        assert leo.start(DEADLINE_S)
        with suppress(DreamError):
            leo.dream_now(STIRRED)
    embedded._thread.join(DEADLINE_S)
    begin = embedded._start

    def start_and_close():
        embedded.close()
        begin()

    monkeypatch.setattr(embedded, "_start", start_and_close)
    with suppress(NotConnected):
        embedded.connect().close()
    embedded._thread.join(DEADLINE_S)
    assert not embedded.alive


def test_leaves_a_foreign_database_alone(start, tmp_path):
    theirs = tmp_path / "state/leo.sqlite3"
    theirs.parent.mkdir()
    with sqlite3.connect(theirs) as leo:
        leo.execute("CREATE TABLE trigrams (a, b, c)")
    leo.close()
    before = theirs.read_bytes(), theirs.stat().st_mtime_ns
    embedded = start(db_path=theirs)
    assert status(embedded)["database"]["path"] == str(theirs.with_name("dream.sqlite3"))
    assert (theirs.read_bytes(), theirs.stat().st_mtime_ns) == before


def test_uses_a_given_database(start, tmp_path):
    embedded = start(db_path=tmp_path / "mine.sqlite3")
    assert status(embedded)["database"]["path"] == str(tmp_path / "mine.sqlite3")


def test_a_database_of_a_newer_version_is_refused(start, tmp_path):
    with sqlite3.connect(tmp_path / "new.sqlite3") as new:
        new.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    new.close()
    with pytest.raises(StartError):
        start(db_path=tmp_path / "new.sqlite3")


def test_new_settings_apply_to_the_next_dream(start):
    embedded = start(**EAGER)
    with DreamClient(connect=embedded.connect) as leo:
        assert leo.start(DEADLINE_S)
        assert leo.call("dream.context", STIRRED)["reason"] == "no_hooks"
        embedded.adopt(chosen(gate__enabled=False))
        assert leo.call("dream.context", STIRRED)["reason"] == "disabled"


def test_new_settings_apply_to_the_friend(start):
    embedded = start(**EAGER)
    with DreamClient(saying, hearing, connect=embedded.connect, origin=["I am a small organism."]) as leo:
        assert leo.start(DEADLINE_S)
        embedded.adopt(chosen(friend__decay=0))
        assert leo.dream_now(STIRRED)["outcome"] == "complete"
        kept = leo.call("friend.fragments", None)
    assert next(each["weight"] for each in kept if each["origin"]) == chosen().friend.origin_floor


def test_runs_without_uvloop(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert status(start())["state"] == "ok"


def test_connect_fails_after_close_and_close_may_be_repeated(start):
    embedded = start()
    end(embedded)
    embedded.close()
    with pytest.raises(NotConnected, match="has ended"):
        embedded.connect()
    with pytest.raises(NotConnected, match="has ended"):
        embedded.adopt(chosen())


def test_shutdown_over_the_wire_ends_it(start):
    embedded = start()
    with DreamClient(connect=embedded.connect) as leo:
        assert leo.start(DEADLINE_S)
        assert leo.call("shutdown") is True
    embedded._thread.join(DEADLINE_S)
    assert not embedded.alive


def test_does_not_wait_for_a_stuck_loop(start, monkeypatch):
    embedded, free = start(), threading.Event()
    monkeypatch.setattr(embedded_host, "CONNECT_S", 0.02)
    embedded._loop.call_soon_threadsafe(free.wait, DEADLINE_S)
    with pytest.raises(NotConnected, match="TimeoutError"):
        embedded.adopt(chosen())
    free.set()


def test_p1_a_fault_at_its_end_does_not_reach_the_host(start, monkeypatch):
    async def fault(*_):
        raise RuntimeError

    said = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    monkeypatch.setattr(Daemon, "_stop", fault)
    end(start())
    assert said == []


# --- the end of the host -------------------------------------------------------------------------------

HOST = """
import logging, os, sys, threading
from pathlib import Path
from dreamclient.clients.thread import DreamClient
from dreamd.app import embed
from tests.helpers.daemons.in_loop import chosen
embedded = embed(Path(sys.argv[1]), settings=chosen(gate__chance=1, gate__cooldown_s=0))
"""
STIR = "leo.offer({'prompt': 'hello', 'reply': 'I am here', 'trauma_level': 0.9})\n"
EXITS_IN_A_LINE = """
called, said = threading.Event(), []
def generate(seed, temperature, weight):
    said.append(1)
    if len(said) == 3:  # two candidates of the first line came before
        called.set()
        threading.Event().wait()
    return 'the rain came over the hill'
leo = DreamClient(generate, lambda text: None, connect=embedded.connect)
assert leo.start(20)
""" + STIR + "assert called.wait(20)\n"  # fmt: skip
FORKS = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which this is about
forked, forks = os.pipe()
ours, child_side = os.pipe()
if os.fork() == 0:
    os.close(child_side)
    code = 1 if embedded.alive else 0
    embedded.close()
    os.write(forks, b".")
    os.read(ours, 1)  # until the parent is done
    os._exit(code)
os.close(ours)
os.read(forked, 1)
embedded.close()
embedded.join(20)
again = embed(Path(sys.argv[1]), settings=chosen())
assert again.alive
os.close(child_side)
assert os.wait()[1] == 0
"""


def host(state, program):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", HOST + program, str(state)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=DEADLINE_S,
        text=True,
    )


def free(state):
    with state_lock(state):
        return True


def test_p1_a_host_that_exits_within_a_line_is_not_kept_waiting(tmp_path):
    ended = host(tmp_path / "state", EXITS_IN_A_LINE)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert free(tmp_path / "state")
    with closing(embed(tmp_path / "state")):  # completes what the host's half a second was too short for
        until(lambda: len(inbox_files(tmp_path / "state")) == 1, "its file is written")  # P5
    with sqlite3.connect(tmp_path / "state/dream.sqlite3") as database:
        ((outcome, lines),) = database.execute("SELECT outcome, episodes_count FROM dream_dialogs")
    database.close()
    assert outcome == "left"
    assert lines == 1


def test_p1_the_exit_code_of_a_host_is_his_own(tmp_path):
    ended = host(tmp_path / "state", "sys.exit(7)")
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, "", "")
    assert free(tmp_path / "state")
    assert not (tmp_path / "state/dream.sqlite3-wal").exists()  # it was closed in order


def test_p1_prints_nothing_about_a_damaged_database(tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/dream.sqlite3").write_bytes(b"no database at all" * 100)
    ended = host(tmp_path / "state", "")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert list((tmp_path / "state").glob("*.damaged-*"))


def test_p8_a_forked_child_does_not_hold_the_folder(tmp_path):
    ended = host(tmp_path / "state", FORKS)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_fork_after_its_end_touches_nothing(start):
    embedded = start()
    numbers = embedded._daemon.locks
    end(embedded)
    with socket.socket() as other:
        for number in numbers:
            os.dup2(other.fileno(), number)
        before = os.fstat(other.fileno())
        embedded._in_child()
        for number in numbers:
            assert os.path.samestat(os.fstat(number), before)
            os.close(number)
        embedded._in_child()


def test_p8_refuses_a_database_that_another_daemon_has_open(start, tmp_path):
    """P8: the state folders differ, so a lock of the database itself refuses it."""
    shared = tmp_path / "shared.sqlite3"
    first = start(tmp_path / "a", shared, **EAGER)
    for _ in range(2):
        with pytest.raises(StartError, match=r"another dreamd has .*shared\.sqlite3 open") as refused:
            start(tmp_path / "b", shared)
        assert refused.value.exit_code == 6
    with DreamClient(saying, hearing, connect=first.connect) as leo:
        assert leo.start(DEADLINE_S)
        assert leo.dream_now()["outcome"] == "complete"
        assert leo.dream_now(STIRRED)["outcome"] == "complete"
    end(first)
    second = start(tmp_path / "b", shared)
    assert status(second)["dialogues"] == {"complete": 2}


def test_the_database_in_another_daemons_state_folder_is_refused(start, tmp_path):
    start(tmp_path / "a")
    with pytest.raises(StartError, match="another dreamd has"):
        start(tmp_path / "b", tmp_path / "a" / "dream.sqlite3")
    start(tmp_path / "b")


def test_p8_a_forked_child_does_not_hold_a_database_that_was_given(start, tmp_path):
    shared = tmp_path / "shared.sqlite3"
    first = start(tmp_path / "a", shared)
    ours, theirs = socket.socketpair()

    def waits():
        ours.close()
        theirs.send(b".")  # what is done in a child is done
        return len(theirs.recv(1))

    child = fork(waits)
    assert ours.recv(1) == b"."
    end(first)
    assert status(start(tmp_path / "b", shared))["state"] == "ok"
    ours.close()
    theirs.close()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("how", ["EmbeddedDaemon", "embed"])
def test_client_connects_to_a_new_daemon_after_the_database_was_replaced(start, tmp_path, how):
    """The new daemon serves the new database. The old one does not write over it."""
    database = tmp_path / "state" / "dream.sqlite3"
    daemon = EmbeddedDaemon(tmp_path / "state") if how == "EmbeddedDaemon" else start().connect
    with DreamClient(saying, hearing, connect=daemon) as leo:
        assert leo.start(DEADLINE_S)
        assert leo.dream_now(STIRRED)["outcome"] == "complete"
        [thread] = [thread for thread in threading.enumerate() if thread.name == "dreamd"]
        with closing(sqlite3.connect(database)) as old, closing(sqlite3.connect(tmp_path / "b")) as copy:
            old.backup(copy)
        assert leo.dream_now(STIRRED)["outcome"] == "complete"
        os.replace(tmp_path / "b", database)
        assert leo.dream_now(STIRRED)["outcome"] == "store_error"
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
        until(lambda: "lost" in leo.failures and leo.connected, "connected again")
        assert leo.trouble == ""
        assert leo.call("status")["dialogues"] == {"complete": 1}
        assert leo.dream_now(STIRRED)["outcome"] == "complete"
    if how == "EmbeddedDaemon":
        daemon.close()


def test_a_lost_daemon_that_cannot_restart_reports_why_at_each_attempt(start, tmp_path):
    embedded, database = start(), tmp_path / "state" / "dream.sqlite3"
    with DreamClient(connect=embedded.connect) as asking:
        assert asking.start(DEADLINE_S)
        database.rename(tmp_path / "away")
        database.mkdir()
        with pytest.raises(DreamError):
            asking.call("dream.seed", {"origin": ["a stone"]})
    embedded._thread.join(DEADLINE_S)
    for _ in range(2):
        with pytest.raises(NotConnected, match="no file stands in its place"):
            embedded.connect()
    database.rmdir()
    (tmp_path / "away").rename(database)
    assert status(embedded)["state"] == "ok"
    embedded.close()
    with pytest.raises(NotConnected):
        embedded.connect()
