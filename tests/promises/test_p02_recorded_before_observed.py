"""P2: a line reaches `observe` only after its row is committed."""

from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import STIRRED, leo
from tests.helpers.state_folder import rows


async def test_p2_p3_the_row_and_its_mark_are_committed_before_observe_is_called(tmp_path):
    def observe(text, meta):
        found = rows(tmp_path, f"SELECT text, observed FROM dream_turns WHERE turn = {meta['turn']}")
        assert found == [(text, "sent")]

    async with serving(tmp_path) as service, await leo(service, observe=observe) as peer:
        ended = await peer.call("dream.now", STIRRED)
    assert ended["outcome"] == "complete"
    assert rows(tmp_path, "SELECT DISTINCT observed FROM dream_turns") == [("answered",)]
