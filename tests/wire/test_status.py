"""Everything that an operator asks first."""

import asyncio
import os
import threading

import dreamd
from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.dreaming import ORIGIN, STIRRED, Gate, leo, onlooker, settled
from tests.helpers.peer import PlainPeer
from tests.helpers.waiting import until_on_loop

KEYS = {
    "version", "protocol", "pid", "uptime_s", "socket", "state_dir", "state", "enabled", "paused", "chance", "feed",
    "seeded", "sessions", "decisions", "dialogues", "undreams", "hooks", "database", "inbox", "failures", "refusals",
    "last_errors",
}  # fmt: skip


async def test_status_of_a_fresh_daemon(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock) as service, await onlooker(service) as peer:
        time.pass_s(12)
        status = await peer.call("status")
    assert set(status) == KEYS
    assert (status["version"], status["protocol"], status["pid"]) == (dreamd.__version__, 1, os.getpid())
    assert (status["uptime_s"], status["state"], status["seeded"]) == (12.0, "ok", False)
    assert (status["socket"], status["state_dir"]) == (str(tmp_path / "dreamd.sock"), str(tmp_path))
    assert status["decisions"] == status["dialogues"] == status["hooks"] == status["failures"] == {}
    assert status["database"]["path"] == str(tmp_path / "dream.sqlite3")
    assert status["database"]["database_bytes"] > 0
    assert (status["database"]["trouble"], status["database"]["notes"]) == (None, [])
    assert (status["inbox"]["waiting"], status["inbox"]["trouble"]) == (0, None)


async def test_status_of_a_dreaming_daemon(tmp_path):
    gate = Gate()
    async with (
        serving(tmp_path) as service,
        await leo(service, generate=gate) as peer,
        await onlooker(service) as other,
    ):
        await peer.call("dream.seed", ORIGIN)
        await other.call("dream.context", STIRRED)
        dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
        await gate.reached.wait()
        status = await other.call("status")
        assert [(s["name"], s["dreaming"]) for s in status["sessions"]] == [("leo", 1), ("onlooker", None)]
        gate.opened.set()
        lines = (await dreaming)["lines"]
        await settled(service)
        status = await other.call("status")
    assert status["seeded"] is True
    assert status["decisions"] == {"no_hooks": 1, "asked": 1}
    assert status["dialogues"] == {"complete": 1}
    assert {name: figures["calls"] for name, figures in status["hooks"].items()} == {
        "generate": 2 * lines,
        "observe": lines,
    }
    assert all(0 <= f["p50_ms"] <= f["p99_ms"] for f in status["hooks"].values())
    assert status["inbox"]["waiting"] == 1
    assert all(s["dreaming"] is None for s in status["sessions"])


async def test_status_shows_a_mute_leo(tmp_path):
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock) as service,
        await leo(service, generate=lambda *_: "") as peer,
    ):
        await peer.call("dream.now", STIRRED)
        [session] = (await peer.call("status"))["sessions"]
        assert session["mute_s"] == 30.0
        time.pass_s(31)
        [session] = (await peer.call("status"))["sessions"]
        assert session["mute_s"] == 0.0


async def test_status_shows_a_peer_without_a_hello(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        async with await PlainPeer.connect(service.socket) as silent:
            [_, session] = (await silent.call("status"))["sessions"]
        assert (session["name"], session["provides"], session["mute_s"], session["dreaming"]) == (
            "",
            [],
            0.0,
            None,
        )
        await until_on_loop(lambda: len(service.sessions) == 1)
        assert len((await peer.call("status"))["sessions"]) == 1


async def test_answers_at_once_with_nulls_if_a_disk_hangs(tmp_path):
    """An operator has only this call then, so it answers however often it is asked."""
    hold, calls = threading.Event(), []

    def hang():
        calls.append(1)
        hold.wait(20)
        return {"waiting": 0}

    async with serving(tmp_path) as service, await onlooker(service) as peer:
        real = service.store.sizes, service.inbox.counts
        service.store.sizes = service.inbox.counts = hang
        for status in await asyncio.gather(*(peer.call("status") for _ in range(8))):
            assert (status["database"]["database_bytes"], status["database"]["wal_bytes"]) == (None, None)
            assert (status["inbox"]["waiting"], status["inbox"]["done"]) == (None, None)
            assert status["state"] == "ok"
        assert len(calls) == 2
        hold.set()
        service.store.sizes, service.inbox.counts = real
        await peer.call("status")
        status = await peer.call("status")
        assert status["database"]["database_bytes"] > 0
        assert status["inbox"]["waiting"] == 0
