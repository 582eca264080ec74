"""A dialogue that is interrupted in any step goes on: it remains one with one file, and no line is observed twice."""

import asyncio
import json
import sqlite3
from contextlib import closing

import pytest

import dreamd
from dreamd.dream import clients
from dreamd.engine import dialogues
from dreamd.errors import StoreError, StoreUnavailable
from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import STIRRED, completed, leo, onlooker, settled
from tests.helpers.peer import PlainPeer, saying
from tests.helpers.waiting import until, until_on_loop

# Each hook call of a dialogue of three lines, with one candidate each.
STEPS = [f"{hook} {turn}" for turn in (1, 2, 3) for hook in ("generate", "observe")]
THREE = {"dialogue__turns_min": 3, "dialogue__turns_max": 3, "dialogue__candidates": 1}


class Host:
    """A leo that does not return from some hook call. `heard` is what it observed."""

    def __init__(self, heard, stuck_in=""):
        self.heard, self.stuck_in = heard, stuck_in
        self.reached = asyncio.Event()

    async def generate(self, *asked):
        return await self._unless_stuck("generate", asked, saying())

    async def observe(self, *asked):
        self.heard.append(asked[0])
        return await self._unless_stuck("observe", asked, {"arousal": 0.8})

    async def recall(self, *_):
        if self.stuck_in == "recall 1":
            await self._stick()
        return ["once there was a river"]

    async def _unless_stuck(self, hook, asked, answer):
        if self.stuck_in == f"{hook} {asked[-1]['turn']}":
            await self._stick()
        return answer

    async def _stick(self):
        self.reached.set()
        await asyncio.Event().wait()

    async def connect(self, socket, name="leo", field="a field", **more):
        hooks = {hook: getattr(self, hook) for hook in ("generate", "observe", *more.pop("also", ()))}
        peer = await PlainPeer.connect(socket, **hooks)
        await peer.hello(name, **({} if field is None else {"field": field}), **more)
        return peer


async def interrupted(service, heard, stuck_in, **connecting):
    """Connect a leo, wait until the dialogue gets to this step, and disconnect."""
    host = Host(heard, stuck_in)
    peer = await host.connect(service.socket, **connecting)
    if not service.engine.dialogues.running:
        peer.send([2, "dream.context", [STIRRED]])
    await asyncio.wait_for(host.reached.wait(), 20)
    await peer.close()
    await until_on_loop(lambda: not service.sessions)
    await settled(service)


async def whole(service, heard, **connecting):
    """Connect a leo that answers all calls, and return those calls."""
    async with await Host(heard).connect(service.socket, **connecting) as peer:
        await settled(service)
        return peer.asked


def files(state):
    return [
        [shard["text"] for shard in json.loads(file.read_text())["shards"]]
        for file in (state / "inbox" / "dreams").glob("*.json")
    ]


async def check(service, state, heard, outcome="complete", lines=3):
    """Check for one dialogue and one file with all its lines, each observed at most once, and that it replays."""
    [dialog] = await service.store.recent(9)
    assert (dialog["outcome"], dialog["lines"], dialog["id"]) == (outcome, lines, 1)
    turns = [turn["text"] for turn in (await service.store.get(1))["turns"]]
    assert heard == turns[: len(heard)]
    assert files(state) == [turns]
    async with await onlooker(service) as peer:
        assert (await peer.call("dialogs.replay", 1))["difference"] is None
        assert (await peer.call("status"))["dialogues"] == {outcome: 1}


@pytest.mark.parametrize("step", ["recall 1", *STEPS])
async def test_dialogue_goes_on_after_leo_left_in_any_step(tmp_path, step):
    heard = []
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        await interrupted(service, heard, step, also=("recall",))
        [suspended] = await service.store.recent(9)
        assert (suspended["outcome"], suspended["finished_at"]) == ("suspended", None)
        assert files(tmp_path) == []
        async with await onlooker(service) as peer:
            assert (await peer.call("status"))["dialogues"] == {"suspended": 1}
        asked = await whole(service, heard, also=("recall",))
        assert sum(method == "recall" for method, _ in asked) == (step == "recall 1")
        await check(service, tmp_path, heard)
        assert [decision.reason for decision in service.engine.why(2)] == ["resumed", "dream"]


@pytest.mark.parametrize("step", STEPS)
async def test_dialogue_goes_on_after_the_daemon_stopped_in_any_step(tmp_path, step):
    heard, host = [], None
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        host = Host(heard, step)
        peer = await host.connect(service.socket)
        peer.send([2, "dream.context", [STIRRED]])
        await host.reached.wait()
    await peer.close()
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        await whole(service, heard)
        await check(service, tmp_path, heard)


