"""P4: only the user replaces the origin, and each one stays as a checkpoint."""

import threading
from contextlib import suppress

import pytest
from dreamclient.clients.thread import DreamClient
from dreamclient.errors import DreamError

from tests.helpers.daemons.in_loop import serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import ORIGIN, dreams, leo, measured, onlooker, texts
from tests.helpers.peer import PeerError


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


def test_p4_no_origin_is_lost_when_the_daemon_is_killed(tmp_path):
    """The daemon is killed before, during or after the change of the origin. Each fragment of it is still there."""
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
