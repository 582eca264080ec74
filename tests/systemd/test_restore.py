"""`dreamctl restore` under a real user manager: the unit and its socket are stopped, and started again."""

import json
import socket
import sqlite3
import threading
from contextlib import closing, suppress

import pytest

from dreamd.ctl.machine.places import has_listener
from tests.helpers.waiting import until


@pytest.fixture(scope="module")
def installed(manager):
    manager.dreamctl("service", "install")
    return manager


@pytest.fixture(autouse=True)
def fresh(installed):
    """Start the unit, as a test before may have left it. systemd starts a unit ten times in a row at most."""
    installed.systemctl("reset-failed", check=False)
    installed.systemctl("start", "dreamd.socket", "dreamd.service")


def active(manager, name: str) -> str:
    return manager.systemctl("is-active", f"dreamd.{name}", check=False)


@pytest.fixture
def leo_connects(installed):
    """A leo who connects whenever he can; each time, systemd starts a daemon for him."""
    ended = threading.Event()

    def connect() -> None:
        while not ended.is_set():
            with suppress(OSError), socket.socket(socket.AF_UNIX) as leo:
                leo.settimeout(0.01)
                leo.connect(str(installed.socket))
                leo.recv(1)

    thread = threading.Thread(target=connect)
    thread.start()
    yield
    ended.set()
    thread.join()


def marked(database) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        return [key for (key,) in connection.execute("SELECT key FROM dream_meta WHERE key = 'mark'")]


def test_restores_while_leo_keeps_connecting(installed, tmp_path, leo_connects):
    state = installed.state / "dreamd"
    until(lambda: has_listener(installed.socket) and active(installed, "service") == "active", "it serves")
    pid = installed.main_pid()
    installed.dreamctl("backup", str(tmp_path / "b"))
    with closing(sqlite3.connect(tmp_path / "b")) as connection, connection:
        connection.execute("INSERT INTO dream_meta VALUES ('mark', '1')")
    for _ in range(3):
        said = json.loads(installed.dreamctl("restore", str(tmp_path / "b"), "--json"))
        assert said["done"] == [
            "stopped the unit dreamd.service and its socket",
            "started the unit dreamd.service",
        ]
        assert (active(installed, "service"), active(installed, "socket")) == ("active", "active")
        assert installed.main_pid() not in (0, pid)
        assert marked(state / "dream.sqlite3") == ["mark"]
    assert not marked(min(state.glob("*.before-restore-*")))
    assert json.loads(installed.dreamctl("status", "--json"))["state"] == "ok"


def test_starts_only_the_socket_again_if_only_it_was_active(installed, tmp_path):
    installed.dreamctl("backup", str(tmp_path / "b"))
    installed.systemctl("stop", "dreamd.service")
    assert active(installed, "socket") == "active"
    said = json.loads(installed.dreamctl("restore", str(tmp_path / "b"), "--json"))
    assert said["done"][1:] == ["started the unit dreamd.socket"]
    assert (active(installed, "service"), active(installed, "socket")) == ("inactive", "active")
    installed.systemctl("stop", "dreamd.socket")
    assert json.loads(installed.dreamctl("restore", str(tmp_path / "b"), "--json"))["done"] == []
    assert active(installed, "socket") == "inactive"


def test_a_refused_restore_leaves_the_unit_running(installed, tmp_path):
    pid = installed.main_pid()
    (tmp_path / "b").write_text("no database")
    installed.dreamctl("restore", str(tmp_path / "b"), check=False)
    assert installed.main_pid() == pid
    with closing(
        sqlite3.connect(installed.state / "dreamd" / "dream.sqlite3", isolation_level=None)
    ) as other:
        installed.dreamctl("backup", str(tmp_path / "c"))
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM dream_meta").fetchone()
        installed.dreamctl("restore", str(tmp_path / "c"), check=False)
    assert (active(installed, "service"), active(installed, "socket")) == ("active", "active")
    assert installed.main_pid() not in (0, pid)


def test_restores_the_service_of_a_second_leo(installed, tmp_path):
    (installed.state / "dreamd@other").mkdir(parents=True, exist_ok=True)
    installed.systemctl("start", "dreamd@other.socket", "dreamd@other.service")
    first, mine = installed.main_pid(), installed.systemctl("show", "-P", "MainPID", "dreamd@other.service")
    installed.dreamctl("--state-dir", str(installed.state / "dreamd@other"), "backup", str(tmp_path / "b"))
    said = json.loads(installed.dreamctl("restore", str(tmp_path / "b"), "--instance", "other", "--json"))
    assert said["database"] == str(installed.state / "dreamd@other" / "dream.sqlite3")
    assert said["done"][1] == "started the unit dreamd@other.service"
    assert installed.systemctl("show", "-P", "MainPID", "dreamd@other.service") not in ("0", mine)
    assert installed.main_pid() == first
    installed.systemctl("stop", "dreamd@other.socket", "dreamd@other.service")
