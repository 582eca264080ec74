"""The whole daemon: the order of start and end, the tick, and the reports of faults."""

import asyncio
import fcntl
import os
import random
import shutil
import signal
import socket
import sqlite3
import threading
from contextlib import ExitStack, asynccontextmanager, closing

import pytest

from dreamd import app
from dreamd import daemon as daemon_module
from dreamd.daemon import Daemon, place_of
from dreamd.engine.engine import Engine
from dreamd.errors import StartError
from dreamd.process.systemd import Notifier
from dreamd.store import places
from dreamd.wire.server import Server
from tests.helpers.daemons.in_loop import chosen, serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import STIRRED, Gate, leo, leo_at, onlooker, settled
from tests.helpers.peer import PlainPeer
from tests.helpers.trouble import Trouble
from tests.helpers.waiting import until, until_on_loop


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)

    async def hears(self):
        return (await asyncio.get_running_loop().sock_recv(self.socket, 1000)).decode().split("\n")


@asynccontextmanager
async def managed(tmp_path, **daemon):
    manager = Manager(tmp_path / "notify")
    made = Daemon(
        chosen(), tmp_path / "s", tmp_path / "s" / "dreamd.sock", notifier=Notifier(manager.path),
        chance=random.Random(1), **daemon,
    )  # fmt: skip
    with closing(manager.socket):
        yield made, manager


async def test_notifies_ready_when_it_accepts_and_stopping_at_the_end(tmp_path):
    async with managed(tmp_path) as (daemon, manager):
        async with daemon.serve() as service:
            assert await manager.hears() == ["READY=1", "STATUS=waiting for leo"]
            async with await PlainPeer.connect(service.socket) as peer:
                assert (await peer.call("status"))["state"] == "ok"
        assert await manager.hears() == ["STOPPING=1"]
        assert not daemon.socket_path.exists()


async def test_ready_is_told_after_the_database_is_open_and_calls_are_served(tmp_path, monkeypatch):
    """What systemd starts after dreamd may connect at once."""
    seen = []

    def noting(place, name, what):
        real = getattr(place, name)

        def noted(*arguments):
            result = real(*arguments)
            seen.append(what)
            return result

        monkeypatch.setattr(place, name, noted)

    noting(places, "open_file", "database open")
    noting(Engine, "_take_up", "loaded")
    noting(Server, "listen", "served")
    noting(Notifier, "tell", "told")
    async with managed(tmp_path) as (daemon, manager), daemon.serve():
        assert (await manager.hears())[0] == "READY=1"
        assert seen == ["database open", "loaded", "served", "told"]


async def test_tick_feeds_the_watchdog_and_logs_only_changes(tmp_path, caplog):
    async with managed(tmp_path, tick_s=0.01) as (daemon, manager), daemon.serve() as service:
        await manager.hears()
        assert await manager.hears() == ["WATCHDOG=1", "STATUS=waiting for leo"]
        async with Trouble(service.store):
            while await manager.hears() != ["WATCHDOG=1", "STATUS=degraded: locked"]:
                pass
            assert await manager.hears() == ["WATCHDOG=1", "STATUS=degraded: locked"]
        while await manager.hears() != ["WATCHDOG=1", "STATUS=waiting for leo"]:
            pass
        assert service.engine.unavailable_reason is None
    told = [record.message for record in caplog.records if record.message.startswith("state: ")]
    assert [state.rpartition(": ")[2] for state in told] == ["locked", "ok"]


async def test_tick_binds_a_deleted_socket_again(tmp_path):
    """P10: the deletion is counted. Connected clients stay connected."""
    async with serving(tmp_path, tick_s=0.01) as service, await onlooker(service) as peer:
        os.unlink(service.socket)
        await until_on_loop(lambda: (tmp_path / "dreamd.sock").exists())
        await until_on_loop(lambda: len(service.sessions) == 1)
        async with await PlainPeer.connect(service.socket) as other:
            assert (await other.call("status"))["failures"] == {"listener: socket vanished": 1}
        assert await peer.call("why") == []
    assert not (tmp_path / "dreamd.sock").exists()


