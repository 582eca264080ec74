"""Removing files that were not acknowledged, also after a writer was killed and on a full disk."""

import errno
import json
import os
from pathlib import Path

import pytest

from dreamd.clock import Clock
from dreamd.inbox import Inbox, InboxSettings
from dreamd.inbox.folder.files import Files

NOW = 1_800_000_000.0
OURS = {"index": 0, "timestamp": 5, "type": "dream_line", "text": "a quokka sings"}
OWN = {"dream-1": {(0, 5)}}


class FullDisk(Files):
    """A disk that takes no byte once it is `full`."""

    full = False

    def write(self, fd: int, data: memoryview) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "full")
        return super().write(fd, data)


def make(folder: Path, *, files: Files | None = None, keep: int = 1) -> Inbox:
    return Inbox(folder, InboxSettings(keep=keep), files=files, clock=Clock(wall=lambda: NOW))


def test_forgetting_takes_temporaries_and_set_aside_files_too(tmp_path: Path) -> None:
    inbox = make(tmp_path / "inbox")
    inbox.write({}, [OURS], trace_id="dream-1")
    inbox.write({}, [OURS], trace_id="dream-12")
    for name in (".tmp/dream-1.json", "dream-1.json.corrupt-99"):
        (inbox.folder / name).write_text("quokka")
    assert sorted(inbox.forget(OWN)) == ["dream-1.json", "dream-1.json.corrupt-99"]
    left = [
        path.name for path in inbox.folder.rglob("*") if path.is_file() and b"quokka" in path.read_bytes()
    ]
    assert left == ["dream-12.json"]
    assert inbox.forget(OWN) == []


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert make(tmp_path / "none").forget(OWN) == []
    assert make(tmp_path / "none").take_back(OWN) == {}
    assert not (tmp_path / "none").exists()


def test_nodes_of_another_program_stay(tmp_path: Path) -> None:
    inbox = make(tmp_path)
    nodes = [
        {"id": f"dream-1#N{order}", "type": "t", "version": "1.0.0", "lane": "simulation",
         "trace": {"trace_id": "dream-1", "order": order}, "metadata": {}, "payload": {}, "provenance": {}}
        for order in (1, 2)
    ]  # fmt: skip
    inbox.write({}, [OURS], nodes, trace_id="dream-1")
    inbox.forget(OWN)
    left = json.loads((tmp_path / "dream-1.json").read_text())
    assert ([node["id"] for node in left["matada_nodes"]], left["shards"]) == (["dream-1#N2"], [])


def test_taking_back_removes_what_waits_and_leaves_what_was_acknowledged(tmp_path: Path) -> None:
    inbox = make(tmp_path)
    other = OURS | {"type": "note", "text": "of another program"}
    for number, shards in enumerate(([OURS], [OURS], [OURS, other])):
        inbox.write({}, shards, trace_id=f"dream-{number}")
    inbox.ack("dream-0")
    own = {f"dream-{number}": {(0, 5)} for number in range(4)}
    assert inbox.take_back(own) == {"dream-0": "acknowledged", "dream-1": "removed", "dream-2": "removed"}
    assert sorted(path.name for path in tmp_path.rglob("*.json")) == ["dream-0.json", "dream-2.json"]
    left = json.loads((tmp_path / "dream-2.json").read_text())
    assert [shard["text"] for shard in left["shards"]] == ["of another program"]


def test_an_acknowledgement_on_a_full_disk_is_one_of_a_consumer(tmp_path: Path) -> None:
    files = FullDisk()
    inbox = make(tmp_path, files=files)
    for number in range(3):
        inbox.write({}, [OURS], trace_id=f"dream-{number}")
    files.full = True
    inbox.ack("dream-0")
    own = {f"dream-{number}": {(0, 5)} for number in range(3)}
    assert inbox.drop_oldest(own, ["dream-1", "dream-2"]) == []


