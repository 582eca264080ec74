"""The friend kept, restored, imported and reseeded, while leo dreams on."""

import asyncio
import gc
import itertools

import pytest
from dreamclient.messages import Code

from dreamd.errors import StoreUnavailable
from dreamd.store.store import Store
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import ORIGIN, STIRRED, dreams, leo, measured, onlooker, texts
from tests.helpers.peer import PeerError
from tests.helpers.waiting import until_on_loop

BORN = ["I am a small organism.", "I speak from the field.", "Leo listens.", "Leo drifts."]


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
            "added_dropped": 0, "added_forgotten": 0,
            "undo": "previous", "origin_kept": None,
        }  # fmt: skip
        assert measured(await peer.call("friend.fragments", "previous")) == measured(later)
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        assert await peer.call("friend.fragments") == now
        names = [(c["name"], c["origin"]) for c in await peer.call("friend.checkpoints")]
        assert names == [("previous", kept["origin"]), ("first-week", kept["origin"])]


async def test_p4_has_the_origin_that_was_stored_even_if_nothing_can_be_read_afterwards(
    tmp_path, monkeypatch
):
    async with serving(tmp_path) as service, await onlooker(service) as peer:

        async def fails():
            raise StoreUnavailable("locked", "the database is locked")

        monkeypatch.setattr(service.store, "load", fails)
        stored = await peer.call("dream.seed", ORIGIN)
        assert stored == len(texts(await peer.call("friend.fragments"), origin=True)) > 0
        assert (await peer.call("status"))["seeded"]


async def test_a_change_that_fails_after_its_caller_has_gone_is_no_fault(tmp_path, monkeypatch):
    begun, opened = asyncio.Event(), asyncio.Event()

    async def fails(*_):
        begun.set()
        await opened.wait()
        raise StoreUnavailable("locked", "the database is locked")

    async with serving(tmp_path) as service:
        monkeypatch.setattr(service.store, "seed", fails)
        async with await onlooker(service) as peer:
            peer.send([0, 99, "dream.seed", [ORIGIN]])
            await begun.wait()
        await until_on_loop(lambda: not service.sessions)
        opened.set()
        await until_on_loop(lambda: not service.friend._changes)
        gc.collect()
        assert service.failures.counts == {}


