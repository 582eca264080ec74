"""The effects of a running dialogue: recorded before observed, charged once, published as they happen."""

import asyncio
import threading

import msgspec
import pytest
from dreamclient.messages import ADDED_BYTES

from dreamd.engine import session_hooks
from dreamd.errors import StoreUnavailable
from tests.helpers.daemons.in_loop import TestClock, chosen, serving
from tests.helpers.dreaming import ORIGIN, STIRRED, Gate, completed, leo, onlooker, settled
from tests.helpers.peer import saying
from tests.helpers.state_folder import rows
from tests.helpers.trouble import Locked, impatient
from tests.helpers.waiting import until_on_loop


async def test_stores_all_that_a_replay_needs(tmp_path):
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock) as service,
        await leo(service, recall=lambda q, n: ["long ago"]) as peer,
    ):
        await peer.call("dream.seed", ORIGIN)
        ended = await peer.call("dream.now", STIRRED)
    [row] = rows(
        tmp_path,
        "SELECT rng_seed, context, settings, friend_state, started_at, client, recalled, outcome FROM dream_dialogs",
    )
    assert int(row[0]) < 1 << 63
    assert msgspec.json.decode(row[1])["prompt"] == "hello"
    assert msgspec.json.decode(row[2])["turns_min"] == 3
    assert msgspec.msgpack.decode(row[3]) == [[1, 1.0], [2, 1.0], [3, 1.0]]
    assert row[4:] == (time.now, "leo", '["long ago"]', "complete")
    observed = rows(tmp_path, "SELECT observed, at FROM dream_turns")
    assert observed == [("answered", time.now)] * ended["lines"]
    assert peer.asked[0] == ("recall", ["hello I am here", 2])
    assert "long ago" in peer.asked[1][1][0]


async def test_recalls_only_from_a_provider_and_at_most_the_asked_number(tmp_path):
    async with serving(tmp_path) as service:
        async with await leo(service) as peer:
            await peer.call("dream.now", STIRRED)
            assert "recall" not in {method for method, _ in peer.asked}
        async with await leo(service, recall=lambda q, n: ["one", "two", "three"]) as peer:
            await peer.call("dream.now", STIRRED)
    assert rows(tmp_path, "SELECT recalled FROM dream_dialogs") == [("[]",), ('["one","two"]',)]


async def test_marks_a_failed_observe_and_keeps_its_line(tmp_path):
    async with serving(tmp_path) as service, await leo(service, observe=lambda *_: "no map") as peer:
        assert await peer.call("dream.now", STIRRED) == {"dialog": 1, "outcome": "hook_error", "lines": 1}
    assert rows(tmp_path, "SELECT observed FROM dream_turns") == [("failed",)]
    assert rows(tmp_path, "SELECT note FROM dream_dialogs") == [("observe: wrong answer",)]


async def test_the_cooldown_is_charged_with_the_first_line_and_by_name(tmp_path):
    gate = Gate(lambda *_: None)
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock) as service,
        await leo(service, "other", observe=gate) as peer,
    ):
        dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
        await gate.reached.wait()
        assert service.engine.clients["other"].last_run_s == time.now
        kept = rows(tmp_path, "SELECT key, value FROM dream_meta WHERE key LIKE 'dream_last_run%'")
        assert kept == [("dream_last_run_ts:other", str(time.now))]
        gate.opened.set()
        await dreaming


async def test_a_dialogue_without_lines_starts_no_cooldown(tmp_path):
    async with serving(tmp_path) as service, await leo(service, generate=lambda *_: "") as peer:
        assert await peer.call("dream.now", STIRRED) == {"dialog": 1, "outcome": "empty", "lines": 0}
        assert service.engine.clients["leo"].last_run_s is None
        assert service.engine.clients["leo"].reserved == {}


