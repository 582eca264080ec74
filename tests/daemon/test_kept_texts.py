"""What a state folder holds of a dream, in any file: nothing once it is forgotten, or without diagnostics once it has
ended, but for what the friend keeps. And what is then answered in place of it."""

from pathlib import Path

import pytest

from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import STIRRED, onlooker, settled
from tests.helpers.peer import PeerError, PlainPeer

LEO, FRIEND = ("aardvark", "xylophone"), ("zeppelin", "okapi")  # said in turn, in lines of three words
HEARD = {
    "prompt": "umbrella", "reply": "vermilion", "recalled": "quokka", "unsaid": "marmalade", "added": "gazebo",
}  # fmt: skip
WORDS = {*LEO, *FRIEND, *HEARD.values()}
CONTEXT = STIRRED | {
    "prompt": "my umbrella is private", "reply": "vermilion and nothing else",
}  # fmt: skip
SETTINGS = {"gate__chance": 1, "gate__cooldown_s": 0, "dialogue__turns_min": 4, "dialogue__candidates": 2}


def held(state: Path) -> set[str]:
    """Return the words that any file below this folder holds, in UTF-8 or UTF-16."""
    contents = [path.read_bytes().lower() for path in state.rglob("*") if path.is_file()]
    return {
        word
        for word in WORDS
        for content in contents
        if word.encode() in content or word.encode("utf-16-le") in content
    }


class Host:
    """A leo with a word of its own in each place that takes a text."""

    def generate(self, *asked):
        meta = asked[-1]
        word = (LEO if meta["speaker"] == "leo" else FRIEND)[(meta["turn"] - 1) // 2]
        unsaid = " And marmalade is not taken." if meta["speaker"] == "leo" else ""
        return f"{word} sings softly.{unsaid}"

    def observe(self, *_):
        return {
            "arousal": 0.8,
            "taken": True,
            "added": {"tokens": {"gazebo": 1}, "pairs": [["gazebo", "gazebo", 1]]},
        }

    def recall(self, *_):
        return ["once there was a quokka"]

    def unobserve(self, *_):
        return {"undone": True, "missing": 0}

    async def connect(self, socket):
        hooks = {hook: getattr(self, hook) for hook in ("generate", "observe", "recall", "unobserve")}
        peer = await PlainPeer.connect(socket, **hooks)
        await peer.hello("leo", field="a field")
        return peer


async def dreamt(service) -> int:
    """Have leo dream once, and talk once more. Return the dialogue."""
    async with await Host().connect(service.socket) as peer:
        await peer.call("dream.seed", {"origin": ["I am small."]})
        decision = await peer.call("dream.context", CONTEXT)
        await settled(service)
        await peer.call(
            "dream.context", {"prompt": "umbrella umbrella umbrella", "reply": "vermilion it is then"}
        )
        await service.engine.keep_heard()
    return decision["dialog"]


async def test_without_diagnostics_no_file_holds_a_word_of_a_dream_that_has_ended(tmp_path):
    async with serving(tmp_path, **SETTINGS, inbox__enabled="false", store__diagnostics="false") as service:
        number = await dreamt(service)
        assert (await service.store.get(number))["lines"] == 4
        async with await onlooker(service) as user:
            for method, params, why in (
                ("dialogs.search", ["zeppelin"], "not kept"),
                ("dialogs.whence", ["zeppelin sings softly"], "not kept"),
                ("dialogs.undream", [{"id": number}], "not kept"),
                ("dialogs.replay", [number], "store.diagnostics was false"),
                ("friend.restore", [None, number], "store.diagnostics was false"),
                ("friend.fragments", [None, number], "store.diagnostics was false"),
            ):
                with pytest.raises(PeerError, match=why):
                    await user.call(method, *params)
        await service.store.tidy()
    assert held(tmp_path) <= set(FRIEND)
    async with serving(tmp_path, store__diagnostics="false") as service, await onlooker(service) as user:
        learned = [each for each in await user.call("friend.fragments") if not each["origin"]]
        assert learned
        await user.call("friend.drop", [each["id"] for each in learned])
        await user.call("friend.checkpoint", "empty")
        await user.call("friend.delete_checkpoint", "previous")
    assert held(tmp_path) == set()


async def test_with_diagnostics_each_word_is_kept_until_its_dream_is_forgotten(tmp_path):
    async with serving(tmp_path, **SETTINGS) as service:
        number = await dreamt(service)
    assert held(tmp_path) == WORDS
    async with serving(tmp_path, **SETTINGS) as service, await onlooker(service) as user:
        answer = await user.call("dialogs.forget", {"id": number, "friend": True, "everywhere": True})
        assert (answer["dialogs"], answer["scrubbed"]) == (1, True)
    assert held(tmp_path) == set()
