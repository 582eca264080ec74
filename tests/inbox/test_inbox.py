"""The front: writing, listing, reading, acknowledging, retention, verification."""

import errno
import fcntl
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from dreamd.clock import Clock
from dreamd.inbox import (
    CapabilityError,
    DamagedFile,
    Inbox,
    InboxBusy,
    InboxSettings,
    InboxUnavailable,
    UnknownTrace,
    ValidationError,
    dream_document,
)
from dreamd.inbox.folder.files import Files
from dreamd.inbox.inbox import MOST_LOGGED

DAY_S = 86_400.0
TOKEN = {"scopes": ["memory.inbox.dreams.write"]}


class Now:
    """Time that a test owns; waiting passes it."""

    def __init__(self) -> None:
        self.s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.s


class Waiting(Files):
    """Files whose pauses pass the test's time."""

    def __init__(self, now: Now) -> None:
        self.now = now

    def pause(self, seconds: float) -> None:
        self.now.s += seconds


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def inbox(tmp_path: Path, now: Now) -> Inbox:
    return make(tmp_path, now)


def make(tmp_path: Path, now: Now, **settings: Any) -> Inbox:
    return Inbox(
        tmp_path / "state" / "inbox" / "dreams",
        InboxSettings(**settings),
        clock=Clock(now, now),
        files=Waiting(now),
    )


def shard(index: int, **more: Any) -> dict[str, Any]:
    return {"trace_id": "t", "index": index, "timestamp": 5} | more


def node(order: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"t#N{order}",
        "type": "x",
        "version": "1.0.0",
        "lane": "reflex",
        "trace": {"trace_id": "t", "order": order},
        "metadata": {},
        "payload": {},
        "provenance": {},
    } | more


def write(inbox: Inbox, *shards: dict[str, Any], nodes: Any = (), trace_id: str = "t") -> dict[str, Any]:
    return inbox.write({"goal": "g"}, list(shards), nodes, trace_id=trace_id)


def test_a_write_makes_a_file_as_documented(inbox: Inbox, now: Now) -> None:
    report = inbox.write({"goal": "g", "x": 1}, [shard(0)], [node(1)], trace_id="t")
    path = inbox.folder / "t.json"
    assert report == {
        "path": str(path),
        "bytes": path.stat().st_size,
        "shards_written": 1,
        "duplicates": 0,
        "conflicts": 0,
        "nodes_written": 1,
        "nodes_skipped": 0,
        "redacted": {},
        "set_aside": None,
    }
    document = json.loads(path.read_bytes())
    assert document == {
        "trace_id": "t",
        "saved_ts": int(now.s * 1000),
        "seed": {"goal": "g", "ul_tags": [], "constraints": {"flags": {}}},
        "shards": [shard(0)],
        "matada_nodes": [node(1)],
        "version": 1,
        "schema_ref": "lukhas://schemas/matada_node_v1.json",
    }
    assert list(document) == [
        "trace_id",
        "saved_ts",
        "seed",
        "shards",
        "matada_nodes",
        "version",
        "schema_ref",
    ]
    assert inbox.read("t") == document


def test_p7_appending_keeps_what_was_there_and_adds_what_is_new(inbox: Inbox, now: Now) -> None:
    """P7: also keys that we do not know, and the first seed."""
    write(inbox, shard(0), nodes=[node(1), node(2)])
    path = inbox.folder / "t.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"more": [1]}))
    now.s += 5
    report = inbox.write(
        {"goal": "other"},
        [shard(0), shard(1), shard(0, text="odd")],
        [node(2, payload={"x": 1}), node(1)],
        trace_id="t",
        schema_ref="lukhas://schemas/matriz_node_v1.json",
    )
    parts = ("shards_written", "duplicates", "conflicts", "nodes_written")
    assert [report[part] for part in parts] == [2, 1, 1, 1]
    document = inbox.read("t")
    assert document["shards"] == [shard(0), shard(1), shard(0, text="odd")]
    assert document["matada_nodes"] == [node(1), node(2, payload={"x": 1})]
    assert (document["seed"]["goal"], document["more"]) == ("g", [1])
    assert document["schema_ref"] == "lukhas://schemas/matriz_node_v1.json"
    assert document["saved_ts"] == int(now.s * 1000)


