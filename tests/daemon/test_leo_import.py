"""leo's own dreams taken over, while he dreams on."""

import asyncio
import shutil
import threading
from pathlib import Path

import pytest

from dreamd.ctl.leo_dreams import parts
from dreamd.store.leo_import import read
from dreamd.store.rows import LeosTables
from tests.helpers import leo_database
from tests.helpers.dreaming import ORIGIN, STIRRED, Gate, leo, onlooker, until
from tests.helpers.peer import PeerError
from tests.helpers.service import TestClock, serving

TABLES = {
    "meta": leo_database.META,
    "fragments": leo_database.FRAGMENTS,
    "dialogs": leo_database.DIALOGS,
    "turns": leo_database.TURNS,
}
ALL = {"dialogs": 4, "lines": 6, "fragments": 5, "meta": 2, "known": 0}
NONE = {"dialogs": 0, "lines": 0, "fragments": 0, "meta": 0, "known": 17}


async def test_what_came_is_in_memory_as_after_a_restart(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        before = await peer.call("friend.fragments")
        assert await peer.call("leo.import", TABLES) == ALL
        engine = service.engine
        friend, outcomes = engine.keeper.friend, dict(engine.outcomes)
        assert outcomes["imported"] == (await peer.call("status"))["dialogues"]["imported"] == 4
        assert engine.cooldown.last_run_s == {"leo": 1700000720.5}
        assert len(friend.fragments) == len(before) + 5
        kept = await peer.call("friend.fragments", "previous")
        assert [f["text"] for f in kept] == [f["text"] for f in before]
        assert (await peer.call("dream.now", STIRRED))["dialog"] == 5
        assert await peer.call("leo.import", TABLES) == NONE
        fragments = await peer.call("friend.fragments")
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        assert await peer.call("friend.fragments") == fragments
        assert service.engine.outcomes["imported"] == 4
        assert (await peer.call("dialogs.replay", 5))["difference"] is None


async def test_a_rehearsal_changes_nothing(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        before = service.engine.keeper.friend
        assert await peer.call("leo.import", TABLES, True) == ALL
        assert service.engine.keeper.friend is before
        assert service.engine.outcomes["imported"] == 0
        assert (await peer.call("dream.now", STIRRED))["dialog"] == 1
        assert await peer.call("leo.import", TABLES, True) == ALL


async def test_no_dialogue_loses_its_number_to_one_that_comes(tmp_path):
    """One runs all the while; one is announced as the import waits for the database."""
    gate, busy = Gate(), threading.Event()
    async with serving(tmp_path) as service, await leo(service, generate=gate) as peer:
        async with await leo(service, "other") as other:
            running = asyncio.create_task(peer.call("dream.now", STIRRED))
            await gate.reached.wait()
            held = asyncio.create_task(service.engine.store._database.read(lambda _: busy.wait(20)))
            imported = asyncio.create_task(other.call("leo.import", TABLES))
            await until(lambda: service.engine._next_dialog == 6)
            announced = asyncio.create_task(other.call("dream.now", STIRRED))
            await until(lambda: len(service.engine._running) == 2)
            busy.set()
            assert await held
            assert await imported == ALL
            assert (await announced)["dialog"] == 6
            gate.opened.set()
            assert (await running)["dialog"] == 1
            outcomes = {dialog["id"]: dialog["outcome"] for dialog in await other.call("dialogs.recent")}
            assert outcomes == {1: "complete", 6: "complete"} | dict.fromkeys(range(2, 6), "imported")
            assert service.failures.counts == {}
            sources = {fragment["dialog"] for fragment in await other.call("friend.fragments")}
            assert sources >= {1, 6}  # what the two have learned is there, beside what came


async def test_the_cooldown_of_a_leo_who_dreamt_meanwhile_is_not_set_back(tmp_path):
    clock = TestClock()
    async with serving(tmp_path, clock=clock.clock) as service, await leo(service) as peer:
        await peer.call("dream.now", STIRRED)
        await peer.call("leo.import", TABLES)
        assert service.engine.cooldown.last_run_s == {"leo": clock.now}


async def test_p11_an_import_goes_on_when_who_asked_has_gone(tmp_path):
    busy = threading.Event()
    async with serving(tmp_path) as service, await leo(service) as peer:
        other = await onlooker(service)
        held = asyncio.create_task(service.engine.store._database.read(lambda _: busy.wait(20)))
        other.send([0, 9, "leo.import", [TABLES]])
        await until(lambda: service.engine._next_dialog == 5)
        await other.close()
        await until(lambda: len(service.sessions) == 1)
        busy.set()
        assert await held
        await until(lambda: service.engine.outcomes["imported"])
        assert len(service.engine.keeper.friend.fragments) == 5
        assert (await peer.call("dream.now", STIRRED))["dialog"] == 5


@pytest.mark.parametrize(
    ("tables", "why"),
    [
        ({"fragments": [[1, "the sea", 2.0]]}, r"<= 1.0 - at `tables.fragments\[0\]\[2\]`"),
        ({"fragments": [[1, "the sea", float("nan")]]}, "tables.fragments"),
        ({"dialogs": [[1, float("inf"), None, 0, None, None, None]]}, "tables.dialogs"),
        ({"turns": [[1 << 63, 1, "leo", "the sea", None, None, None, None]]}, "tables.turns"),
        ({"meta": [["key"]]}, "tables.meta"),
    ],
)
async def test_p11_rows_that_are_none_are_refused_by_name(tmp_path, tables, why):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        with pytest.raises(PeerError, match=why) as caught:
            await peer.call("leo.import", tables)
        assert caught.value.code == 2
        assert "sea" not in str(caught.value)
        assert (await peer.call("stats"))["fragments"] == 0


async def test_p10_a_store_in_trouble_leaves_everything_as_it_was(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        before = service.engine.keeper.friend
        (tmp_path / "dream.sqlite3").rename(tmp_path / "aside")
        for dry in (False, True):  # the second time it is known
            with pytest.raises(PeerError, match="deleted") as caught:
                await peer.call("leo.import", TABLES, dry)
            assert caught.value.code == 10
        assert service.engine.keeper.friend is before
        assert service.engine.outcomes["imported"] == 0
        (tmp_path / "aside").rename(tmp_path / "dream.sqlite3")


@pytest.mark.parametrize("most_bytes", [1, 200, 1 << 20])
async def test_in_parts_of_any_size_the_same_comes(tmp_path: Path, most_bytes: int):
    field = Path(shutil.copy(leo_database.FIELD, tmp_path / "leo.sqlite3"))
    messages = list(parts(read(field), most_bytes))
    assert messages[0] == LeosTables(meta=leo_database.META, fragments=leo_database.FRAGMENTS)
    assert (len(messages) > 2) == (most_bytes < 1 << 20)
    async with serving(tmp_path / "state") as service, await onlooker(service) as peer:
        sums = dict.fromkeys(ALL, 0)
        for message in messages:
            counts, _ = await service.engine.store.import_leo(message)
            sums = {key: sums[key] + counts[key] for key in sums}
        assert sums == ALL
        assert await peer.call("leo.import", TABLES) == NONE
