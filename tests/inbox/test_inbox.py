"""The front: writing, listing, reading, acknowledging, retention, verification."""

import fcntl
from pathlib import Path
from typing import Any

import pytest

from dreamd.clock import Clock
from dreamd.inbox import (
    CapabilityError,
    Inbox,
    InboxBusy,
    InboxUnavailable,
    ValidationError,
    dream_document,
)
from dreamd.inbox.folder.files import Files
from dreamd.inbox.inbox import MOST_LOGGED
from tests.inbox.conftest import LINE, Now, Waiting, make, node, shard, write

TOKEN = {"scopes": ["memory.inbox.dreams.write"]}


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
    """A mask may be longer than the secret. Shards that then fit into no file must not be tried in part after part."""
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
    """P7: removing the lock file never gives two writers the lock."""
    write(make(tmp_path, now), shard(0))
    folder = tmp_path / "state" / "inbox" / "dreams"
    files = Stolen(now, folder / ".lock", put_back=put_back)
    assert write(Inbox(folder, files=files, clock=Clock(now, now)), shard(1))["shards_written"] == 1
    assert files.locks == 2


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
    """P5: an upgrade or another node form may come between two deliveries of a dialogue."""
    inbox.write(*dream_document("t", [LINE]), trace_id="t", nodes_of_new_shards=True)
    inbox.ack("t")
    again = dream_document("t", [LINE], node_form="published")
    assert inbox.write(*again, trace_id="t", nodes_of_new_shards=True)["nodes_written"] == 0
    assert list(inbox.list()) == []
