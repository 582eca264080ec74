"""P7: many writers at once, of both kinds, while a reader looks."""

import os
from pathlib import Path

from dreamd.clock import Clock
from dreamd.inbox import Inbox, dream_document, persist_dream_shards
from tests.helpers.inbox_check import TOKEN, files, indexes, temporaries
from tests.helpers.ptrace import fork

AT_ONCE, WRITERS = 4, 8
TRACES = 50 if os.environ.get("HUNT") else 20
SHARDS = TRACES * AT_ONCE


def write_all(folder: Path, writer: int) -> None:
    """Write shards into one trace, and as many into a trace each, a few a call, with some calls made twice."""
    for start in range(0, SHARDS, AT_ONCE):
        numbers = range(writer * SHARDS + start, writer * SHARDS + start + AT_ONCE)
        shards = [{"index": number, "timestamp": number, "writer": writer} for number in numbers]
        for trace_id in ("one", f"many-{start // AT_ONCE}"):
            for _ in range(2 if start % 40 == 0 else 1):
                result = {"trace_id": trace_id, "shards": shards}
                persist_dream_shards(seed={"goal": "many"}, result=result, cap_token=TOKEN, base_dir=folder)


def running(pids: set[int]) -> set[int]:
    for pid in list(pids):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            assert status == 0
            pids.remove(pid)
    return pids


def test_p7_eight_processes_write_at_once_and_a_reader_looks(tmp_path: Path) -> None:
    """P6, P7: each shard is there once, and every file parses at every moment."""
    folder = tmp_path / "inbox"
    pids = {fork(lambda writer=writer: write_all(folder, writer)) for writer in range(WRITERS)}
    looks = 0
    while running(pids):
        for entry in Inbox(folder).list():
            assert Inbox(folder).read(entry["trace_id"])["trace_id"] == entry["trace_id"]
        files(folder)
        looks += 1
    assert looks > 3
    assert indexes(folder, "one") == dict.fromkeys(range(WRITERS * SHARDS), 1)
    assert len(files(folder)) == TRACES + 1
    for trace in range(TRACES):
        own = [
            writer * SHARDS + trace * AT_ONCE + part for writer in range(WRITERS) for part in range(AT_ONCE)
        ]
        assert indexes(folder, f"many-{trace}") == dict.fromkeys(own, 1)
    assert temporaries(folder) == []
    assert all(entry["problems"] == [] for entry in Inbox(folder).verify())


def test_p5_p7_dialogues_outside_writers_and_consumers_share_a_folder(tmp_path: Path) -> None:
    """P5, P7: while files are acknowledged, no shard is lost, and none comes back."""
    folder = tmp_path / "inbox"

    def dialogues() -> None:
        inbox = Inbox(folder, clock=Clock())
        for number in range(60):
            line = {
                "speaker": "leo",
                "text": "so",
                "novelty": 0.1,
                "arousal": 0.2,
                "entropy": 0.3,
                "trauma": 0.0,
            }
            lines = [line | {"at": 1000.0 + turn} for turn in range(4)]
            for _ in range(2):  # as after a crash before the row said that it was written
                trace_id = f"trace-{number % 10}"
                at = 1000 * number
                seed, shards, nodes = dream_document(trace_id, lines, goal="dream")
                shards = [part | {"index": at + part["index"]} for part in shards]
                inbox.write(seed, shards, nodes, trace_id=trace_id)

    def outsider() -> None:
        for number in range(60):
            shards = [{"index": 1_000_000 + number, "timestamp": number}]
            result = {"trace_id": f"trace-{number % 10}", "shards": shards}
            persist_dream_shards(seed={"goal": "other"}, result=result, cap_token=TOKEN, base_dir=folder)

    pids = {fork(dialogues), fork(outsider)}
    inbox = Inbox(folder)
    while running(pids):
        for entry in inbox.list():
            inbox.ack(entry["trace_id"])
    for trace in range(10):
        own = [number for number in range(60) if number % 10 == trace]
        wanted = {1000 * number + turn for number in own for turn in range(4)} | {
            1_000_000 + number for number in own
        }
        assert indexes(folder, f"trace-{trace}") == dict.fromkeys(wanted, 1)