async def test_reports_a_vanished_socket_until_it_can_be_bound(tmp_path):
    async with serving(tmp_path, tick_s=0.01) as service:
        os.unlink(service.socket)
        (tmp_path / "dreamd.sock").write_text("in the way")
        await until_on_loop(lambda: service.engine.doing == "degraded: socket vanished")
        os.unlink(service.socket)
        await until_on_loop(lambda: (tmp_path / "dreamd.sock").is_socket())
        async with await PlainPeer.connect(service.socket) as peer:
            told = await peer.call("status")
    assert (told["state"], told["failures"]) == ("ok", {"listener: socket vanished": 1})


async def test_p8_another_folder_in_the_place_of_ours_is_not_written_to(tmp_path):
    """Its database may be another daemon's, so this daemon ends."""
    async with managed(tmp_path, tick_s=0.01) as (daemon, _), asyncio.timeout(20):
        async with daemon.serve():
            state, other = tmp_path / "s", tmp_path / "other"
            shutil.copytree(state, other, ignore=shutil.ignore_patterns("*.sock"))
            before = (other / "dream.sqlite3").read_bytes()
            state.rename(tmp_path / "away")
            other.rename(state)
            await daemon.stopping.wait()
        assert daemon.lost.startswith(("state folder replaced", "database "))  # the database is gone with it
        assert daemon.exit_code == 7
        assert (state / "dream.sqlite3").read_bytes() == before


@pytest.fixture
def stuck(monkeypatch):
    """A database that does not open until it is set."""
    go, real, failed = threading.Event(), places.open_file, []

    def open_file(*arguments):
        assert go.wait(20)
        return real(*arguments)

    monkeypatch.setattr(places, "OPEN_S", 0.01)
    monkeypatch.setattr(places, "open_file", open_file)
    monkeypatch.setattr(threading, "excepthook", failed.append)
    yield go
    go.set()
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            thread.join(20)
    assert failed == []


async def test_a_hanging_database_delays_neither_start_nor_end(tmp_path, stuck):
    """The check of a large database may take minutes, and a disk may hang."""
    async with managed(tmp_path) as (daemon, manager):
        async with daemon.serve() as service:
            assert await manager.hears() == ["READY=1", "STATUS=degraded: database does not answer"]
            async with await PlainPeer.connect(service.socket) as peer:
                assert (await peer.call("status"))["state"] == "degraded: database does not answer"
                daemon.stopping.set()
        assert await manager.hears() == ["STOPPING=1"]
    stuck.set()


async def test_loads_a_database_that_opens_late(tmp_path, stuck):
    async with serving(tmp_path, tick_s=0.01) as service, await leo(service) as peer:
        stuck.set()
        await until_on_loop(lambda: service.engine.degraded_reason is None)
        assert (await peer.call("dream.now", STIRRED))["outcome"] == "complete"


async def test_ends_if_a_late_database_is_foreign(tmp_path, stuck):
    (tmp_path / "s").mkdir()
    with closing(sqlite3.connect(tmp_path / "s" / "dream.sqlite3")) as database:
        database.execute("CREATE TABLE trigrams (a)")
    async with managed(tmp_path, tick_s=0.01) as (daemon, _), asyncio.timeout(20):
        async with daemon.serve():
            stuck.set()
            await daemon.stopping.wait()
        assert daemon.exit_code == 6
        assert "tables of others" in daemon.lost


def test_embedded_a_hanging_database_delays_no_exit(tmp_path, stuck):
    """Its thread outlives its loop, and prints nothing."""
    embedded = app.embed(tmp_path / "s", settings=chosen())
    embedded.close()
    embedded._thread.join(20)
    assert not embedded.alive
    stuck.set()


async def test_logs_trouble_at_the_start(tmp_path, caplog):
    (tmp_path / "dream.sqlite3").touch()
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        async with serving(tmp_path) as service:
            await until_on_loop(lambda: "state: locked" in caplog.messages)
            assert service.engine.degraded_reason == "locked"


async def test_p10_p14_faults_of_the_loop_are_counted_and_logged_by_type_and_place(tmp_path, caplog):
    def fail(text):
        raise LookupError(text)

    async with serving(tmp_path) as service:
        loop = asyncio.get_running_loop()
        loop.call_soon(fail, "secret words")
        loop.call_exception_handler({"message": "something (secret words)"})
        await until_on_loop(lambda: len(service.failures.counts) == 2)
        assert service.failures.counts == {"daemon: LookupError": 1, "daemon: fault": 1}
    assert "LookupError at test_daemon.py:" in caplog.text
    assert "something : fault" in caplog.text
    assert "secret" not in caplog.text