def test_p7_the_same_write_again_changes_not_a_byte(inbox: Inbox, now: Now) -> None:
    """P7: sent twice, there once."""
    first = write(inbox, shard(0), {"text": "no name"}, nodes=[node(1)])
    data = (inbox.folder / "t.json").read_bytes()
    now.s += 5
    again = write(inbox, shard(0), {"text": "no name"}, nodes=[node(1)])
    assert (again["shards_written"], again["duplicates"], again["nodes_written"]) == (0, 2, 0)
    assert (again["path"], again["bytes"]) == (first["path"], len(data))
    assert (inbox.folder / "t.json").read_bytes() == data


def test_a_trace_without_shards_is_a_trace(inbox: Inbox) -> None:
    assert write(inbox)["shards_written"] == 0
    assert inbox.read("t")["shards"] == []


def test_keeps_an_odd_shard_of_another_program(inbox: Inbox) -> None:
    inbox.folder.mkdir(parents=True)
    (inbox.folder / "t.json").write_text('{"shards": [7, {"index": "0"}], "seed": {}}')
    assert write(inbox, shard(0))["set_aside"] is None
    document = inbox.read("t")
    assert document["shards"] == [7, {"index": "0"}, shard(0)]
    assert document["seed"]["goal"] == "g"


def test_p7_a_file_that_cannot_be_read_is_set_aside_each_time_under_a_new_name(inbox: Inbox) -> None:
    """P7: the damaged bytes are kept, and the write lands."""
    garbage = [b"", b"\0" * 100, b"{", b"[]"]
    write(inbox)
    asides = []
    for index, data in enumerate(garbage):
        (inbox.folder / "t.json").write_bytes(data)
        report = write(inbox, shard(index))
        assert report["shards_written"] == 1
        asides.append(inbox.folder / report["set_aside"])
        assert inbox.read("t")["shards"] == [shard(index)]
    assert [path.read_bytes() for path in asides] == garbage
    assert all(path.name.startswith("t.json.corrupt-") for path in asides)
    assert [entry["trace_id"] for entry in inbox.list()] == ["t"]
    assert inbox.counts()["set_aside"] == 4


def test_a_refused_write_sets_nothing_aside(inbox: Inbox) -> None:
    write(inbox)
    (inbox.folder / "t.json").write_bytes(b"{")
    large = [shard(0), {"text": "x" * 2_000_000}]
    with pytest.raises(ValidationError, match="bytes"):
        write(inbox, *large)
    assert sorted(path.name for path in inbox.folder.glob("t.*")) == ["t.json"]


def test_p5_acknowledged_shards_never_come_back(inbox: Inbox) -> None:
    """P5: while it lies in done/, its shards and nodes count as duplicates; only what is new waits again."""
    line = {
        "speaker": "leo",
        "text": "so",
        "novelty": 0.1,
        "arousal": 0.2,
        "entropy": 0.3,
        "trauma": 0.4,
        "at": 5.0,
    }
    document = dream_document("t", [line, line], goal="g")
    inbox.write(*document, trace_id="t")
    done = inbox.folder / "done" / "t.json"
    assert inbox.ack("t") == {"trace_id": "t", "path": str(done)}
    again = inbox.write(*document, trace_id="t")
    assert (again["shards_written"], again["duplicates"], again["nodes_written"]) == (0, 2, 0)
    assert (again["path"], again["bytes"]) == (str(done), done.stat().st_size)
    assert list(inbox.list()) == []

    write(inbox, shard(7))
    assert inbox.read("t")["shards"] == [shard(7)]
    assert inbox.ack("t")["path"] == str(inbox.folder / "done" / "t~2.json")
    assert write(inbox, shard(7))["duplicates"] == 1
    assert list(inbox.list()) == []
    assert inbox.read("t")["shards"] == [shard(7)]


def test_a_damaged_acknowledged_file_is_left_alone(inbox: Inbox) -> None:
    write(inbox, shard(0))
    inbox.ack("t")
    (inbox.folder / "done" / "t.json").write_bytes(b"{")
    assert write(inbox, shard(0))["shards_written"] == 1
    assert (inbox.folder / "done" / "t.json").read_bytes() == b"{"


