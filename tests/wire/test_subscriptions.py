"""Events reach their subscribers."""

from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import STIRRED, leo, onlooker
from tests.helpers.waiting import until_on_loop


async def test_events_reach_only_subscribers(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer, await onlooker(service) as watcher:
        assert await watcher.call("events.subscribe") is None
        await peer.call("dream.context", {})
        ended = await peer.call("dream.now", STIRRED)
        events = [(await watcher.told.get())[1][0] for _ in range(ended["lines"] + 5)]
        assert peer.told.empty()
        await watcher.close()
        await until_on_loop(lambda: not service.subscriptions.subscribers)
        await peer.call("dream.now", None)
    lines = ["line"] * ended["lines"]
    assert [event["type"] for event in events] == [
        "decision", "decision", "dialog.started", *lines, "dialog.finished", "inbox.written",
    ]  # fmt: skip
    assert [event["decision"]["reason"] for event in events[:2]] == ["calm", "asked"]
    assert events[-1]["trace_id"] == events[2]["trace_id"]
    assert events[-2]["outcome"] == "complete"
