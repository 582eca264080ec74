"""P5: each dialogue with a recorded line leaves exactly one inbox file, with all its lines."""

import asyncio
import json
import sqlite3

import pytest

from tests.helpers.daemons.in_loop import serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import STIRRED, completed, leo, leo_at, onlooker, settled
from tests.helpers.peer import saying
from tests.helpers.state_folder import inbox_files, pending, rows, shards
from tests.helpers.waiting import until


async def test_p5_writes_one_file_with_every_line_of_the_store(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer, await onlooker(service) as watcher:
        await watcher.call("events.subscribe")
        ended = await peer.call("dream.now", STIRRED)
        dialog = await peer.call("dialogs.get", ended["dialog"])
        events = [(await watcher.told.get())[1][0] for _ in range(ended["lines"] + 4)]
        [file] = inbox_files(tmp_path)
        document = json.loads(file.read_text())
    assert file.stem == dialog["trace_id"] == document["trace_id"]
    said = ("speaker", "text", "novelty", "arousal", "entropy", "trauma")
    assert [[s[k] for k in said] for s in document["shards"]] == [
        [t[k] for k in said] for t in dialog["turns"]
    ]
    assert [n["trace"]["order"] for n in document["matada_nodes"]] == list(range(1, ended["lines"] + 1))
    assert (document["seed"]["goal"], document["seed"]["ul_tags"]) == ("dream of leo", ["dream"])
    written = {k: events[-1][k] for k in ("type", "dialog", "trace_id", "path", "shards")}
    assert written == {
        "type": "inbox.written", "dialog": 1, "trace_id": file.stem, "path": str(file), "shards": ended["lines"],
    }  # fmt: skip
    assert pending(tmp_path) == []


async def test_p5_delivers_pending_files_when_the_inbox_recovers(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        folder = tmp_path / "inbox" / "dreams"
        folder.rename(tmp_path / "aside")
        folder.write_text("in the way")
        ended = [await peer.call("dream.now", STIRRED) for _ in range(3)]
        await settled(service)
        assert [e["outcome"] for e in ended] == ["complete"] * 3
        assert service.delivery.undelivered_reason == "ValidationError"
        # The folder is in trouble, not one file: the next one is not tried, nor each one again with the next dialogue.
        assert service.failures.counts == {"inbox: ValidationError": 1}
        await completed(service)
        assert service.failures.counts == {"inbox: ValidationError": 2}
        assert len(pending(tmp_path)) == 3
        folder.unlink()
        (tmp_path / "aside").rename(folder)
        await completed(service)
        assert service.delivery.undelivered_reason is None
        assert [len(json.loads(f.read_text())["shards"]) for f in inbox_files(tmp_path)] == [
            e["lines"] for e in ended
        ]
        assert pending(tmp_path) == []


@pytest.mark.parametrize("hook", ["generate", "observe"])
async def test_p3_p5_next_start_completes_a_dialogue_after_a_kill(tmp_path, hook):
    """One file has every recorded line, and no line is observed a second time."""
    reached = asyncio.Event()

    async def blocks_at_the_third(*arguments):
        if arguments[-1]["turn"] == 3:
            reached.set()
            await asyncio.Event().wait()
        return saying() if hook == "generate" else None

    daemon = DaemonProcess(tmp_path / "s").start()
    peer = await leo_at(daemon.socket, **{hook: blocks_at_the_third})
    peer.send([0, 99, "dream.now", [STIRRED]])
    await reached.wait()
    daemon.kill()
    heard = [text for method, [text, *_] in peer.asked if method == "observe"]
    await peer.close()
    lines = 3 if hook == "observe" else 2
    assert len(heard) == lines

    for _ in range(2):  # and it stays so, however often it is started
        with daemon:
            async with await leo_at(daemon.socket) as again:
                async with asyncio.timeout(30):  # it serves before it ends what was interrupted
                    while (dialog := (await again.call("dialogs.recent"))[0])["outcome"] is None:
                        pass
                turns = (await again.call("dialogs.get", dialog["id"]))["turns"]
                assert (await again.call("status"))["dialogues"] == {"left": 1}
                assert again.asked == []
            assert (dialog["outcome"], dialog["lines"]) == ("left", lines)
            assert [turn["text"] for turn in turns] == heard
            until(lambda: shards(tmp_path / "s") == [heard], "its file is written")


async def test_p5_an_acknowledged_file_does_not_come_back_after_a_kill(tmp_path):
    daemon = DaemonProcess(tmp_path / "s").start()
    async with await leo_at(daemon.socket) as peer:
        await peer.call("dream.now", STIRRED)
        [file] = await peer.call("inbox.list")
        await peer.call("inbox.ack", file["trace_id"])
        daemon.kill()
    with sqlite3.connect(tmp_path / "s" / "dream.sqlite3") as database:
        database.execute("UPDATE dream_dialogs SET shard_at = NULL")  # as killed before it was marked
    database.close()
    with daemon:
        left = "SELECT count(*) FROM dream_dialogs WHERE shard_at IS NULL"
        until(lambda: rows(tmp_path / "s", left) == [(0,)], "it is marked as written")
        assert daemon.call("status")["inbox"]["waiting"] == 0
    assert len(shards(tmp_path / "s")) == 1
