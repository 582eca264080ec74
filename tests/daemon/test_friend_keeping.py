"""The friend kept, restored, imported and reseeded, while leo dreams on."""

import asyncio
import itertools
import threading
from contextlib import suppress

import pytest
from dreamclient.clients.thread import DreamClient
from dreamclient.errors import DreamError
from dreamclient.messages import Code

from dreamd.errors import StoreUnavailable
from tests.helpers.daemons.in_loop import serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import ORIGIN, STIRRED, Gate, leo, onlooker
from tests.helpers.peer import PeerError
from tests.helpers.waiting import until_on_loop

BORN = ["I am a small organism.", "I speak from the field.", "Leo listens.", "Leo drifts."]


def texts(fragments, *, origin: bool) -> list[str]:
    return sorted(f["text"] for f in fragments if f["origin"] is origin)


def measured(fragments) -> list[tuple[str, float, bool]]:
    return sorted((f["text"], f["weight"], f["origin"]) for f in fragments)


async def dreams(peer, count: int) -> list[int]:
    return [(await peer.call("dream.now", STIRRED))["dialog"] for _ in range(count)]


async def test_a_checkpoint_is_restored_with_its_weights_and_survives_a_restart(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await dreams(peer, 3)
        then = await peer.call("friend.fragments")
        kept = await peer.call("friend.checkpoint", "first-week")
        assert kept == {"name": "first-week", "fragments": len(then), "origin": len(texts(then, origin=True))}
        await dreams(peer, 3)
        later = await peer.call("friend.fragments")
        assert measured(later) != measured(then)
        answer = await peer.call("friend.restore", "first-week")
        now = await peer.call("friend.fragments")
        assert measured(now) == measured(then)
        assert answer == {
            "fragments": len(now), "origin": kept["origin"],
            "drift": pytest.approx(service.friend.friend.drift()),
            "kept": len(then), "added": 0, "left": len(later) - len(then), "skipped": 0,
            "undo": "previous", "origin_kept": None,
        }  # fmt: skip
        assert measured(await peer.call("friend.fragments", "previous")) == measured(later)
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        assert await peer.call("friend.fragments") == now
        names = [(c["name"], c["origin"]) for c in await peer.call("friend.checkpoints")]
        assert names == [("previous", kept["origin"]), ("first-week", kept["origin"])]


async def test_refuses_reserved_names(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        for name in ("previous", "previous~2", "previous~9", "origin", "origin~1"):
            for again in (False, True):
                with pytest.raises(PeerError, match="the daemon's own") as caught:
                    await peer.call("friend.checkpoint", name, again)
                assert caught.value.code == Code.INVALID_PARAMS
        assert await peer.call("friend.checkpoints") == []


async def test_p13_dialogues_before_and_after_a_restore_replay(tmp_path):
    async with serving(tmp_path, friend__buffer=2) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        ids = await dreams(peer, 3)
        await peer.call("friend.checkpoint", "c")
        ids += await dreams(peer, 4)
        await peer.call("friend.restore", "c")
        ids += await dreams(peer, 3)
        await peer.call("friend.reseed", {"origin": ["A new birth. I listen."]})
        ids += await dreams(peer, 3)
        in_memory = service.friend.friend.fragments
        assert [f.id for f in in_memory] == sorted(f.id for f in in_memory)
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        assert service.friend.friend.fragments == in_memory
        answers = [await peer.call("dialogs.replay", dialog) for dialog in ids]
    assert [answer["difference"] for answer in answers] == [None] * 13


async def test_p4_a_restore_brings_back_the_origin_of_its_checkpoint(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await dreams(peer, 2)
        before = await peer.call("friend.fragments")
        reseeded = await peer.call("friend.reseed", {"readme": ["A new birth."]})
        assert (reseeded["undo"], reseeded["origin_kept"]) == ("previous", "origin~1")
        poem = measured(await peer.call("friend.fragments"))
        for name, other in (("previous", poem), ("previous", measured(before)), ("origin~1", poem)):
            restored = await peer.call("friend.restore", name)
            assert restored["undo"] == "previous"
            assert measured(await peer.call("friend.fragments", "previous")) == other
        assert measured(await peer.call("friend.fragments")) == measured(before)
        assert (await peer.call("friend.restore", "origin~1"))["undo"] is None  # nothing to change
        assert measured(await peer.call("friend.fragments", "previous")) == poem
        assert await peer.call("dream.seed", {"origin": ["Another."]}) == 0
        await dreams(peer, 2)
        born = texts(before, origin=True)
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        now = await peer.call("friend.fragments")
        assert texts(now, origin=True) == born
        assert min(f["weight"] for f in now if f["origin"]) >= 0.2


async def test_p4_an_import_without_an_origin_changes_only_its_weights(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        born = texts(await peer.call("friend.fragments"), origin=True)
        brought = [
            {"text": born[0], "weight": 0.0, "origin": False, "id": 1, "dialog": 99, "added_at": 5.0},
            {"text": "the sea", "weight": 0.7, "dialog": 99},
        ]
        answer = await peer.call("friend.import", brought)
        assert (answer["added"], answer["skipped"], answer["origin_kept"]) == (1, 0, None)
        now = await peer.call("friend.fragments")
        assert texts(now, origin=True) == born
        assert {f["weight"] for f in now if f["text"] == born[0]} == {0.2}
        assert [(f["text"], f["weight"], f["dialog"]) for f in now if not f["origin"]] == [
            ("the sea", 0.7, None)
        ]


async def test_p4_an_import_with_an_origin_keeps_the_old_one_as_a_checkpoint(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        born = texts(await peer.call("friend.fragments"), origin=True)
        answer = await peer.call("friend.import", [{"text": "I am another.", "weight": 1.0, "origin": True}])
        assert (answer["origin"], answer["undo"], answer["origin_kept"]) == (1, "previous", "origin~1")
        assert texts(await peer.call("friend.fragments"), origin=True) == ["I am another."]
        for name in ("previous", "origin~1"):
            assert texts(await peer.call("friend.fragments", name), origin=True) == born


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u00a0\u2003"])
async def test_an_empty_text_is_not_imported(tmp_path, text):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        before = await peer.call("friend.fragments")
        with pytest.raises(PeerError, match=r"fragments\[1\].text is empty") as caught:
            await peer.call("friend.import", [{"text": "a", "weight": 1.0}, {"text": text, "weight": 1.0}])
        assert caught.value.code == Code.INVALID_PARAMS
        assert await peer.call("friend.fragments") == before


async def test_checkpoints_are_bounded_and_can_be_deleted(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        for number in range(32):
            await peer.call("friend.checkpoint", f"c{number}")
        with pytest.raises(PeerError, match="32 checkpoints are kept, and 32 is the most") as caught:
            await peer.call("friend.checkpoint", "one-more")
        assert caught.value.code == Code.UNAVAILABLE
        assert await peer.call("friend.delete_checkpoint", "c3") == {"name": "c3"}
        with pytest.raises(PeerError, match="no checkpoint of that name") as caught:
            await peer.call("friend.delete_checkpoint", "c3")
        assert caught.value.code == Code.NOT_FOUND
        await peer.call("friend.checkpoint", "one-more")
        assert len(await peer.call("friend.checkpoints", 100)) == 32


async def test_concurrent_restores_use_the_checkpoint_of_that_moment(tmp_path):
    """The name is looked up when the change begins, not when it was asked for."""
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        first = measured(await peer.call("friend.fragments"))
        await peer.call("friend.import", [{"text": "the sea", "weight": 0.5}])
        second = measured(await peer.call("friend.fragments"))
        keeper = service.friend
        await asyncio.gather(keeper.restore("previous"), keeper.restore("previous"))
        assert measured(await peer.call("friend.fragments")) == second
        await keeper.restore("previous")
        assert measured(await peer.call("friend.fragments")) == first


async def test_p4_a_reseed_replaces_the_origin_and_keeps_what_was_learned(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await dreams(peer, 2)
        before = await peer.call("friend.fragments")
        learned = texts(before, origin=False)
        answer = await peer.call("friend.reseed", {"origin": ["A new birth.", f"{learned[0].upper()}!"]})
        after = await peer.call("friend.fragments")
        assert len(texts(after, origin=True)) == answer["origin"]
        assert texts(after, origin=False) == learned[1:]  # that one has become origin
        assert {f["weight"] for f in after if f["origin"]} == {1.0}
        assert measured(await peer.call("friend.fragments", "previous")) == measured(before)
        for nothing in ({}, {"origin": [" \n "]}):
            with pytest.raises(PeerError, match="no word in it to be born of"):
                await peer.call("friend.reseed", nothing)
        assert await peer.call("friend.fragments") == after


async def test_a_friend_without_an_origin_takes_that_of_an_import(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        answer = await peer.call("friend.import", [{"text": "I am.", "weight": 0.9, "origin": True}])
        assert (answer["origin"], answer["skipped"]) == (1, 0)
        assert service.friend.seeded
        assert await peer.call("dream.seed", ORIGIN) == 0


async def test_refuses_taken_and_malformed_names(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("friend.checkpoint", "a")
        with pytest.raises(PeerError, match="a checkpoint of that name already; choose another") as caught:
            await peer.call("friend.checkpoint", "a")
        assert caught.value.code == 2
        await peer.call("friend.checkpoint", "a", True)
        for name in ("", "../a", "a b", "x" * 65, "a\n"):
            with pytest.raises(PeerError, match="name"):
                await peer.call("friend.checkpoint", name)
        for method in ("friend.restore", "friend.fragments"):
            with pytest.raises(PeerError, match="no checkpoint of that name") as caught:
                await peer.call(method, "b")
            assert caught.value.code == 12
        with pytest.raises(PeerError, match="weight"):
            await peer.call("friend.import", [{"text": "the sea", "weight": 1.5}])
        assert len(await peer.call("friend.checkpoints")) == 1


async def test_a_dialogue_that_runs_meanwhile_ends_with_the_new_friend(tmp_path):
    gate = Gate()
    async with serving(tmp_path) as service, await leo(service, generate=gate) as peer:
        other = await onlooker(service)
        await other.call("dream.seed", ORIGIN)
        await other.call("friend.checkpoint", "c")
        dreaming = asyncio.create_task(peer.call("dream.now", STIRRED))
        await gate.reached.wait()
        await other.call("friend.import", [{"text": "the sea", "weight": 0.9}])
        gate.opened.set()
        ended = await dreaming
        assert ended["outcome"] == "complete"
        sources = {f["text"]: f["dialog"] for f in await other.call("friend.fragments") if not f["origin"]}
        assert sources.pop("the sea") is None
        assert set(sources.values()) == {ended["dialog"]}
        assert (await other.call("dialogs.replay", ended["dialog"]))["difference"] is None
        await other.close()


async def test_p11_a_change_is_completed_though_its_caller_has_gone(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        other = await onlooker(service)
        other.send([0, 9, "friend.reseed", [{"origin": ["A new birth."]}]])
        await other.writer.drain()
        await other.close()
        await until_on_loop(lambda: service.friend.seeded)
        assert (await peer.call("dream.now", STIRRED))["outcome"] == "complete"
        assert service.failures.counts == {}


async def test_p10_a_store_in_trouble_leaves_the_friend_as_he_was(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        before = service.friend.friend
        (tmp_path / "dream.sqlite3").rename(tmp_path / "aside")
        with pytest.raises(PeerError, match="deleted") as caught:
            await peer.call("friend.reseed", {"origin": ["A new birth."]})
        assert caught.value.code == 10
        assert service.friend.friend is before
        with pytest.raises(StoreUnavailable):
            await service.store.keep("c", 0.0, again=False)
        (tmp_path / "aside").rename(tmp_path / "dream.sqlite3")


def test_p4_no_origin_is_lost_when_the_daemon_is_killed(tmp_path):
    """Killed while it replaces the origin, or just before or after: each that was there is there still."""
    daemon, born = DaemonProcess(tmp_path / "state"), []
    for number in range(4):
        with daemon, DreamClient(socket_path=daemon.socket) as client:
            assert client.start(10.0)
            names = [each["name"] for each in client.call("friend.checkpoints", 100)]
            kept = [
                client.call("friend.fragments"),
                *(client.call("friend.fragments", name) for name in names),
            ]
            origins = {tuple(texts(fragments, origin=True)) for fragments in kept}
            assert origins >= set(born)
            now = tuple(texts(kept[0], origin=True))
            born += [now] if now and now not in born else []

            def reseed(client: DreamClient = client, text: str = f"birth {number}") -> None:
                with suppress(DreamError):
                    client.call("friend.reseed", {"origin": [text]})

            asked = threading.Thread(target=reseed)
            asked.start()
            asked.join(number * 0.002)  # so the kill comes before, while or after it is written
            daemon.kill()
            asked.join()


async def test_ranks_lines_among_the_last_ones_also_after_a_restart(tmp_path):
    """Arousal is 0.95 for every line; which one the friend keeps is said by the overlap that the hook tells."""
    number = itertools.count()

    def measured(*_):
        n = next(number)
        return {
            "text": f"stone{n} river{n} light{n}",
            "arousal": 0.95,
            "trauma": 0.9,
            "overlap": n * 7 % 10 / 10,
        }

    settings = {"dialogue__turns_min": 4, "dialogue__candidates": 1}
    for _ in range(2):
        async with serving(tmp_path, **settings) as service, await leo(service, generate=measured) as peer:
            for _ in range(10):
                ended = await peer.call("dream.now", STIRRED)
                turns = (await peer.call("dialogs.get", ended["dialog"]))["turns"]
                second, fourth = turns[1], turns[3]
                kept = [
                    f["text"] for f in await peer.call("friend.fragments") if f["dialog"] == ended["dialog"]
                ]
                if ended["dialog"] > 8:  # 32 lines are known
                    assert kept[0] == max(second, fourth, key=lambda turn: turn["overlap"])["text"]