@pytest.mark.parametrize("step", STEPS)
async def test_p2_p3_p5_p13_dialogue_goes_on_after_the_daemon_was_killed_in_any_step(tmp_path, step):
    """The measures of `observe` go on too, since the later lines depend on them."""
    heard, host = [], Host([], step)
    host.heard = heard
    settings = [
        f"--set={name.replace('__', '.')}={value}" for name, value in (THREE | {"gate__chance": 1}).items()
    ]
    daemon = DaemonProcess(tmp_path / "s", *settings).start()
    peer = await host.connect(daemon.socket)
    peer.send([2, "dream.context", [STIRRED]])
    await host.reached.wait()
    daemon.kill()
    await peer.close()
    with daemon:
        async with await Host(heard).connect(daemon.socket):
            await asyncio.to_thread(
                until, lambda: daemon.call("status")["dialogues"].get("complete"), "the end"
            )
        await asyncio.to_thread(until, lambda: files(tmp_path / "s"), "the file")
        assert daemon.call("status")["failures"] == {}
        assert daemon.call("status")["decisions"] == {"resumed": 1}
    async with serving(tmp_path / "s") as service:
        await check(service, tmp_path / "s", heard)
        turns = (await service.store.get(1))["turns"]
    assert [turn["arousal"] == 0.8 for turn in turns] == [step != f"observe {n}" for n in (1, 2, 3)]


async def test_third_interruption_ends_the_dialogue(tmp_path):
    heard = []
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        for step in ("generate 1", "observe 2", "generate 3"):
            await interrupted(service, heard, step)
        assert await whole(service, heard) == []
        await check(service, tmp_path, heard, "left", 2)


@pytest.mark.parametrize("step", ["recall 1", "generate 1", "generate 2"])
async def test_a_hook_that_kills_its_host_twice_is_not_asked_again(tmp_path, step):
    heard = []
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        for _ in range(2):
            await interrupted(service, heard, step, also=("recall",))
        assert await whole(service, heard) == []
        assert service.engine.dialogues.outcomes == {"left": 1}
        assert len(files(tmp_path)) == (step == "generate 2")


async def test_a_hook_that_kills_its_host_and_the_daemon_in_it_twice_is_not_asked_again(tmp_path):
    """The embedded form does so."""
    heard = []
    daemon = DaemonProcess(tmp_path / "s", "--set=gate.chance=1", "--set=dialogue.candidates=1").start()
    for life in range(3):
        host = Host(heard, "generate 2")
        peer = await host.connect(daemon.socket)
        if life == 0:
            peer.send([2, "dream.context", [STIRRED]])
        if life < 2:
            await asyncio.wait_for(host.reached.wait(), 20)
            daemon.kill()
            daemon.start()
        await peer.close()
    assert [method for method, _ in peer.asked] == []
    await asyncio.to_thread(until, lambda: daemon.call("status")["dialogues"] == {"left": 1}, "the end")
    daemon.stop()


@pytest.mark.parametrize(
    ("name", "field"), [("leo", "another field"), ("someone", "a field"), ("leo", None), ("leo", "")]
)
async def test_does_not_go_on_with_another_leo(tmp_path, name, field):
    heard = []
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        await interrupted(service, heard, "generate 2")
        assert await whole(service, [], name=name, field=field) == []
        await whole(service, heard)
        await check(service, tmp_path, heard)


async def test_ends_a_dialogue_without_a_field_id(tmp_path):
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        await interrupted(service, [], "observe 1", field=None)
        assert await whole(service, [], field=None) == []
        assert service.engine.dialogues.outcomes == {"left": 1}
        assert len(files(tmp_path)) == 1


async def test_goes_on_only_within_a_day(tmp_path):
    time, heard = TestClock(), []
    async with serving(tmp_path, clock=time.clock, gate__chance=1, **THREE) as service:
        await interrupted(service, heard, "generate 2")
        time.pass_s(dialogues.GO_ON_S)
        service.engine.pending.wake()  # as the tick does
        await service.engine.pending.attempt()
        await check(service, tmp_path, heard, "left", 1)
        assert service.engine.dialogues.suspended == {}
        assert service.engine.clients["leo"].reserved == {}
        assert await whole(service, heard) == []


@pytest.mark.parametrize("ahead_s", [10 * 365 * 86400.0, -10 * 365 * 86400.0])
async def test_ends_a_dialogue_that_began_by_a_wrong_clock(tmp_path, ahead_s):
    heard, time = [], TestClock()
    time.now += ahead_s
    async with serving(tmp_path, clock=time.clock, gate__chance=1, **THREE) as service:
        await interrupted(service, heard, "generate 2")
        time.now -= ahead_s
        service.engine.pending.wake()
        await completed(service)
        await check(service, tmp_path, heard, outcome="left", lines=1)