def test_acknowledging_again_is_no_error_and_an_unknown_trace_is(inbox: Inbox) -> None:
    with pytest.raises(UnknownTrace):
        inbox.ack("t")
    write(inbox, shard(0))
    assert inbox.ack("t") == inbox.ack("t")
    with pytest.raises(LookupError):
        inbox.ack("u")


def test_listing_is_the_oldest_first_and_files_only(inbox: Inbox) -> None:
    assert list(inbox.list()) == []
    for number, trace_id in enumerate(["b", "a", "c"]):
        size = write(inbox, shard(0), trace_id=trace_id)["bytes"]
        os.utime(inbox.folder / f"{trace_id}.json", (number, number))
    (inbox.folder / "no trace.json").write_text("{}")
    (inbox.folder / "x.txt").write_text("")
    (inbox.folder / "folder.json").mkdir()
    (inbox.folder / "link.json").symlink_to("a.json")
    assert list(inbox.list()) == [
        {"trace_id": trace_id, "bytes": size, "written_at": float(number)}
        for number, trace_id in enumerate("bac")
    ]


def test_reading_a_missing_or_damaged_trace_raises(inbox: Inbox) -> None:
    with pytest.raises(UnknownTrace):
        inbox.read("t")
    write(inbox, shard(0))
    with pytest.raises(UnknownTrace):
        inbox.read("u")
    (inbox.folder / "t.json").write_bytes(b"{")
    with pytest.raises(DamagedFile):
        inbox.read("t")


def test_retention_removes_acknowledged_files_only(tmp_path: Path, now: Now) -> None:
    inbox = make(tmp_path, now, retention_s=10 * DAY_S)
    for trace_id in ("old", "again", "waits"):
        write(inbox, shard(0), trace_id=trace_id)
    inbox.ack("old")
    inbox.ack("again")
    (inbox.folder / "done" / "of others.json").write_text("{}")
    os.utime(inbox.folder / "done" / "of others.json", (0, 0))
    os.utime(inbox.folder / "waits.json", (0, 0))
    now.s += 9 * DAY_S
    write(inbox, shard(1), trace_id="again")
    inbox.ack("again")
    assert list(inbox.retire()) == []
    now.s += 2 * DAY_S
    assert list(inbox.retire()) == ["again.json", "old.json"]
    assert write(inbox, shard(1), trace_id="again")["duplicates"] == 1
    now.s += 9 * DAY_S
    assert list(inbox.retire()) == ["again~2.json"]
    assert sorted(path.name for path in inbox.folder.rglob("*.json")) == ["of others.json", "waits.json"]
    now.s -= 100 * DAY_S  # a clock that jumped back removes nothing
    inbox.ack("waits")
    assert list(inbox.retire()) == []


def test_the_sweep_removes_temporaries_by_age(inbox: Inbox, now: Now) -> None:
    write(inbox, shard(0))
    litter = inbox.folder / ".tmp"
    for name, age_s in (("young.json", 10), ("old.json", 5000), ("future.json", -5000)):
        (litter / name).write_bytes(b"{")
        os.utime(litter / name, (now.s - age_s, now.s - age_s))
    (litter / "link").symlink_to("/etc/passwd")
    os.utime(litter / "link", (now.s, now.s), follow_symlinks=False)
    (litter / "folder").mkdir()
    assert inbox.counts()["temporaries"] == 5
    assert list(inbox.sweep(older_than_s=3600)) == ["future.json", "old.json"]
    assert list(inbox.sweep()) == ["link", "young.json"]
    assert [path.name for path in litter.iterdir()] == ["folder"]
    assert inbox.read("t")["shards"] == [shard(0)]