def test_place_is_empty_without_an_exception():
    assert place_of(None) == place_of(ValueError()) == ""


async def test_a_newer_database_ends_the_start_and_is_left_untouched(tmp_path):
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database:
        database.execute("PRAGMA user_version = 99")
    before = (tmp_path / "dream.sqlite3").read_bytes()
    with pytest.raises(StartError) as caught:
        async with serving(tmp_path):
            pass
    assert caught.value.exit_code == 6
    assert (tmp_path / "dream.sqlite3").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"dream.sqlite3", "dreamd.lock"}


async def test_logs_what_the_store_did_at_opening(tmp_path, caplog):
    (tmp_path / "dream.sqlite3").write_bytes(b"no database" * 1000)
    async with serving(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        [note] = (await peer.call("status"))["database"]["notes"]
        assert "the database was damaged" in note
    assert note in caplog.text
    assert len(list(tmp_path.glob("dream.sqlite3.damaged-*"))) == 1


async def test_serves_a_passed_socket_and_keeps_its_file(tmp_path):
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(tmp_path / "passed"))
        passed.listen()
        passed.setblocking(False)
        daemon = Daemon(chosen(), tmp_path / "s", tmp_path / "unused", passed=passed.dup())
        async with daemon.serve() as service, await PlainPeer.connect(tmp_path / "passed") as peer:
            assert service.socket == str(tmp_path / "passed")
            assert (await peer.call("status"))["socket"] == service.socket
        assert (tmp_path / "passed").exists()
        assert not (tmp_path / "unused").exists()
        async with daemon_again(tmp_path, passed) as peer:  # what systemd does: the same socket once more
            assert (await peer.call("status"))["state"] == "ok"


@asynccontextmanager
async def daemon_again(tmp_path, passed):
    daemon = Daemon(chosen(), tmp_path / "s", tmp_path / "unused", passed=passed.dup())
    async with daemon.serve(), await PlainPeer.connect(tmp_path / "passed") as peer:
        yield peer


async def test_end_does_not_wait_for_a_hanging_dialogue(tmp_path, monkeypatch, caplog):
    """Another process holds the inbox's lock. P5: the shard is delivered at the next start."""
    monkeypatch.setattr(daemon_module, "STOP_S", 0.05)
    with ExitStack() as lock:
        async with serving(tmp_path) as service:
            peer = await leo(service)
            await peer.call("dream.now", STIRRED)
            await settled(service)
            held = lock.enter_context((tmp_path / "inbox" / "dreams" / ".lock").open("r+"))
            fcntl.flock(held, fcntl.LOCK_EX)
            peer.send([0, 99, "dream.now", [STIRRED]])
            await until_on_loop(lambda: service.engine.dialogues.outcomes["complete"] == 2)
        await peer.close()
    assert "not all was done in 0.05 s; it is completed at the next start" in caplog.text
    assert len(list((tmp_path / "inbox" / "dreams").glob("*.json"))) == 1
    async with serving(tmp_path) as service:
        await until_on_loop(lambda: len(list((tmp_path / "inbox" / "dreams").glob("*.json"))) == 2)
        assert service.failures.counts == {}


def test_a_process_serves_until_it_is_told_to_stop(tmp_path):
    for number, level, says in (
        (signal.SIGTERM, "info", ["INFO dreamd: serving at", "INFO dreamd: stopped"]),
        (signal.SIGTERM, "", ["INFO dreamd: serving at"]),
        (signal.SIGINT, "error", []),
        (signal.SIGINT, "off", []),
    ):
        chosen = ["--set", f"log.level={level}"] if level else []
        daemon = DaemonProcess(tmp_path / f"s{level}", *chosen).start()
        daemon.process.send_signal(number)
        assert daemon.wait() == 0
        lines = daemon.stderr.read_text().splitlines()
        assert len(lines) == len(says)
        assert all(line.startswith(start) for line, start in zip(lines, says, strict=True))


def test_a_process_that_cannot_start_says_why_in_one_line(tmp_path):
    (tmp_path / "state").write_text("")
    daemon = DaemonProcess(tmp_path / "state").spawn()
    assert daemon.wait() == 4
    [line] = daemon.said().splitlines()
    assert line.startswith(f"dreamd: the state folder {tmp_path / 'state'} cannot be used: ")