async def test_ends_a_dialogue_of_another_version(tmp_path, monkeypatch):
    heard = []
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        await interrupted(service, heard, "generate 2")
    monkeypatch.setattr(dreamd, "__version__", "99.0")
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        assert await whole(service, heard) == []
        await check(service, tmp_path, heard, "left", 1)


async def test_ends_a_dialogue_whose_rows_were_changed(tmp_path):
    """Another program changed its rows, so that it differs when it is run from its seed."""
    heard = []
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        await interrupted(service, heard, "generate 2")
        with closing(sqlite3.connect(tmp_path / "dream.sqlite3", isolation_level=None)) as database:
            database.execute("UPDATE dream_turns SET seed = 'another'")
        assert await whole(service, heard) == []
        assert service.engine.dialogues.outcomes == {"left": 1}
        assert service.failures.counts["engine: suspended dialogue differs"] == 1
        assert len(files(tmp_path)) == 1


async def test_keeps_the_cooldown_reserved_until_it_ends_without_a_line(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, gate__chance=1, **THREE) as service:
        await interrupted(service, [], "generate 1")
    async with serving(tmp_path, clock=time.clock, gate__chance=1, **THREE) as service:
        async with await Host([]).connect(service.socket, field="another") as other:
            assert (await other.call("dream.context", STIRRED))["reason"] == "cooldown"
        await interrupted(service, [], "generate 1")
        async with await Host([]).connect(service.socket) as again:
            assert (await again.call("dream.context", STIRRED))["reason"] == "dream"
            await settled(service)


async def test_goes_on_with_a_leo_that_connected_before_the_store_was_loaded(tmp_path):
    heard = []
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        await interrupted(service, heard, "generate 2")
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        service.engine._loaded = False
        async with await Host(heard).connect(service.socket):
            assert service.engine.dialogues.running == {}
            await completed(service)
            await settled(service)
        await check(service, tmp_path, heard)


async def test_p11_bounds_the_suspended_dialogues(tmp_path, monkeypatch):
    """The number of their names is bounded too."""
    monkeypatch.setattr(dialogues, "WAITING", 2)
    monkeypatch.setattr(clients, "ABSENT", 2)
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        for name in "abcde":
            await interrupted(service, [], "generate 1", name=name)
        assert [dialog.client for dialog in service.engine.dialogues.suspended.values()] == ["d", "e"]
        assert service.engine.dialogues.outcomes == {"left": 3}
        assert len(service.engine.clients._named) <= 4


async def test_reports_the_suspension_to_the_caller_and_to_subscribers(tmp_path):
    async with serving(tmp_path, **THREE) as service, await onlooker(service) as watcher:
        await watcher.call("events.subscribe")
        host = Host([], "generate 2")
        peer = await host.connect(service.socket)
        asked = asyncio.create_task(watcher.call("dream.now", STIRRED, 2))
        await host.reached.wait()
        await peer.close()
        assert await asked == {"dialog": 1, "outcome": "suspended", "lines": 1}
        async with await Host([]).connect(service.socket):
            await settled(service)
        types = [watcher.told.get_nowait()[1][0]["type"] for _ in range(watcher.told.qsize())]
        assert [kind for kind in types if kind.startswith("dialog.")] == [
            "dialog.started", "dialog.suspended", "dialog.resumed", "dialog.finished",
        ]  # fmt: skip


UNREADABLE = [
    "dream_dialogs SET rng_seed = 'none'",
    "dream_dialogs SET friend_state = 7",
    "dream_turns SET text = x'00'",
    "dream_turns SET pulse_arousal = NULL",
    "dream_turns SET at = 'then', turn = 'first'",
]


def change_rows(state, change):
    with closing(sqlite3.connect(state / "dream.sqlite3", isolation_level=None)) as database:
        database.execute(f"UPDATE {change}")


@pytest.mark.parametrize("change", UNREADABLE)
async def test_ends_an_unreadable_dialogue_when_its_leo_is_back(tmp_path, change):
    """Otherwise it would begin again and again."""
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        await interrupted(service, [], "generate 2")
        change_rows(tmp_path, change)
        async with asyncio.timeout(20):
            assert await whole(service, []) == []
        assert service.engine.dialogues.outcomes == {"left": 1}
        assert service.engine.clients["leo"].mute_left_s(service.clock.monotonic()) == 0  # it can speak


