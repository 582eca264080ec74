"""Each method over the wire, as any peer sees it."""

import asyncio
import fcntl
import json
import os
import threading
import weakref

import pytest
from dreamclient.messages import Code, Method

import dreamd
from dreamd.errors import Refusal
from dreamd.inbox.capability import WRITE_SCOPE
from dreamd.store import checkpoints, forgetting, reads, search, writes
from dreamd.store.undreaming import candidates
from dreamd.wire.handlers import TABLE
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import ORIGIN, STIRRED, leo, onlooker, settled
from tests.helpers.peer import PeerError, PlainPeer
from tests.helpers.state_folder import rows
from tests.helpers.trouble import Locked, impatient
from tests.helpers.waiting import until_on_loop

SERVED = {value for name, value in vars(Method).items() if name.isupper()} - {
    Method.GENERATE, Method.OBSERVE, Method.RECALL, Method.UNOBSERVE, Method.EVENT, Method.ERROR,
}  # fmt: skip
TOKEN = {"scopes": [WRITE_SCOPE]}


def test_every_method_of_the_protocol_is_served():
    assert set(TABLE) == SERVED


async def test_hello_introduces_both_and_only_hooks_count_as_provided(tmp_path):
    async with serving(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        answer = await peer.call(
            "hello",
            {"protocol": 1, "name": "leo", "pid": 7, "provides": ["generate", "observe", "evil"], "new": 1},
        )
        assert answer == {
            "protocol": 1, "name": "dreamd", "version": dreamd.__version__, "pid": os.getpid(),
            "provides": sorted(SERVED), "session": 1, "seeded": False,
        }  # fmt: skip
        [session] = (await peer.call("status"))["sessions"]
        assert (session["name"], session["pid"], session["provides"]) == ("leo", 7, ["generate", "observe"])
        await peer.call("dream.seed", ORIGIN)
        assert (await peer.hello())["seeded"] is True


async def test_before_hello_only_the_frozen_subset_is_served(tmp_path):
    async with serving(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        assert (await peer.call("status"))["state"] == "ok"
        for method in SERVED - {"hello", "status", "shutdown"}:
            with pytest.raises(PeerError) as caught:
                await peer.call(method)
            assert caught.value.code == 5
        with pytest.raises(PeerError) as caught:
            await peer.hello(protocol=99, version="9.9")
        assert caught.value.code == 6
        assert caught.value.message == (
            f"leo 9.9 speaks protocol 99, dreamd {dreamd.__version__} speaks 1; "
            "upgrade the older of the two and restart it"
        )
        with pytest.raises(PeerError, match="say hello first"):
            await peer.call("why")
        assert await peer.call("shutdown") is True


async def test_only_a_context_may_be_a_notification(tmp_path):
    """P11: requests that take time are capped, and notifications are not."""
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        for method in SERVED:
            peer.send([2, method, []])
        peer.send([2, "dream.context", [{"prompt": "p"}]])
        peer.send([2, "no.such", []])
        decisions = await peer.call("why")
        assert [decision["reason"] for decision in decisions] == ["no_hooks"]
        counted = await peer.call("status")
        assert not service.stop.__self__.is_set()
    others = SERVED - {"dream.context"}
    assert counted["failures"] == {f"{method}: INVALID_PARAMS": 1 for method in others} | {
        "dream.context: INVALID_PARAMS": 1, "unknown method: UNKNOWN_METHOD": 1,
    }  # fmt: skip


async def test_reads_dialogues_decisions_and_figures(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        ended = [await peer.call("dream.now", STIRRED) for _ in range(3)]
        assert [d["id"] for d in await peer.call("dialogs.recent", 2)] == [3, 2]
        assert len(await peer.call("dialogs.recent")) == 3
        assert await peer.call("dialogs.recent", 0) == []
        assert len((await peer.call("dialogs.get", 1))["turns"]) == ended[0]["lines"]
        assert [d["id"] for d in await peer.call("friend.drift", 1)] == [3]
        weights = [f["weight"] for f in await peer.call("friend.fragments")]
        assert weights == sorted(weights, reverse=True)
        assert (await peer.call("stats"))["dialogs"] == 3
        assert [d["reason"] for d in await peer.call("why", 2)] == ["asked", "asked"]
        with pytest.raises(PeerError, match=r"no dialogue 99; `dreamctl recent` lists them") as caught:
            await peer.call("dialogs.get", 99)
        assert caught.value.code == 12
        replayed = await peer.call("dialogs.replay", 1)
        assert replayed == {"id": 1, "lines": ended[0]["lines"], "same": True, "difference": None}
        with pytest.raises(PeerError, match="no dialogue 99") as caught:
            await peer.call("dialogs.replay", 99)
        assert caught.value.code == 12


async def test_the_inbox_over_the_wire(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("events.subscribe")
        request = {
            "seed": {"goal": "g"},
            "result": {"trace_id": "t-1", "shards": [{"a": 1}]},
            "cap_token": TOKEN,
        }
        report = await peer.call("inbox.persist", request)
        assert report["shards_written"] == 1
        assert json.loads((tmp_path / "inbox" / "dreams" / "t-1.json").read_text())["shards"] == [{"a": 1}]
        event = (await peer.told.get())[1][0]
        assert (event["type"], event["trace_id"], event["shards"]) == ("inbox.written", "t-1", 1)
        assert [f["trace_id"] for f in await peer.call("inbox.list")] == ["t-1"]
        assert (await peer.call("inbox.read", "t-1"))["shards"] == [{"a": 1}]
        assert (await peer.call("inbox.ack", "t-1"))["path"].endswith("done/t-1.json")
        assert await peer.call("inbox.list") == []
        for method, params, code in (
            ("inbox.persist", [request | {"cap_token": {}}], 15),
            ("inbox.persist", [request | {"result": 5}], 16),
            ("inbox.persist", [request | {"result": {"trace_id": "../t"}}], 16),
            ("inbox.read", ["t-2"], 12),
            ("inbox.ack", ["../t-1"], 16),
        ):
            with pytest.raises(PeerError) as caught:
                await peer.call(method, *params)
            assert caught.value.code == code


async def test_a_disabled_inbox_refuses_writes(tmp_path):
    async with serving(tmp_path, inbox__enabled="false") as service, await onlooker(service) as peer:
        with pytest.raises(PeerError, match=r"inbox\.enabled is false") as caught:
            await peer.call("inbox.persist", {"seed": {}, "result": {}, "cap_token": TOKEN})
        assert caught.value.code == 10
    assert not (tmp_path / "inbox").exists()


async def test_reading_does_not_wait_for_a_waiting_writer(tmp_path):
    """P11: while another process holds the inbox's lock, the daemon answers reading calls, and stops in time."""
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.now", STIRRED)
        with (tmp_path / "inbox" / "dreams" / ".lock").open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            writing = asyncio.create_task(
                peer.call(
                    "inbox.persist",
                    {"seed": {}, "result": {"trace_id": "t", "shards": [{}]}, "cap_token": TOKEN},
                )
            )
            assert (await peer.call("status"))["inbox"]["waiting"] == 1
            [file] = await peer.call("inbox.list")
            assert (await peer.call("inbox.read", file["trace_id"]))["trace_id"] == file["trace_id"]
            assert not writing.done()
            fcntl.flock(held, fcntl.LOCK_UN)
            assert (await writing)["shards_written"] == 1


async def test_answers_shutdown_before_it_stops(tmp_path):
    async with serving(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        stopping = service.stop.__self__
        assert await peer.call("shutdown") is True
        await asyncio.wait_for(stopping.wait(), 5)


async def test_an_answer_names_the_trouble_of_the_store(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        lock = Locked(tmp_path)
        await impatient(service.store)
        lock.begin()
        with pytest.raises(PeerError) as caught:
            await peer.call("dream.seed", ORIGIN)
        assert caught.value.code == 10
        assert service.failures.counts == {"dream.seed: locked": 1}
        lock.end()
        await settled(service)


async def test_of_private_replies_only_the_number_is_kept_by_day_and_over_restarts(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        peer.send([2, "dream.private", [{"private": 2, "failures": {"stalled": 1}}]])
        await peer.hello("leo", private=1)
        await peer.call("dream.context", STIRRED | {"private": 4})
        assert (await peer.call("status"))["decisions"]["private"] == 7
        assert service.failures.counts == {"host: stalled": 1}
        assert len(service.engine.why(9)) == 1
        await settled(service)
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        assert (await peer.call("status"))["decisions"] == {}
        [day] = (await peer.call("stats"))["days"].values()
        assert day["private"] == 7
    assert rows(tmp_path, "SELECT count(*) FROM dream_dialogs WHERE context LIKE '%private\":4%'") == [(0,)]


async def test_bounds_the_private_replies_that_are_told_at_once(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        assert await peer.call("dream.private", {"private": (1 << 64) - 1}) is None
        assert service.engine.reasons["private"] == 1_000_000


@pytest.mark.parametrize(
    ("method", "asked", "source"),
    [
        ("dialogs.recent", [9], "recent"),
        ("dialogs.search", ["sea"], "search"),
        ("dialogs.whence", ["the sea"], "whence"),
    ],
)
async def test_p11_a_page_waits_encoded_for_a_slow_reader(tmp_path, monkeypatch, method, asked, source):
    """Rows of 64 pages would take 50 MB, most of which Python would keep for good."""

    class Page(list):
        pass

    made = []

    async def read(*_):
        page = Page([{"id": 1}])
        made.append(weakref.ref(page))
        return page

    async with serving(tmp_path) as service, await onlooker(service) as peer:
        monkeypatch.setattr(service.store, source, read)
        [session] = service.sessions.values()
        session._caught_up.clear()
        answer = asyncio.create_task(peer.call(method, *asked))
        await until_on_loop(lambda: session._caught_up._waiters)
        kept = made[0]()
        session._caught_up.set()
        assert kept is None
        assert await answer == [{"id": 1}]


@pytest.mark.parametrize(
    ("module", "function", "method", "params"),
    [
        (search, "find_lines", "dialogs.search", ["line"]),
        (search, "find_sources", "dialogs.whence", ["a line of it"]),
        (reads, "recent_dialogs", "dialogs.recent", [5]),
        (reads, "get_dialog", "dialogs.get", [1]),
        (reads, "total_stats", "stats", []),
        (checkpoints, "keep_checkpoint", "friend.checkpoint", ["kept"]),
        (writes, "keep_pause", "dream.pause", [1]),
        (checkpoints, "seed_buffer", "dream.seed", [{}]),
        (forgetting, "chosen", "dialogs.forget", [{"id": 9}]),
        (candidates, "candidates", "dialogs.undream", [{"id": 9}]),
    ],
)
async def test_p11_a_client_that_comes_back_again_and_again_fills_no_queue(
    tmp_path, monkeypatch, module, function, method, params
):
    """P11: of its calls only the one that has begun is made to its end, and then others are served."""
    begun, go_on, done = threading.Event(), threading.Event(), []

    def slow(*arguments):
        begun.set()
        assert go_on.wait(timeout=20)
        done.append(method)
        raise Refusal(Code.NOT_FOUND, "nothing")

    monkeypatch.setattr(module, function, slow)
    async with serving(tmp_path) as service:
        for _ in range(9):
            async with await onlooker(service) as client:
                client.send([0, 7, method, params])
                await client.call("why", 0)  # it has been read
            await until_on_loop(lambda: begun.is_set() and not service.sessions)
        go_on.set()
        assert await service.store.open_dialogs() == []
        async with await onlooker(service) as client:
            with pytest.raises(PeerError, match="nothing"):
                await client.call(method, *params)
    assert done == [method] * 2
