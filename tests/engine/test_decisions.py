"""Decisions outlive the daemon: the last 256, and counts by day and reason, written at the tick and at the end."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.clock import Clock
from dreamd.dream.gate import Decision
from dreamd.engine.decisions import Decisions
from dreamd.failures import Failures
from dreamd.store.store import Store
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreamctl import dreamctl
from tests.helpers.state_folder import rows
from tests.helpers.trouble import Locked, impatient
from tests.helpers.waiting import until

TICKS = {"WATCHDOG_USEC": "200000"}


@contextmanager
def leo(daemon: DaemonProcess) -> Iterator[DreamClient]:
    with DreamClient(lambda *_: "a line", lambda _: None, socket_path=daemon.socket) as client:
        assert client.start(10)
        yield client


def decide(client: DreamClient, times: int) -> None:
    for _ in range(times):
        assert client.call("dream.context", {})["reason"] == "calm"


def test_decisions_are_there_after_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with DaemonProcess(state) as daemon:
        with leo(daemon) as client:
            decide(client, 3)
            before = client.call("why", 10)
        assert rows(state, "SELECT * FROM dream_decisions") == []  # no tick yet: none was written
    with DaemonProcess(state) as daemon, leo(daemon) as client:
        assert client.call("why", 10) == before
        assert client.call("status")["decisions"] == {}  # those of this daemon
        decide(client, 2)
        assert client.call("why", 10)[2:] == before
    today = time.strftime("%Y-%m-%d", time.gmtime(before[0]["at"]))
    shown = dreamctl("--state-dir", state, "why", "--json")  # with no daemon
    assert [each["reason"] for each in json.loads(shown.stdout)] == ["calm"] * 5
    with DaemonProcess(state) as daemon, leo(daemon) as client:
        days = client.call("stats")["days"]
        assert sum(count for day in days.values() for count in day.values()) == 5
        assert days[today]["calm"] >= 3


def test_the_tick_writes_them_and_the_last_256_stay(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with DaemonProcess(state, env=TICKS) as daemon, leo(daemon) as client:
        decide(client, 300)
        until(
            lambda: rows(state, "SELECT sum(count) FROM dream_decision_counts") == [(300,)],
            "the tick has written them",
        )
        daemon.kill()
    assert rows(state, "SELECT count(*) FROM dream_decisions") == [(256,)]
    with closing(sqlite3.connect(state / "dream.sqlite3")) as database, database:
        database.execute("UPDATE dream_decisions SET decision = 'x' WHERE id % 2 = 0")
    with DaemonProcess(state, env=TICKS) as daemon, leo(daemon) as client:
        assert len(client.call("why", 256)) == 128
        decide(client, 10)
        until(lambda: rows(state, "SELECT sum(count) FROM dream_decision_counts") == [(310,)], "counted on")
    assert rows(state, "SELECT count(*) FROM dream_decisions") == [(256,)]


async def test_writes_refused_decisions_later_and_none_twice(tmp_path: Path) -> None:
    failures = Failures(Clock())
    async with await Store.open(tmp_path / "dream.sqlite3", clock=Clock()) as store:
        kept = Decisions(store, failures)
        lock = Locked(tmp_path)
        await impatient(store)
        lock.begin()
        kept.add(Decision(at=86_399.0, dream=False, reason="calm"))
        await kept.save()
        assert failures.counts == {"store: locked": 1}
        kept.add(Decision(at=86_400.0, dream=False, reason="chance"))
        await kept.save()  # the store is in trouble: it is not tried
        lock.end()
        await store.probe()
        await kept.save()
        assert [each.reason for each in await store.decisions(9)] == ["chance", "calm"]
        assert (await store.stats())["days"] == {"1970-01-01": {"calm": 1}, "1970-01-02": {"chance": 1}}
        said: list[str] = []
        assert store._database
        await store._database.read(lambda connection: connection.set_trace_callback(said.append))
        await kept.save()
        assert said == []


@pytest.mark.parametrize("earlier", [0, 10, 300])
async def test_those_of_before_come_first(tmp_path: Path, earlier: int) -> None:
    async with await Store.open(tmp_path / "dream.sqlite3", clock=Clock()) as store:
        kept = Decisions(store, Failures(Clock()))
        kept.add(Decision(at=1000.0, dream=False, reason="calm"))
        kept.restore([Decision(at=float(at), dream=False, reason="chance") for at in range(earlier)])
        assert len(kept) == min(earlier + 1, 256)
        assert [each.at for each in kept.newest(3)] == [
            1000.0,
            *([earlier - 1.0, earlier - 2.0] if earlier else []),
        ]


@pytest.mark.parametrize(
    ("at", "day"),
    [(float("nan"), "1970-01-01"), (float("inf"), "1970-01-01"), (-1e9, "1970-01-01"), (1e300, "9999-12-31")],
)
async def test_a_clock_that_is_wrong_breaks_nothing(tmp_path: Path, at: float, day: str) -> None:
    async with await Store.open(tmp_path / "dream.sqlite3", clock=Clock()) as store:
        kept = Decisions(store, Failures(Clock()))
        kept.add(Decision(at=at, dream=False, reason="calm"))
        await kept.save()
        assert (await store.stats())["days"] == {day: {"calm": 1}}
