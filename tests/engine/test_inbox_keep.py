"""The cap on waiting files of dreamd's own dreams: the oldest go, unless a consumer was seen lately."""

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from dreamclient.clients.thread import DreamClient

from dreamd.errors import StoreUnavailable
from tests.helpers.daemons.in_loop import serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import STIRRED, completed, settled
from tests.helpers.dreaming import leo as host
from tests.helpers.state_folder import inbox_files
from tests.helpers.waiting import until

PERMITTED = {"scopes": ["memory.inbox.dreams.write"]}
MONTH_S = 30 * 86400


@contextmanager
def leo(state: Path, *settings: str) -> Iterator[tuple[DaemonProcess, DreamClient]]:
    words = [word for setting in ("gate.cooldown_s=0", *settings) for word in ("--set", setting)]
    said = iter(range(1000))
    with DaemonProcess(state, *words) as daemon:
        with DreamClient(
            lambda *_: f"line {next(said)} of it", lambda _: None, socket_path=daemon.socket
        ) as client:
            assert client.start(10)
            yield daemon, client


def dream(client: DreamClient, times: int) -> list[str]:
    """Dream, and return the trace ids."""
    numbers = [client.call("dream.now", STIRRED, timeout_s=20)["dialog"] for _ in range(times)]
    return [client.call("dialogs.get", number)["trace_id"] for number in numbers]


def waiting(client: DreamClient) -> list[str]:
    return [each["trace_id"] for each in client.call("inbox.list")]


def are_waiting(client: DreamClient, traces: list[str]) -> None:
    """Expect these files in the inbox. On a busy machine `dream.now` is answered before the last one is written."""
    until(lambda: waiting(client) == traces, f"waiting: {traces}")


def test_the_oldest_go_first_and_are_counted(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with leo(state, "inbox.keep=2") as (_, client):
        traces = dream(client, 5)
        are_waiting(client, traces[3:])
        until(lambda: client.call("status")["inbox"]["dropped"] == 3, "three were dropped")
        assert len(client.call("dialogs.recent", 9)) == 5  # only the file goes
    with leo(state, "inbox.keep=2") as (_, client):  # nor does a start write it again
        assert client.call("status")["inbox"]["dropped"] == 3
        are_waiting(client, traces[3:])
    with leo(state, "inbox.keep=0") as (_, client):
        assert len(dream(client, 4)) == 4
        until(lambda: len(waiting(client)) == 6, "six files wait")


async def test_counts_those_that_went_while_the_store_was_in_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path, inbox__keep=2) as service, await host(service) as peer:
        count, fails = service.store.count_dropped, True

        async def count_dropped(files: int) -> None:
            if fails:
                raise StoreUnavailable("locked", "in trouble")
            await count(files)

        monkeypatch.setattr(service.store, "count_dropped", count_dropped)
        for _ in range(3):
            await peer.call("dream.now", STIRRED)
            await settled(service)
        fails = False
        await completed(service)
        assert (await service.store.load()).dropped == len(await service.store.recent(9)) - 2
        assert len(inbox_files(tmp_path)) == 2


@pytest.mark.parametrize("at", ["'x'", "x'00ff'", "9e999", "NULL"])
async def test_a_line_whose_time_another_program_spoilt_holds_up_no_other(tmp_path: Path, at: str) -> None:
    async with serving(tmp_path, inbox__keep=1) as service, await host(service) as peer:
        await peer.call("dream.now", STIRRED)
        await settled(service)
        with closing(sqlite3.connect(tmp_path / "dream.sqlite3", isolation_level=None)) as database:
            database.execute(f"UPDATE dream_turns SET at = {at} WHERE turn = 2")
        for _ in range(3):
            await peer.call("dream.now", STIRRED)
            await settled(service)
        await completed(service)
        assert (service.engine.pending.left, service.failures.counts) == (False, {})
        assert (
            len(inbox_files(tmp_path)) == 2
        )  # its own, which cannot be told from another program's, and the last
        assert (await peer.call("dialogs.forget", {"id": 1}))["dialogs"] == 1


def test_p7_files_of_others_neither_go_nor_count(tmp_path: Path) -> None:
    with leo(tmp_path / "state", "inbox.keep=2") as (_, client):
        shard = {"index": 0, "timestamp": 1, "type": "dream_line", "text": "of another"}
        for number in range(3):
            result = {"trace_id": f"dream-1-{number}-0a1b2c3d", "shards": [shard]}
            client.call("inbox.persist", {"seed": {}, "result": result, "cap_token": PERMITTED})
        (mixed,) = dream(client, 1)
        result = {"trace_id": mixed, "shards": [shard | {"index": 1}]}
        client.call("inbox.persist", {"seed": {}, "result": result, "cap_token": PERMITTED})
        traces = dream(client, 4)
        are_waiting(client, [*(f"dream-1-{number}-0a1b2c3d" for number in range(3)), mixed, *traces[2:]])


@pytest.mark.parametrize("retention", ["inbox.retention_s=2592000", "inbox.retention_s=0"])
def test_a_consumer_that_was_seen_lately_keeps_all(tmp_path: Path, retention: str) -> None:
    state = tmp_path / "state"
    with leo(state, "inbox.keep=2", retention) as (_, client):
        first, second = dream(client, 2)
        client.call("inbox.ack", first)
        traces = dream(client, 4)
        are_waiting(client, [second, *traces])
    inbox = state / "inbox/dreams"
    for path in (inbox / ".lock", inbox / f"done/{first}.json"):
        if path.exists():
            os.utime(path, (time.time() - MONTH_S - 60,) * 2)
    with leo(state, "inbox.keep=2", retention) as (_, client):
        traces = dream(client, 2)
        are_waiting(client, traces)


def test_a_damaged_file_holds_up_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with leo(state, "inbox.keep=1") as (_, client):
        (first,) = dream(client, 1)
        are_waiting(client, [first])
        (state / f"inbox/dreams/{first}.json").write_text("{")
        traces = dream(client, 3)
        are_waiting(client, [first, traces[-1]])
        assert "inbox" not in json.dumps(client.call("status")["failures"])