@pytest.mark.parametrize("change", UNREADABLE)
async def test_an_unreadable_dialogue_delays_no_other(tmp_path, change):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, gate__chance=1, **THREE) as service:
        await interrupted(service, [], "generate 2", name="another")
    change_rows(tmp_path, change)
    async with serving(tmp_path, clock=time.clock, gate__chance=1, **THREE) as service:
        time.pass_s(dialogues.GO_ON_S)
        await completed(service)
        async with await Host([]).connect(service.socket) as leo:
            assert (await leo.call("dream.now", STIRRED))["outcome"] == "complete"
            await settled(service)
        assert service.engine.dialogues.outcomes == {"left": 1, "complete": 1}
        assert any(len(texts) == 3 for texts in files(tmp_path))


async def test_goes_on_with_a_fast_leo_even_if_the_inbox_is_in_trouble(tmp_path, monkeypatch):
    """Pending work waits for the inbox; a dialogue does not."""
    heard, time = [], TestClock()
    async with serving(tmp_path, clock=time.clock, gate__chance=1, **THREE) as service:
        (tmp_path / "inbox" / "dreams").rename(tmp_path / "aside")
        (tmp_path / "inbox" / "dreams").write_text("in the way")
        async with await Host([]).connect(service.socket, name="someone") as someone:
            await someone.call("dream.now", STIRRED)
            await settled(service)
        assert service.delivery.undelivered_reason
        store, suspend, gone = service.store, service.store.suspend, asyncio.Event()

        async def late(*of):
            await gone.wait()
            await suspend(*of)

        monkeypatch.setattr(store, "suspend", late)
        host = Host(heard, "generate 2")
        peer = await host.connect(service.socket)
        await peer.call("dream.context", STIRRED)
        await asyncio.wait_for(host.reached.wait(), 20)
        await peer.close()
        await until_on_loop(lambda: not service.sessions)
        async with await Host(heard).connect(service.socket):
            gone.set()
            await until_on_loop(lambda: service.engine.dialogues.outcomes["complete"] == 2)
        assert len(heard) == 3


async def test_a_half_closed_leo_does_not_use_up_its_dialogue(tmp_path):
    """The client has closed its sending half, and waits for an answer."""
    heard, host = [], Host([], "generate 2")
    host.heard = heard
    async with serving(tmp_path, **THREE) as service:
        peer = await host.connect(service.socket)
        peer.send([0, 99, "dream.now", [STIRRED]])
        await asyncio.wait_for(host.reached.wait(), 20)
        peer.writer.write_eof()
        await settled(service)
        await until_on_loop(lambda: not service.sessions)
        await settled(service)
        [dialog] = service.engine.dialogues.suspended.values()
        assert (dialog.interruptions, dialog.interrupted_in) == (1, "generate 2")
        await peer.close()
        await whole(service, heard)
        await check(service, tmp_path, heard)


async def test_a_resumed_dialogue_does_not_shorten_a_later_cooldown(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, gate__chance=1, gate__cooldown_s=180, **THREE) as service:
        await interrupted(service, [], "generate 1")
        time.pass_s(200)
        async with await Host([]).connect(service.socket, field="another") as other:
            assert (await other.call("dream.context", STIRRED))["reason"] == "dream"
            await settled(service)
        await whole(service, [])
        assert service.engine.dialogues.outcomes == {"complete": 2}
        async with await Host([]).connect(service.socket) as leo:
            assert (await leo.call("dream.context", STIRRED))["reason"] == "cooldown"


async def test_reserves_its_cooldown_from_the_beginning_of_a_start(tmp_path, monkeypatch):
    """The pending work has not yet looked at the dialogues that a crash cut short."""
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, gate__chance=1, **THREE) as service:
        await interrupted(service, [], "generate 1")

    async def not_yet(_):
        pass

    monkeypatch.setattr(dialogues.Dialogues, "recover", not_yet)
    async with serving(tmp_path, clock=time.clock, gate__chance=1, **THREE) as service:
        async with await Host([]).connect(service.socket, field="another") as other:
            assert (await other.call("dream.context", STIRRED))["reason"] == "cooldown"


@pytest.mark.parametrize("began_with", [True, False])
async def test_a_suspended_dialogue_goes_on_with_the_feeding_it_began_with(tmp_path, began_with):
    heard = []
    async with serving(tmp_path, gate__chance=1, dialogue__feed=began_with, **THREE) as service:
        await interrupted(service, heard, "generate 2")
    assert len(heard) == began_with
    async with serving(tmp_path, gate__chance=1, dialogue__feed=not began_with, **THREE) as service:
        await whole(service, heard)
        await check(service, tmp_path, heard)
        [dialog] = await service.store.recent(1)
        assert (dialog["fed"], len(heard)) == (began_with, 3 * began_with)
        [resumed] = service.engine.why(1)
        assert (resumed.reason, resumed.fed) == ("resumed", began_with)