async def test_refuses_reserved_names(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        for name in ("previous", "previous~2", "previous~9", "origin", "origin~1"):
            for again in (False, True):
                with pytest.raises(PeerError, match="the daemon's own") as caught:
                    await peer.call("friend.checkpoint", name, again)
                assert caught.value.code == Code.INVALID_PARAMS
        assert await peer.call("friend.checkpoints") == []


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
    """The name is looked up when the change begins, not when the client asks for it."""
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


async def test_p11_a_change_is_completed_though_its_caller_has_gone(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        other = await onlooker(service)
        other.send([0, 9, "friend.reseed", [{"origin": ["A new birth."]}]])
        await other.writer.drain()
        await other.close()
        await until_on_loop(lambda: service.friend.seeded and not service.engine.dialogues.holding.locked())
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


async def test_ranks_lines_among_the_last_ones_also_after_a_restart(tmp_path):
    """Arousal is 0.95 for every line. The overlap that the hook reports decides which line the friend keeps."""
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


async def test_p13_drops_learned_fragments_by_their_ids_and_earlier_dialogues_replay(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await dreams(peer, 3)
        before = await peer.call("friend.fragments")
        learned = [f for f in before if not f["origin"]]
        ids = [f["id"] for f in learned[:2]]
        answer = await peer.call("friend.drop", ids)
        assert (answer["left"], answer["added"], answer["undo"]) == (2, 0, "previous")
        after = await peer.call("friend.fragments")
        assert after == [f for f in before if f["id"] not in ids]
        assert [f.id for f in service.friend.fragments] == sorted(f["id"] for f in after)
    async with serving(tmp_path) as service, await leo(service) as peer:
        assert await peer.call("friend.fragments") == after
        await dreams(peer, 1)
        await service.store.tidy()
        for number in range(1, 5):
            assert (await peer.call("dialogs.replay", number))["difference"] is None
        await peer.call("friend.restore", None, 4)
        assert measured(await peer.call("friend.fragments")) == measured(after)
        again = await peer.call("friend.restore", "previous~2")
        assert (again["added"], again["added_dropped"]) == (2, 2)
        assert measured(await peer.call("friend.fragments")) == measured(before)


async def test_p4_drops_nothing_if_one_fragment_is_origin_or_unknown(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await dreams(peer, 1)
        before = await peer.call("friend.fragments")
        origin, learned = (
            next(f["id"] for f in before if f["origin"] is is_origin) for is_origin in (True, False)
        )
        with pytest.raises(PeerError, match=f"fragment {origin} is of the origin, which stays"):
            await peer.call("friend.drop", [learned, origin])
        with pytest.raises(PeerError, match="the friend has no fragment 99") as unknown:
            await peer.call("friend.drop", [learned, 99])
        assert unknown.value.code == 12
        for wrong in ([], [0], ["1"], list(range(1, 400))):
            with pytest.raises(PeerError) as refused:
                await peer.call("friend.drop", wrong)
            assert refused.value.code == 2
        assert await peer.call("friend.fragments") == before
        assert await peer.call("friend.checkpoints") == []


async def test_restores_the_friend_before_each_dialogue_also_after_a_restart(tmp_path):
    then = {}
    async with serving(tmp_path, friend__buffer=3) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        for number in range(1, 8):
            then[number] = await peer.call("friend.fragments")
            await dreams(peer, 1)
        then["now"] = await peer.call("friend.fragments")
    async with serving(tmp_path, friend__buffer=3) as service, await onlooker(service) as peer:
        for number in (7, 1, 4):
            assert await peer.call("friend.fragments", None, number) == then[number]
            answer = await peer.call("friend.restore", None, number)
            assert (answer["missing"], answer["undo"]) == (0, "previous")
            assert measured(await peer.call("friend.fragments")) == measured(then[number])
        for name, number in (("previous", 1), ("previous~2", 7), ("previous~3", "now")):
            assert measured(await peer.call("friend.fragments", name)) == measured(then[number])


async def test_says_what_was_forgotten_or_dropped_when_it_comes_back(tmp_path):
    async with serving(tmp_path, friend__buffer=64) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await dreams(peer, 4)
        await peer.call("friend.checkpoint", "all")
        before = await peer.call("friend.fragments")
        dropped = [f["id"] for f in before if f["dialog"] == 2]
        await peer.call("friend.drop", dropped)
        gone = await peer.call("dialogs.forget", {"id": 1, "friend": True})
        assert gone["fragments"]
        answer = await peer.call("friend.restore", None, 4)
        assert (answer["added"], answer["added_dropped"], answer["added_forgotten"]) == (
            len(dropped),
            len(dropped),
            0,
        )
        assert answer["missing"] == gone["fragments"]
        assert {f["dialog"] for f in await peer.call("friend.fragments")} == {None, 2, 3}
        answer = await peer.call("friend.restore", "all")
        assert answer["added_forgotten"] == gone["fragments"]


@pytest.mark.parametrize(
    ("settings", "number", "gone"),
    [
        ({"store__replay_dialogues": 2}, 1, "its replay data were emptied"),
        ({"store__diagnostics": "false"}, 3, "its texts were emptied"),
    ],
)
async def test_refuses_a_friend_before_a_dialogue_that_is_not_kept(tmp_path, settings, number, gone):
    async with serving(tmp_path, **settings) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await dreams(peer, 4)
        await service.engine.pending.attempt()
        await service.store.tidy()
        before = await peer.call("friend.fragments")
        for asked, why in ((number, gone), (99, "no dialogue 99")):
            for method in ("friend.restore", "friend.fragments"):
                with pytest.raises(PeerError, match=why) as refused:
                    await peer.call(method, None, asked)
                assert refused.value.code == 12
        for wrong in ([], ["all", 1]):
            with pytest.raises(PeerError) as refused:
                await peer.call("friend.restore", *wrong)
            assert refused.value.code == 2
        assert await peer.call("friend.fragments") == before


async def test_rows_and_memory_change_together_though_the_database_fails_right_after(tmp_path, monkeypatch):
    """Once a seed or what was forgotten is on disk, nothing else is asked of the disk for the memory."""
    async with serving(tmp_path) as service, await leo(service) as peer:

        async def fail():
            raise StoreUnavailable("failing", "the disk fails")

        with monkeypatch.context() as patched:
            patched.setattr(service.store, "load", fail)
            assert await peer.call("dream.seed", ORIGIN) == 3
        assert len(service.friend.fragments) == 3
        await dreams(peer, 1)
        assert texts(await peer.call("friend.fragments"), origin=False)
        with monkeypatch.context() as patched:
            patched.setattr(service.store, "load", fail)
            await peer.call("dialogs.forget", {"id": 1, "friend": True})
        assert texts(await peer.call("friend.fragments"), origin=False) == []


async def test_stays_as_he_was_if_the_end_of_a_dialogue_cannot_be_stored(tmp_path, monkeypatch):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        before = service.friend.friend

        async def finish(*_):
            raise StoreUnavailable("disk full", "the disk is full")

        with monkeypatch.context() as failing:
            failing.setattr(service.store, "finish", finish)
            await peer.call("dream.now", STIRRED)
            assert service.failures.counts["store: disk full"] >= 1
            assert service.friend.friend is before


@pytest.mark.parametrize("change", ["import", "reseed", "drop"])
async def test_p4_a_change_keeps_what_the_start_could_not_load(tmp_path, monkeypatch, change):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await dreams(peer, 1)
        before = await peer.call("friend.fragments")
        learned = [fragment for fragment in before if not fragment["origin"]]

    async def fails(self):
        raise StoreUnavailable("locked", "the database is locked")

    with monkeypatch.context() as locked:
        locked.setattr(Store, "load", fails)
        service = await (starting := serving(tmp_path)).__aenter__()
    try:
        async with await onlooker(service) as peer:
            assert service.friend.fragments == ()
            if change == "import":
                await peer.call("friend.import", learned)
                assert measured(await peer.call("friend.fragments")) == measured(before)
            elif change == "reseed":
                await peer.call("friend.reseed", {"origin": ["A new birth."]})
                kept = texts(await peer.call("friend.fragments"), origin=False)
                assert kept == [fragment["text"] for fragment in learned]
            else:
                await peer.call("friend.drop", [learned[0]["id"]])
                assert await peer.call("friend.fragments") == [f for f in before if f["origin"]]
    finally:
        await starting.__aexit__(None, None, None)
