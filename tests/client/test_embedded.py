"""A daemon in the client's own process, and the client that waits for its dreams."""

import os
import sqlite3
import sys

import pytest
from dreamclient.clients.thread import DreamClient
from dreamclient.dropin import DreamContext
from dreamclient.embedded import EmbeddedDaemon
from dreamclient.errors import CallTimeout, NotConnected
from dreamclient.leo import attach

from dreamd import embedded as module
from dreamd import embedded_waiting as waiting
from dreamd.embedded_waiting import WaitingClient
from tests.helpers import leo_double
from tests.helpers.daemons.in_loop import wait_for_database
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.peer import hearing, saying

DEADLINE_S = 20.0
STIRRED = {"prompt": "hello", "reply": "I am here", "trauma_level": 0.9}
EAGER = ("gate.chance=1", "gate.cooldown_s=0")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch, tmp_path):
    for name in ("DREAMD_SOCKET", "DREAMD_STATE_DIR", "DREAMD_CONFIG", "XDG_RUNTIME_DIR", "DREAM_INBOX_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home"))
    wait_for_database(monkeypatch)


@pytest.fixture
def make(tmp_path):
    made = []

    def make(state=tmp_path / "state", database=None):
        made.append(EmbeddedDaemon(state, database))
        return made[-1]

    yield make
    for daemon in made:
        daemon.close()


def asked(connect, method, *params):
    with DreamClient(connect=connect, name="onlooker") as onlooker:
        if not onlooker.start(DEADLINE_S):
            raise NotConnected(onlooker.trouble)
        return onlooker.call(method, *params)


def test_leos_of_one_process_share_its_daemon(make, tmp_path):
    daemon = make()
    with (
        DreamClient(saying, hearing, connect=daemon) as leo,
        DreamClient(saying, hearing, connect=daemon) as other,
    ):
        assert leo.start(DEADLINE_S)
        assert other.start(DEADLINE_S)
        assert leo.dream_now(STIRRED)["outcome"] == "complete"
        assert len(asked(daemon, "status")["sessions"]) == 3
    assert (tmp_path / "state/dream.sqlite3").exists()


def test_the_usual_state_folder_and_a_named_database(make, tmp_path):
    daemon = make(None, tmp_path / "mine.sqlite3")
    found = asked(daemon, "status")
    assert found["state_dir"] == str(tmp_path / "home/dreamd")
    assert found["database"]["path"] == str(tmp_path / "mine.sqlite3")


def test_connects_to_a_daemon_that_has_the_folder(make, tmp_path):
    with DaemonProcess(tmp_path / "state") as service:
        daemon = make()
        assert asked(daemon, "status")["pid"] == service.process.pid
        daemon.shared().adopt(["gate.enabled=false"])  # its settings are its own
        assert asked(daemon, "status")["state"] == "ok"
    assert asked(daemon, "status")["socket"] == ""  # now that it has gone


def test_p10_a_folder_that_is_held_with_no_socket_is_quiet_and_counted(make):
    asked(make(), "status")
    with DreamClient(connect=make()) as leo:
        assert not leo.start(DEADLINE_S)
        assert leo.offer(STIRRED) is False
        assert leo.failures == {"connect": 1, "not_connected": 1}


def test_names_the_missing_package_without_dreamd(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "dreamd.embedded", None)
    with pytest.raises(NotConnected, match="needs dreamd"):
        make()()


def test_raises_the_reason_if_it_cannot_start(make, tmp_path, monkeypatch):
    (tmp_path / "state").mkdir()
    with sqlite3.connect(tmp_path / "state/dream.sqlite3") as new:
        new.execute("PRAGMA user_version = 99")
    new.close()
    with pytest.raises(NotConnected, match="99"):
        make()()
    monkeypatch.setenv("DREAMD_GATE__CHANCES", "1")
    with pytest.raises(NotConnected, match="CHANCES"):
        make(tmp_path / "other")()


def test_waits_for_a_start_that_another_thread_has_begun(make, monkeypatch):
    daemon = make()
    asked(daemon, "status")
    monkeypatch.setattr(module, "START_S", 0.02)
    with daemon._shared._starting, pytest.raises(NotConnected, match="does not start"):
        daemon()


def test_settings_are_taken_and_wrong_ones_refused(make):
    daemon = make()
    daemon.shared().adopt(["gate.enabled=false"])
    with DreamClient(connect=daemon) as leo:
        assert leo.start(DEADLINE_S)
        assert leo.call("dream.context", STIRRED)["reason"] == "disabled"
        daemon.shared().adopt([])
        assert leo.call("dream.context", STIRRED)["reason"] == "no_hooks"
    with pytest.raises(NotConnected, match=r"gate\.chances"):
        daemon.shared().adopt(["gate.chances=1"])


def test_takes_a_clock(tmp_path):
    now = [1_800_000_000.0]
    shared = module.Shared(tmp_path / "state", None, lambda: now[0])
    with DreamClient(connect=shared.connect) as leo:
        assert leo.start(DEADLINE_S)
        assert leo.call("dream.context", STIRRED)["at"] == 1_800_000_000.0
        now[0] = None
        assert leo.call("dream.context", STIRRED)["at"] != 1_800_000_000.0
    shared.close()


