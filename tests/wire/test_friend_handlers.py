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
