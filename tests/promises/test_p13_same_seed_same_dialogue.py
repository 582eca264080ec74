"""P13 with a daemon: 200 dialogues with changing hooks replay, and a changed byte in the database is named."""

import asyncio
import os
import random
import sqlite3
from contextlib import closing

import pytest

from tests.helpers.daemons.in_loop import serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import ORIGIN, STIRRED, dreams, leo, leo_at, onlooker, onlooker_at
from tests.helpers.peer import PeerError, PlainPeer, saying
from tests.helpers.waiting import until

WORDS = ("sea river house light snow door word small old quiet speak listen friend name water night").split()  # noqa: SIM905 - one list of words reads better as words


def moody(seed: int):
    """Return the hooks of a leo in changing moods: long lines, maps, measures, empty lines, errors."""
    draw = random.Random(seed)

    def generate(*_):
        if draw.random() < 0.05:
            raise RuntimeError
        text = " ".join(draw.choices(WORDS, k=draw.choice([0, 1, 5, 12, 80])))
        return (
            text if draw.random() < 0.5 else {"text": text, "arousal": draw.random(), "trauma": draw.random()}
        )

    def observe(*_):
        return None if draw.random() < 0.5 else {"novelty": draw.random(), "entropy": draw.random()}

    return {
        "generate": generate,
        "observe": observe,
        "recall": lambda *_: draw.choices(WORDS, k=draw.randrange(3)),
    }


DIALOGUES = 200 if os.environ.get("HUNT") else 50


async def test_p13_dialogues_replay_and_a_changed_byte_does_not(tmp_path):
    async with serving(tmp_path) as service, await PlainPeer.connect(service.socket, **moody(1)) as leo:
        await leo.hello()
        await leo.call("dream.seed", {"origin": ["I am small. I listen."], "readme": ["Words are doors."]})
        ended = [await leo.call("dream.now", {"prompt": f"p{n}", "reply": "r"}) for n in range(DIALOGUES)]
        answers = [await leo.call("dialogs.replay", dialog["dialog"]) for dialog in ended]
    assert [answer["difference"] for answer in answers] == [None] * DIALOGUES
    assert {dialog["outcome"] for dialog in ended} >= {"complete", "empty", "hook_error"}

    long = next(dialog["dialog"] for dialog in ended if dialog["lines"] > 2)
    with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database, database:
        database.execute(
            "UPDATE dream_turns SET text = text || '.' WHERE dialog_id = ? AND turn = 2", (long,)
        )
    async with serving(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        await peer.hello("dreamctl")
        answer = await peer.call("dialogs.replay", long)
    assert answer == {
        "id": long,
        "lines": answer["lines"],
        "same": False,
        "difference": "line 2: another text",
    }


@pytest.mark.parametrize("column", ["context", "settings", "recalled", "friend_state"])
async def test_p13_names_an_unreadable_column(tmp_path, column):
    """The failure counts as a difference, not as an error of the caller."""
    async with serving(tmp_path) as service, await PlainPeer.connect(service.socket, **moody(3)) as leo:
        await leo.hello()
        ended = await leo.call("dream.now")
        with closing(sqlite3.connect(tmp_path / "dream.sqlite3")) as database, database:
            database.execute(f"UPDATE dream_dialogs SET {column} = ?", (b'{"surely": unknown',))
        answer = await leo.call("dialogs.replay", ended["dialog"])
    difference = f"the stored {column} cannot be read"
    assert answer == {"id": ended["dialog"], "lines": ended["lines"], "same": False, "difference": difference}


async def test_p13_refuses_to_replay_a_dialogue_without_replay_data(tmp_path):
    async with serving(tmp_path, store__diagnostics="false") as service:
        async with await PlainPeer.connect(service.socket, **moody(2)) as leo:
            await leo.hello()
            dialog = (await leo.call("dream.now"))["dialog"]
            for asked, why in ((dialog, "its texts were emptied"), (999, "no dialogue 999")):
                with pytest.raises(PeerError, match=why):
                    await leo.call("dialogs.replay", asked)


async def test_p13_recalled_texts_and_measures_are_stored_before_the_next_line(tmp_path):
    """The recalled texts and the measures of `observe` are on disk before a line is asked for with them."""
    reached = asyncio.Event()

    async def blocks_at_the_third(*arguments):
        if arguments[-1]["turn"] == 3:
            reached.set()
            await asyncio.Event().wait()
        return saying()

    daemon = DaemonProcess(tmp_path / "s").start()
    hooks = {
        "generate": blocks_at_the_third,
        "observe": lambda *_: {"arousal": 0.93, "entropy": 0.11},
        "recall": lambda *_: ["once there was a river"],
    }
    async with await leo_at(daemon.socket, **hooks) as peer:
        peer.send([0, 99, "dream.now", [STIRRED]])
        await reached.wait()
        daemon.kill()
    with daemon:
        await asyncio.to_thread(until, lambda: daemon.call("status")["dialogues"].get("left"), "its end")
        async with await onlooker_at(daemon.socket) as peer:
            assert (await peer.call("dialogs.replay", 1))["difference"] is None
            turns = (await peer.call("dialogs.get", 1))["turns"]
    assert [(turn["arousal"], turn["entropy"], turn["observed"]) for turn in turns] == [
        (0.93, 0.11, "answered")
    ] * 2


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