def test_starts_again_after_close(make):
    daemon = make()
    asked(daemon, "status")
    daemon.close()
    daemon.close()
    assert asked(daemon, "status")["state"] == "ok"


# --- waiting -------------------------------------------------------------------------------------------


def test_an_offer_returns_when_the_dream_has_ended(make):
    daemon, heard = make(), []
    daemon.shared().adopt([*EAGER, "dialogue.turns_max=3"])
    leo = WaitingClient(daemon)
    leo.serve(lambda seed, temperature, weight: saying(), heard.append)
    assert leo.start()
    assert leo.offer(STIRRED)
    assert len(heard) == 3
    (dialog,) = asked(daemon, "dialogs.recent", 5)
    assert (dialog["outcome"], dialog["lines"]) == ("complete", 3)
    assert not asked(daemon, "status")["sessions"][1:]  # no connection outlives its offer


def test_p10_counts_a_failure_while_waiting_and_tells_it(make):
    def unreachable():
        raise NotConnected("no daemon there")

    leo = WaitingClient(unreachable)
    assert leo.offer(STIRRED) is False
    assert (leo.failures["not_connected"], leo.trouble) == (1, "no daemon there")
    daemon = make()
    leo._connect = daemon
    assert leo.offer(STIRRED)
    assert leo.trouble == ""
    assert asked(daemon, "status")["failures"]["host: not_connected"] == 1
    assert leo.offer({"prompt": b"what was said"}) is False
    assert (leo.failures["unsendable"], leo.failures["not_connected"]) == (1, 1)
    assert leo.trouble == "a context that cannot be sent: prompt is a bytes; expected a text"


def test_asks_for_the_end_of_a_dream_if_it_is_not_told(make, monkeypatch):
    """The event of the end does not come, as if the store could not take it."""
    monkeypatch.setattr(waiting, "SILENCE_S", 0.01)
    daemon = make()
    daemon.shared().adopt(EAGER)
    leo = WaitingClient(daemon)
    leo.serve(saying, hearing)
    leo._session.on_event = None
    assert leo.offer(STIRRED)
    assert len(asked(daemon, "dialogs.recent", 5)) == 1


def test_a_hook_fails_if_no_thread_waits(make, monkeypatch):
    monkeypatch.setattr(waiting, "HOOK_S", 0.01)
    leo = WaitingClient(make())
    with pytest.raises(CallTimeout):
        leo.on_the_waiting_thread(saying)("a seed", 0.7, 0.3)


class Leo:
    """A double who lives in `folder`, attached through a client that waits; its daemon dreams on every reply."""

    def __init__(self, kind, daemon, monkeypatch, folder):
        for name in ("init_dream", "maybe_run_dream"):
            monkeypatch.setattr(leo_double, name, None)
        monkeypatch.setattr(leo_double, "DB_PATH", None)
        daemon.shared().adopt([*EAGER, "gate.novelty_above=-1"])
        self.connection = leo_double.settle(folder)
        self.field = kind(self.connection)
        self.client = WaitingClient(daemon)
        self.attachment = attach(self.field, client=self.client)

    def end(self):
        self.attachment.detach()
        self.connection.close()


SPOKEN = ("complete", "repeat")  # he draws from chance, and a line that repeats another ends the dream


def test_p1_leo_may_wait_within_his_own_reply(make, tmp_path, monkeypatch):
    """Hooks on another thread would wait for the end of the reply, and the reply for them."""
    daemon = make()
    leo = Leo(leo_double.LeoField, daemon, monkeypatch, tmp_path)
    monkeypatch.setattr(leo_double, "DreamContext", DreamContext)
    monkeypatch.setattr(leo_double, "maybe_run_dream", lambda ctx, **_: leo.attachment.offer(ctx))
    leo.field.reply("what does the river say")
    (dialog,) = asked(daemon, "dialogs.recent", 5)
    assert dialog["outcome"] in SPOKEN
    leo.end()


async def test_p1_an_asynchronous_leo_may_wait_within_his_lock(make, tmp_path, monkeypatch):
    daemon = make()
    leo = Leo(leo_double.AsyncLeoField, daemon, monkeypatch, tmp_path)
    monkeypatch.setattr(leo_double, "DreamContext", DreamContext)
    monkeypatch.setattr(leo_double, "maybe_run_dream", lambda ctx, **_: leo.attachment.offer(ctx))
    await leo.field.async_reply("what does the river say")
    (dialog,) = asked(daemon, "dialogs.recent", 5)
    assert dialog["outcome"] in SPOKEN
    leo.end()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_may_start_a_daemon_while_its_parent_does(tmp_path):
    shared = module.Shared(tmp_path, None)
    with shared._starting:
        child = os.fork()
        if child == 0:
            os._exit(0 if shared._starting.acquire(blocking=False) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_daemon_that_ends_by_itself_is_started_again(make):
    daemon = make()
    asked(daemon, "status")
    embedded = daemon._shared._embedded
    embedded.stop()
    embedded.join(DEADLINE_S)
    assert asked(daemon, "status")["state"] == "ok"