async def test_publishes_each_line_as_it_is_said(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer, await onlooker(service) as watcher:
        await watcher.call("events.subscribe")
        await peer.call("dream.now", STIRRED)
        turns = (await peer.call("dialogs.get", 1))["turns"]
        await until_on_loop(lambda: watcher.told.qsize() == len(turns) + 4)
        events = [watcher.told.get_nowait()[1][0] for _ in range(len(turns) + 4)]
    lines = [event for event in events if event["type"] == "line"]
    assert [(e["turn"], e["speaker"], e["text"], e["trauma"], e.get("seed", None)) for e in lines] == [
        (t["turn"], t["speaker"], t["text"], t["trauma"], None) for t in turns
    ]
    assert (events[1]["type"], events[1]["session"], events[1]["client"]) == ("dialog.started", 1, "leo")


@pytest.mark.parametrize("when", ["begin", "record"])
async def test_p10_a_failing_store_ends_the_dialogue_and_keeps_its_lines(tmp_path, when):
    """The database is locked before the dialogue, or after its first line; the lock is released, and all is whole."""

    def generate(*asked):
        meta = asked[3]
        if when == "record" and (meta["dialog"], meta["turn"], meta["candidate"]) == (1, 2, 1):
            lock.begin()
        return saying()

    async with serving(tmp_path) as service, await leo(service, generate=generate) as peer:
        lock = Locked(tmp_path)
        await impatient(service.store)
        if when == "begin":
            lock.begin()
        answer = await peer.call("dream.now", STIRRED)
        expected = {"begin": ("store_error", 0), "record": ("store_error", 1)}[when]
        assert (answer["outcome"], answer["lines"]) == expected
        # What never began need not be ended; what was begun could not be.
        assert service.failures.counts == {"store: locked": 1 if when == "begin" else 2}
        assert next(e["where"] for e in service.failures.last) == f"store ({when})"
        lock.end()
        assert await service.store.probe() is None  # as the tick does
        await completed(service)
        assert (await peer.call("dream.now", STIRRED))["outcome"] == "complete"
        found = {d["id"]: (d["outcome"], d["lines"]) for d in await peer.call("dialogs.recent")}
        dialogues = (await peer.call("status"))["dialogues"]
    if when == "record":
        assert found[1] == ("left", 1)  # its end could not be stored either
        assert dialogues["left"] == 1
    else:
        assert 1 not in found  # it never began
    assert sum(dialogues.values()) == len(found)  # each dialogue is counted once


async def test_marks_a_line_that_the_host_kept_out_of_its_field(tmp_path):
    """The host chooses the lines that reach his field. Every line is kept and observed nevertheless."""
    taken = iter([True, False, None, True])
    async with (
        serving(tmp_path) as service,
        await leo(service, observe=lambda *_: {"taken": next(taken)}) as peer,
    ):
        ended = await peer.call("dream.now")
        turns = (await peer.call("dialogs.get", ended["dialog"]))["turns"]
    assert [turn["observed"] for turn in turns] == ["answered", "refused", "answered", "answered"][
        : ended["lines"]
    ]


async def test_a_dialogue_ends_at_its_deadline_even_if_its_call_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(session_hooks, "SLACK_S", 0.0)
    async with serving(tmp_path, dialogue__deadline_s=0.05) as service, await leo(service) as peer:
        [session] = service.sessions.values()
        session.call = lambda *_: asyncio.get_running_loop().create_future()  # no one will ever answer it
        assert await peer.call("dream.now", STIRRED) == {"dialog": 1, "outcome": "deadline", "lines": 0}
        assert service.failures.counts == {"generate: dialogue deadline": 1}
        assert service.engine.dialogues.running == {}


async def test_a_dialogue_ends_though_the_database_does_not_answer(tmp_path):
    """The database may finish later. Then it ends the dialogue, which is counted once."""
    hold = threading.Event()
    async with (
        serving(tmp_path, delivery_s=0.05, dialogue__call_deadline_s=0.05) as service,
        await leo(service) as peer,
    ):
        hung = asyncio.create_task(service.store._read(lambda _: hold.wait(20)))
        assert await peer.call("dream.now", STIRRED) == {"dialog": 1, "outcome": "store_error", "lines": 0}
        assert service.failures.counts == {"store: database does not answer": 1}
        assert (await peer.call("status"))["dialogues"] == {}
        hold.set()
        await hung
        await completed(service)
        assert (await peer.call("status"))["dialogues"] == {"left": 1}
        assert [d["outcome"] for d in await peer.call("dialogs.recent")] == ["left"]


async def test_without_feeding_a_dream_is_spoken_kept_and_filed_but_reaches_neither_leo_nor_the_friend(
    tmp_path,
):
    async with (
        serving(tmp_path, dialogue__feed=False, gate__cooldown_s=0, gate__chance=1) as service,
        await leo(service) as peer,
        await onlooker(service) as watcher,
    ):
        await peer.call("dream.seed", ORIGIN)
        before = service.friend.fragments
        await watcher.call("events.subscribe")
        ended = await peer.call("dream.now", STIRRED)
        assert ended == {"dialog": 1, "outcome": "complete", "lines": ended["lines"], "fed": False}
        assert {method for method, _ in peer.asked} == {"generate"}
        assert service.friend.fragments == before
        found = await peer.call("dialogs.get", 1)
        assert (found["fed"], found["drift"]) == (False, None)
        assert {turn["observed"] for turn in found["turns"]} == {"unfed"}
        assert (await peer.call("inbox.list"))[0]["trace_id"] == found["trace_id"]
        assert await peer.call("dialogs.replay", 1) == {
            "id": 1, "lines": ended["lines"], "same": True, "difference": None,
        }  # fmt: skip
        [asked] = await peer.call("why", 1)
        assert (asked["reason"], asked["fed"]) == ("asked", False)
        assert (await peer.call("dream.context", STIRRED))["fed"] is False
        await settled(service)
        assert (await peer.call("status"))["feed"] is False
        events = [watcher.told.get_nowait()[1][0] for _ in range(watcher.told.qsize())]
        assert {e["fed"] for e in events if e["type"] == "dialog.finished"} == {False}
        service.engine.change_settings(chosen(gate__cooldown_s=0))
        assert (await peer.call("dream.now", STIRRED)).keys() == {"dialog", "outcome", "lines"}
        assert "observe" in {method for method, _ in peer.asked}
        assert len(service.friend.fragments) > len(before)


async def test_measures_of_a_dialogue_that_is_not_fed_are_those_of_generate(tmp_path):
    async with (
        serving(tmp_path, dialogue__feed=False) as service,
        await leo(
            service,
            generate=lambda *_: {"text": saying(), "novelty": 0.25},
            observe=lambda *_: {"novelty": 0.75},
        ) as peer,
    ):
        await peer.call("dream.now", STIRRED)
        turns = (await peer.call("dialogs.get", 1))["turns"]
        assert {turn["novelty"] for turn in turns} == {0.25}


@pytest.mark.parametrize(("answer", "lines"), [("recalled", 0), ("observed", 1)])
async def test_p13_asks_for_no_line_with_an_answer_that_could_not_be_stored(
    tmp_path, monkeypatch, answer, lines
):
    """After a crash, the dialogue could not go on in the same way, nor be replayed."""

    async def fails(*_):
        raise StoreUnavailable("locked", "the database is locked")

    async with serving(tmp_path, gate__chance=1) as service:
        monkeypatch.setattr(service.store, answer, fails)
        async with await leo(service, recall=lambda *_: ["once"]) as peer:
            ended = await peer.call("dream.now", STIRRED)
            assert (ended["outcome"], ended["lines"]) == ("store_error", lines)
            assert {params[3]["turn"] for method, params in peer.asked if method == "generate"} == set(
                range(1, lines + 1)
            )
            assert (await peer.call("dialogs.replay", ended["dialog"]))["same"]
    found = rows(tmp_path, "SELECT recalled FROM dream_dialogs")
    assert found == [('["once"]',)]
    assert rows(tmp_path, "SELECT observed FROM dream_turns") == [("answered",)] * lines


async def test_a_later_hello_changes_nothing_for_the_dialogue_that_runs(tmp_path):
    """It is charged and accounted to the name that it began with."""
    gate = Gate()
    async with (
        serving(tmp_path, dialogue__candidates=1) as service,
        await leo(service, generate=gate) as peer,
    ):
        dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
        await gate.reached.wait()
        greeting = asyncio.create_task(peer.hello("someone"))  # answered when the hook has returned
        await until_on_loop(lambda: [one.name for one in service.sessions.values()] == ["someone"])
        gate.opened.set()
        await greeting
        assert (await dreaming)["outcome"] == "complete"
        await settled(service)
        clients = service.engine.clients
        assert (clients["leo"].running, clients["leo"].reserved) == (set(), {})
        assert clients["leo"].last_run_s is not None
        assert clients["someone"].last_run_s is None
    keys = rows(tmp_path, "SELECT key FROM dream_meta WHERE key LIKE 'dream_last_run%'")
    assert keys == [("dream_last_run_ts",)]


async def test_counts_what_a_host_says_that_it_added_if_that_is_too_much_to_keep(tmp_path):
    added = {"keys": ["a word"] * ADDED_BYTES}
    async with (
        serving(tmp_path) as service,
        await leo(service, observe=lambda *_: {"taken": True, "added": added}) as peer,
    ):
        lines = (await peer.call("dream.now", STIRRED))["lines"]
        assert service.failures.counts == {"observe: too much added": lines}
    assert rows(tmp_path, "SELECT DISTINCT added, observed FROM dream_turns") == [(None, "answered")]