def test_verify_names_the_problems_of_each_file(inbox: Inbox) -> None:
    assert list(inbox.verify()) == []
    write(inbox, shard(0), nodes=[node(1)], trace_id="good")
    for _ in range(2):
        write(inbox, shard(inbox.counts()["done"]), trace_id="done")
        inbox.ack("done")
    good = json.loads((inbox.folder / "good.json").read_text())
    (inbox.folder / "renamed.json").write_text(json.dumps(good))
    odd = {"trace_id": "odd", "shards": [5, {"index": "0"}], "matada_nodes": [node(0)], "version": 2}
    (inbox.folder / "odd.json").write_text(json.dumps(good | odd))
    (inbox.folder / "cut.json").write_bytes(b"{")
    (inbox.folder / "a b.json").write_bytes(b"{}")
    (inbox.folder / "link.json").symlink_to("good.json")
    (inbox.folder / "t.json.corrupt-5").write_bytes(b"{")
    (inbox.folder / ".tmp" / "t.json").write_bytes(b"{")
    found = {entry["file"]: entry["problems"] for entry in inbox.verify()}
    assert found.pop("good.json") == found.pop("done/done.json") == found.pop("done/done~2.json") == []
    assert found.pop("renamed.json") == ["its trace_id is not the one of its name"]
    assert found.pop("cut.json") == ["the file is no JSON"]
    assert len(found.pop("odd.json")) == 4
    assert sorted(found) == [".tmp/t.json", "a b.json", "link.json", "t.json.corrupt-5"]
    assert all(len(problems) == 1 for problems in found.values())


def test_counts_files_of_each_kind(inbox: Inbox) -> None:
    nothing = {"waiting": 0, "done": 0, "set_aside": 0, "temporaries": 0, "refused": {}}
    assert inbox.counts() == nothing
    for trace_id in "abc":
        write(inbox, trace_id=trace_id)
    inbox.ack("a")
    assert inbox.counts() == nothing | {"waiting": 2, "done": 1}