ODD = ("text", 5, None, {"type": "dream_line", "index": [1], "timestamp": {}})


@pytest.mark.parametrize("odd", ODD)
def test_odd_shards_and_nodes_of_another_program_stay_and_hold_up_nothing(
    tmp_path: Path, odd: object
) -> None:
    inbox = make(tmp_path)
    inbox.write({}, [OURS], trace_id="dream-2")
    document = inbox.read("dream-2") | {"trace_id": "dream-1"}
    document["shards"].append(odd)
    document["matada_nodes"] += [odd, {"id": [1]}]
    own = {f"dream-{number}": {(0, 5)} for number in (1, 2, 3)}
    for remove in (inbox.forget, inbox.take_back, lambda own: inbox.drop_oldest(own, list(own))):
        inbox.write({}, [OURS], trace_id="dream-2")
        (tmp_path / "dream-1.json").write_text(json.dumps(document))
        assert remove(own)
        left = json.loads((tmp_path / "dream-1.json").read_text())
        assert (left["shards"][-1], left["matada_nodes"]) == (odd, [odd, {"id": [1]}])
        assert not (tmp_path / "dream-2.json").exists()


def test_what_is_no_file_stays_and_holds_up_nothing(tmp_path: Path) -> None:
    inbox = make(tmp_path)
    own = {f"dream-{number}": {(0, 5)} for number in range(1, 5)}
    for remove in (inbox.forget, inbox.take_back):
        inbox.write({}, [OURS], trace_id="dream-4")
        for folder in (tmp_path, tmp_path / "done"):
            (folder / "dream-1.json").mkdir(exist_ok=True)
            (folder / "dream-2.json").unlink(missing_ok=True)
            (folder / "dream-2.json").symlink_to(folder)
            if not (folder / "dream-3.json").exists():
                os.mkfifo(folder / "dream-3.json")
        assert "dream-4" in str(remove(own))
        assert not (tmp_path / "dream-4.json").exists()
        assert (tmp_path / "dream-2.json").is_symlink()


class Gone(Files):
    """Another program takes each file between the listing and the look at it."""

    def stat(self, name: str, at: int) -> os.stat_result:
        if name.startswith("dream-"):
            raise FileNotFoundError(name)
        return super().stat(name, at)


def test_files_that_another_program_takes_meanwhile_are_no_error(tmp_path: Path) -> None:
    for trace_id in ("dream-1", "dream-2"):
        make(tmp_path).write({}, [OURS], trace_id=trace_id)
    make(tmp_path).ack("dream-2")
    (tmp_path / ".tmp" / "dream-3.json").write_text("")
    inbox = make(tmp_path, files=Gone())
    assert (inbox.forget(OWN), inbox.take_back(OWN), inbox.retire(), inbox.sweep()) == ([], {}, [], [])
    assert inbox.drop_oldest({"dream-1": {(0, 5)}, "x": {(0, 5)}}, ["x", "dream-1"]) == []


def test_p7_what_a_consumer_moves_while_lines_are_removed_does_not_come_back(tmp_path: Path) -> None:
    class Consumer(Files):
        def fsync(
            self, fd: int
        ) -> None:  # of the temporary: the old file is moved before it would be replaced
            if (file := tmp_path / "dream-1.json").exists() and (tmp_path / ".tmp" / file.name).exists():
                file.rename(tmp_path / "done" / file.name)
            super().fsync(fd)

    for name in ("take_back", "forget"):
        make(tmp_path).write({}, [OURS, {"text": "of another"}], trace_id="dream-1")
        getattr(make(tmp_path, files=Consumer()), name)(OWN)
        [file] = tmp_path.rglob("dream-1*.json")
        assert file.parent.name == "done"
        texts = [shard["text"] for shard in json.loads(file.read_text())["shards"]]
        assert texts == ([OURS["text"]] if name == "take_back" else []) + ["of another"]
        file.unlink()