async def test_a_dialogue_that_was_not_fed_and_is_left_teaches_the_friend_nothing(tmp_path):
    time = TestClock()
    async with serving(tmp_path, clock=time.clock, gate__chance=1, dialogue__feed=False, **THREE) as service:
        await interrupted(service, [], "generate 3")
        time.pass_s(dialogues.GO_ON_S)
        await completed(service)
        [dialog] = await service.store.recent(1)
        assert (dialog["outcome"], dialog["lines"], dialog["fed"]) == ("left", 2, False)
        assert service.friend.fragments == ()


async def test_a_dialogue_that_cannot_be_ended_keeps_no_other_from_its_end(tmp_path, monkeypatch):
    async with serving(tmp_path, gate__chance=1, gate__cooldown_s=0, **THREE) as service:
        for name in "ab":
            await interrupted(service, [], "generate 2", name=name)
        monkeypatch.setattr(dialogues, "GO_ON_S", 0.0)
        finish = service.store.finish

        async def refuse_first(dialog, end):
            if dialog == 1:
                raise StoreError("dialogue 1 is not running")
            await finish(dialog, end)

        monkeypatch.setattr(service.store, "finish", refuse_first)
        await service.engine.pending.attempt()
        assert [dialog["outcome"] for dialog in await service.store.recent(2)] == ["left", "suspended"]
        assert len(files(tmp_path)) == 1
        assert service.failures.counts == {"generate: connection lost": 2, "daemon: StoreError": 1}


async def test_a_row_that_another_program_spoilt_ends_and_its_lines_are_delivered(tmp_path):
    async with serving(tmp_path, gate__chance=1, **THREE) as service:
        await interrupted(service, [], "generate 2")
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3", isolation_level=None)) as database:
        database.execute("UPDATE dream_dialogs SET started_at = 'spoilt', client = x'ff'")
    async with serving(tmp_path, gate__chance=1, **THREE) as service, await leo(service) as peer:
        assert [dialog["outcome"] for dialog in await service.store.recent(2)] == ["left"]
        assert len(files(tmp_path)) == 1
        assert (await peer.call("dream.now", STIRRED))["outcome"] == "complete"
        assert service.failures.counts == {}


async def test_keeps_its_cooldown_and_its_context_if_its_suspension_cannot_be_stored(tmp_path, monkeypatch):
    """It goes on, so its context is not dreamt of a second time."""
    heard = []
    async with serving(tmp_path, gate__chance=1, gate__cooldown_s=60, **THREE) as service:

        async def fails(*_):
            raise StoreUnavailable("disk full", "the disk is full")

        monkeypatch.setattr(service.store, "suspend", fails)
        host = Host(heard, "generate 1")
        peer = await host.connect(service.socket)
        peer.send([2, "dream.context", [STIRRED]])
        await host.reached.wait()
        await peer.close()
        await until_on_loop(lambda: not service.engine.dialogues.running)
        async with await Host(heard).connect(service.socket) as again:
            assert (await again.call("dream.context", STIRRED))["reason"] == "cooldown"
            monkeypatch.undo()
            await completed(service)
            await settled(service)
        await check(service, tmp_path, heard)


async def test_the_end_of_a_dialogue_begins_its_delivery(tmp_path, monkeypatch):
    """P5: and does not wait for a tick."""
    async with serving(tmp_path) as service, await leo(service) as peer:
        begun = []
        with monkeypatch.context() as noting:
            noting.setattr(service.engine.pending, "add", lambda: begun.append("delivery"))
            await peer.call("dream.now", STIRRED)
        assert begun == ["delivery"]
        service.engine.pending.add()


async def test_tells_an_interrupted_dialogue_as_left_though_its_end_cannot_be_stored(tmp_path, monkeypatch):
    async with serving(tmp_path, **THREE) as service, await onlooker(service) as watcher:

        async def fails(*_):
            raise StoreUnavailable("disk full", "the disk is full")

        monkeypatch.setattr(service.store, "finish", fails)
        host = Host([], "generate 2")
        peer = await host.connect(service.socket, field=None)
        asked = asyncio.create_task(watcher.call("dream.now", STIRRED, 2))
        await host.reached.wait()
        await peer.close()
        assert await asked == {"dialog": 1, "outcome": "left", "lines": 1}
        monkeypatch.undo()
        await completed(service)
