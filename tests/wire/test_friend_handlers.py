"""The methods of the friend over the wire, as any peer sees them."""

from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import ORIGIN, onlooker


async def test_lists_fragments_of_the_friend_and_of_a_checkpoint_heaviest_first(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await peer.call("friend.checkpoint", "born")
        await peer.call("friend.import", [{"text": "the sea", "weight": 0.5}])
        now = await peer.call("friend.fragments")
        assert [fragment["text"] for fragment in now][-1] == "the sea"
        assert "the sea" not in {fragment["text"] for fragment in await peer.call("friend.fragments", "born")}
        assert len({fragment["id"] for fragment in now}) == len(now)


async def test_each_change_by_a_person_is_an_event_and_a_change_of_nothing_is_none(tmp_path):
    async with serving(tmp_path) as service, await onlooker(service) as peer:
        await peer.call("dream.seed", ORIGIN)
        await peer.call("friend.checkpoint", "born")
        await peer.call("events.subscribe")
        await peer.call("friend.import", [{"text": "the sea", "weight": 0.5}])
        [learned] = [each for each in await peer.call("friend.fragments") if not each["origin"]]
        await peer.call("friend.drop", [learned["id"]])
        await peer.call("friend.restore", "previous")
        await peer.call("friend.restore", "previous")
        await peer.call("friend.restore", "born")  # as he is already
        await peer.call("friend.reseed", {"origin": ["Another beginning."]})
        events = [(await peer.told.get())[1][0] for _ in range(5)]
        assert peer.told.empty()
    assert {event["type"] for event in events} == {"friend.changed"}
    assert [(event["how"], event["added"], event["left"]) for event in events] == [
        ("import", 1, 0),
        ("drop", 0, 1),
        ("restore", 1, 0),
        ("restore", 0, 1),
        ("reseed", 1, 3),
    ]
    assert {event["undo"] for event in events} == {"previous"}