def test_an_invalid_node_is_skipped_and_the_shards_land(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    report = write(inbox, shard(0), nodes=[node(0), node(1), "hunter2", node(2, lane="hunter2")])
    assert (report["shards_written"], report["nodes_written"], report["nodes_skipped"]) == (1, 1, 3)
    assert inbox.read("t")["matada_nodes"] == [node(1)]
    assert len(caplog.records) == 3
    assert "hunter2" not in caplog.text
    assert write(inbox, shard(1), nodes=[{}] * 1000)["nodes_skipped"] == 1000
    assert len(caplog.records) == 3 + MOST_LOGGED


def test_in_strict_mode_an_invalid_node_fails_the_write(tmp_path: Path, now: Now) -> None:
    inbox = make(tmp_path, now, validate=True)
    with pytest.raises(ValidationError, match="order"):
        write(inbox, shard(0), nodes=[node(1), node(0)])
    assert not inbox.folder.exists()


@pytest.mark.parametrize(
    ("what", "of"),
    [
        ("a shard or a node", {"shards": [{"x": [{"token": "x"}] * 50_000}]}),
        ("a shard or a node", {"nodes": [node(1, x=[{"token": "x"}] * 50_000)]}),
        ("seed", {"seed": {"goal": "token=x1 " * 7000}}),
    ],
)
def test_refuses_a_shard_that_masking_makes_too_large(
    what: str, of: dict[str, Any], tmp_path: Path, now: Now
) -> None:
    """A mask is longer than a short secret: what would then fit no file must not be tried in part after part."""
    inbox = make(tmp_path, now, redact=True)
    with pytest.raises(ValidationError, match=f"{what}, once it is masked, is [0-9]+ bytes"):
        inbox.write(**({"seed": {}, "shards": []} | of), trace_id="t")
    assert not inbox.folder.exists()


def test_redaction_covers_seed_shards_and_nodes_and_says_how_often(tmp_path: Path, now: Now) -> None:
    inbox = make(tmp_path, now, redact=True)
    text = "mail a@b.org or ring +1 415 555 2671"
    seed = {"goal": text, "ul_tags": ["a@b.org"], "constraints": {"flags": {"password": "x"}}}
    report = inbox.write(
        seed, [shard(0, text=text)], [node(1, payload={"token": "x", "text": text})], trace_id="t"
    )
    assert report["redacted"] == {"email": 4, "phone": 3, "key": 2}
    document = inbox.read("t")
    gone = "mail [email] or ring [phone]"
    assert document["seed"] == {
        "goal": gone,
        "ul_tags": ["[email]"],
        "constraints": {"flags": {"password": "***REDACTED***"}},
    }
    assert document["shards"] == [shard(0, text=gone)]
    assert document["matada_nodes"] == [node(1, payload={"token": "***REDACTED***", "text": gone})]
    again = inbox.write(
        seed, [shard(0, text=text)], [node(1, payload={"token": "x", "text": text})], trace_id="t"
    )
    assert (again["duplicates"], again["conflicts"], again["nodes_written"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("mode", "file_mode", "folder_mode"),
    [("0600", 0o600, 0o700), ("0640", 0o640, 0o2750), (0o660, 0o660, 0o2770)],
)
def test_modes_are_as_set_whatever_the_umask(
    mode: Any, file_mode: int, folder_mode: int, tmp_path: Path, now: Now
) -> None:
    inbox = make(tmp_path, now, mode=mode)
    before = os.umask(0o077)
    try:
        write(inbox, shard(0))
    finally:
        os.umask(before)
    for path in (inbox.folder, inbox.folder / ".tmp", inbox.folder / "done"):
        assert stat.S_IMODE(path.stat().st_mode) == folder_mode
    for name in ("t.json", ".lock"):
        assert stat.S_IMODE((inbox.folder / name).stat().st_mode) == file_mode
    assert stat.S_IMODE(inbox.folder.parent.stat().st_mode) == 0o700


def test_waits_for_a_held_lock_until_the_deadline(inbox: Inbox, now: Now) -> None:
    write(inbox, shard(0))
    with (inbox.folder / ".lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = now.s
        with pytest.raises(InboxBusy):
            write(inbox, shard(1))
        assert 15 <= now.s - before < 16
        assert inbox.read("t")["shards"] == [shard(0)]  # readers need none
    assert write(inbox, shard(1))["shards_written"] == 1


class Stolen(Waiting):
    """Another process removes or replaces the lock's file just before this one gets the lock."""

    def __init__(self, now: Now, lock: Path, *, put_back: bool) -> None:
        super().__init__(now)
        self.path, self.put_back, self.locks = lock, put_back, 0

    def lock(self, fd: int) -> None:
        self.locks += 1
        if self.locks == 1:
            self.path.unlink()
            if self.put_back:
                self.path.touch()
        super().lock(fd)


@pytest.mark.parametrize("put_back", [False, True])
def test_p7_takes_a_new_lock_if_its_file_was_replaced(put_back: bool, tmp_path: Path, now: Now) -> None:
    """P7: a removed lock file never lets two in at once."""
    write(make(tmp_path, now), shard(0))
    folder = tmp_path / "state" / "inbox" / "dreams"
    files = Stolen(now, folder / ".lock", put_back=put_back)
    assert write(Inbox(folder, files=files, clock=Clock(now, now)), shard(1))["shards_written"] == 1
    assert files.locks == 2


class Racing(Waiting):
    """Another writer makes each folder at the same moment."""

    def mkdir(self, name: str, at: int, mode: int) -> None:
        os.mkdir(name, mode, dir_fd=at)
        super().mkdir(name, at, mode)


class InPieces(Waiting):
    """A system that writes and reads seven bytes at a time."""

    def write(self, fd: int, data: memoryview) -> int:
        return super().write(fd, data[:7])

    def read(self, fd: int, size: int) -> bytes:
        return super().read(fd, 7)


@pytest.mark.parametrize("kind", [Racing, InPieces])
def test_p6_survives_short_writes_and_races_for_folders(
    kind: type[Waiting], tmp_path: Path, now: Now
) -> None:
    """P6: the file is whole all the same."""
    inbox = Inbox(tmp_path / "a" / "b", files=kind(now), clock=Clock(now, now))
    write(inbox, shard(0))
    write(inbox, shard(1))
    assert inbox.read("t")["shards"] == [shard(0), shard(1)]


class Failing(Waiting):
    """A disk that refuses the first sync of a file, and then to remove it."""

    def fsync(self, fd: int) -> None:
        raise OSError(errno.EIO, "sync")

    def unlink(self, name: str, at: int) -> None:
        raise OSError(errno.EIO, "unlink")


def test_p7_next_write_removes_a_left_over_temporary(inbox: Inbox, now: Now) -> None:
    """P7: the next write of that trace takes it away."""
    write(inbox, shard(0))
    with pytest.raises(InboxUnavailable) as failed:
        write(Inbox(inbox.folder, files=Failing(now), clock=Clock(now, now)), shard(1))
    assert failed.value.errno == errno.EIO
    assert inbox.counts()["temporaries"] == 1
    assert write(inbox, shard(1))["shards_written"] == 1
    assert inbox.counts()["temporaries"] == 0


def test_waiting_for_the_lock_sleeps(tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "inbox")
    write(inbox, shard(0))
    held = (inbox.folder / ".lock").open()
    fcntl.flock(held, fcntl.LOCK_EX)

    class LetGo(Files):
        def pause(self, seconds: float) -> None:
            held.close()
            super().pause(seconds)

    assert write(Inbox(inbox.folder, files=LetGo()), shard(1))["shards_written"] == 1


def test_reads_a_folder_without_sub_folders(inbox: Inbox) -> None:
    inbox.folder.mkdir(parents=True)
    (inbox.folder / "t.json").write_text('{"shards": []}')
    assert [entry["trace_id"] for entry in inbox.list()] == ["t"]
    assert inbox.counts()["done"] == 0
    with pytest.raises(UnknownTrace):
        inbox.read("u")


class Vanishing(Waiting):
    """Each file is acknowledged by another process between the listing and the reading."""

    def stat(self, name: str, at: int) -> os.stat_result:
        raise FileNotFoundError(name)

    def open_read(self, name: str, at: int) -> int:
        raise FileNotFoundError(name)


def test_files_that_vanish_meanwhile_are_no_error(inbox: Inbox, now: Now) -> None:
    write(inbox, shard(0))
    late = Inbox(inbox.folder, files=Vanishing(now), clock=Clock(now, now))
    assert list(late.list()) == []
    assert [entry["problems"] for entry in late.verify()] == [[]]


def test_a_file_call_that_fails_is_a_typed_error(tmp_path: Path, now: Now) -> None:
    (tmp_path / "state").write_text("a file where a folder should be")
    with pytest.raises(ValidationError, match="another kind of file"):
        write(make(tmp_path, now), shard(0))
    inbox = Inbox(Path("/proc/nowhere/inbox"))
    with pytest.raises(InboxUnavailable) as failed:
        write(inbox, shard(0))
    assert failed.value.errno is not None


def test_persist_needs_a_token_and_counts_refusals(inbox: Inbox) -> None:
    result = {"trace_id": "t", "shards": [shard(0)], "matada_nodes": [node(1)], "schema_ref": "x://y"}
    for bad in (None, {}, {"scopes": []}, TOKEN | {"exp_ts": 5}, TOKEN | {"exp_ts": 6}):
        with pytest.raises(CapabilityError):
            inbox.persist({"goal": "g"}, result, bad)
    assert not inbox.folder.exists()
    assert inbox.counts()["refused"] == {"malformed": 2, "scope": 1, "expired": 2}
    assert inbox.persist({"goal": "g"}, result, TOKEN)["shards_written"] == 1
    assert inbox.read("t")["schema_ref"] == "x://y"


@pytest.mark.parametrize("bad", [5, "", b"x", ["x"], "x" * 1025, "\ud800"])
def test_refuses_a_schema_ref_that_is_no_text(bad: Any, inbox: Inbox) -> None:
    with pytest.raises(ValidationError, match="schema_ref"):
        inbox.persist({}, {"trace_id": "t", "schema_ref": bad}, TOKEN)


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        "x",
        {},
        {"trace_id": "t", "shards": {}},
        {"trace_id": "t", "matada_nodes": "x"},
        {"trace_id": "t"},
        {"trace_id": "t", "shards": []},
        {"trace_id": "t", "shards": (), "matada_nodes": [node(1)]},
    ],
)
def test_refuses_a_result_of_wrong_types_or_without_shards(result: Any, inbox: Inbox) -> None:
    with pytest.raises(ValidationError):
        inbox.persist({}, result, TOKEN)
    assert not inbox.folder.exists()


def test_p5_other_nodes_of_known_shards_bring_no_file_back(inbox: Inbox) -> None:
    """P5: an upgrade, or another node form, between two deliveries of a dialogue."""
    line = {
        "speaker": "leo",
        "text": "so",
        "novelty": 0.1,
        "arousal": 0.2,
        "entropy": 0.3,
        "trauma": 0.4,
        "at": 5.0,
    }
    inbox.write(*dream_document("t", [line]), trace_id="t", nodes_of_new_shards=True)
    inbox.ack("t")
    again = dream_document("t", [line], node_form="published")
    assert inbox.write(*again, trace_id="t", nodes_of_new_shards=True)["nodes_written"] == 0
    assert list(inbox.list()) == []