async def test_a_dialogue_on_uvloop_through_a_process(tmp_path):
    with DaemonProcess(tmp_path / "s") as daemon:
        async with await leo_at(daemon.socket) as peer:
            ended = await peer.call("dream.now", STIRRED)
            assert (ended["outcome"], ended["lines"] in (3, 4)) == ("complete", True)
            heard = [text for method, [text, *_] in peer.asked if method == "observe"]
            assert heard == [t["text"] for t in (await peer.call("dialogs.get", 1))["turns"]]
        gate = Gate()
        peer = await leo_at(daemon.socket, generate=gate)
        peer.send([0, 99, "dream.now", [STIRRED]])
        await gate.reached.wait()
        await peer.close()
        async with await leo_at(daemon.socket) as other:
            assert (await other.call("dream.now", STIRRED))["outcome"] == "complete"
            assert (await other.call("status"))["dialogues"] == {"complete": 2, "left": 1}


def test_settings_are_read_again_at_sighup_and_wrong_ones_change_nothing(tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("[log]\nlevel = 'info'\n")
    with DaemonProcess(tmp_path / "s", "--config", str(config)) as daemon:
        for text, says in (
            ("[log]\nlevel = 'info'\n[gate]\nchance = 1", "WARNING dreamd: settings reloaded"),
            ("[log]\nlevel = 'off'\n", "WARNING dreamd: settings reloaded; a restart is needed for log"),
            ("[gate]\nchanse = 1", "WARNING dreamd: not reloaded: "),
        ):
            config.write_text(text)
            daemon.process.send_signal(signal.SIGHUP)
            until(lambda says=says: says in daemon.said(), says)
        status = daemon.call("status")
        assert status["state"] == "ok"
        assert status["failures"] == {"reload: SettingsError": 1, "reload: restart needed": 1}
        assert [one["where"] for one in status["last_errors"]] == ["reload (log)", "reload"]


def test_handles_a_sighup_that_comes_during_the_start(tmp_path):
    inbox = tmp_path / "s" / "inbox" / "dreams"
    inbox.mkdir(mode=0o700, parents=True)
    with (inbox / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # it waits there
        daemon = DaemonProcess(tmp_path / "s", "--set", "log.level=info").spawn()
        until((tmp_path / "s" / "dream.sqlite3").exists, "its database is made")
        daemon.process.send_signal(signal.SIGHUP)
    until(lambda: "settings reloaded" in daemon.said(), "it is told")
    serving, reloaded = daemon.stderr.read_text().splitlines()
    assert ("serving" in serving, "reloaded" in reloaded) == (True, True)
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("watchdog_us", "seconds"), [(None, 15.0), ("60000000", 15.0), ("4000000", 2.0), ("x", 15.0), ("0", 15.0)]
)
def test_the_tick_is_twice_as_fast_as_the_watchdog_waits(watchdog_us, seconds):
    assert app._tick_s({} if watchdog_us is None else {"WATCHDOG_USEC": watchdog_us}) == seconds


async def test_uses_a_database_beside_a_foreign_one(tmp_path):
    with closing(sqlite3.connect(tmp_path / "leo.sqlite3")) as database:
        database.execute("CREATE TABLE trigrams (a)")
    before = (tmp_path / "leo.sqlite3").read_bytes()
    daemon = Daemon(chosen(), tmp_path / "s", tmp_path / "sock", database=tmp_path / "leo.sqlite3")
    async with daemon.serve() as service:
        assert service.store.path == tmp_path / "dream.sqlite3"
    assert (tmp_path / "leo.sqlite3").read_bytes() == before
    (tmp_path / "s" / "dream.sqlite3").write_bytes(before)
    with pytest.raises(StartError):
        async with Daemon(chosen(), tmp_path / "s", tmp_path / "sock").serve():
            pass
    assert (tmp_path / "s" / "dream.sqlite3").read_bytes() == before


async def test_has_no_listener_without_a_socket_path(tmp_path):
    """In the embedded form only `server.connect` makes connections."""
    daemon = Daemon(chosen(), tmp_path / "s", None, tick_s=0.01)
    ours, theirs = socket.socketpair()
    async with daemon.serve():
        await daemon.server.connect(ours)
        async with PlainPeer(*await asyncio.open_unix_connection(sock=theirs), {}) as peer:
            assert (await peer.call("status"))["socket"] == ""
    assert list((tmp_path / "s").glob("*.sock")) == []
