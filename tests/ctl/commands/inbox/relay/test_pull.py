"""`dreamctl inbox pull` against a real NATS server."""

import asyncio
import errno
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamd.ctl.commands.inbox.relay.pull import _persist_all
from dreamd.inbox import Inbox, InboxBusy
from dreamd.inbox.folder import folder
from tests.ctl.commands.inbox.relay.scene import Machine, ended, pulled, start_pull
from tests.helpers.dreamctl import dreamctl
from tests.helpers.nats_server import NatsServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    found = NatsServer(tmp_path / "jetstream")
    found.make_stream()
    yield found
    found.kill()


def publish(server: NatsServer, *payloads: bytes) -> None:
    import nats

    async def send() -> None:
        client = await nats.connect(server.url)
        for payload in payloads:
            await client.jetstream().publish("dreams.a.b", payload)
        await client.close()

    asyncio.run(send())


def test_persists_each_shard_once_and_sets_aside_what_is_no_document(server, tmp_path):
    machine = Machine(tmp_path / "machine")
    machine.fill(4)
    assert ended(machine.relay(server.url, "--once"))[0] == 0
    again = (machine.box.folder / "done" / "machine-0.json").read_bytes()
    publish(server, again, again, b"{", b"{", b'{"trace_id": "../x", "shards": []}')
    target = tmp_path / "all"
    code, out, err = ended(start_pull(target, server.url, "--once", "--json"))
    assert (code, err, json.loads(out)) == (0, "", {"documents": 6, "shards_written": 12, "set_aside": 3})
    assert Inbox(target).counts() | {"refused": 0} == {
        "waiting": 4, "done": 0, "set_aside": 2, "temporaries": 0, "refused": 0,
    }  # fmt: skip
    for aside in target.glob("*.corrupt-*"):
        aside.unlink()
    assert pulled(target) == machine.expected
    code, out, _ = ended(start_pull(target, server.url, "--once", "--json"))
    assert (code, json.loads(out)["documents"]) == (0, 0)


def test_reports_a_missing_stream_and_a_missing_extra(server, tmp_path, monkeypatch):
    code, _, err = ended(start_pull(tmp_path / "all", server.url, "--subject", "other.>"))
    assert (code, err.count("\n"), "JetStream refuses" in err) == (4, 1, True)
    monkeypatch.setitem(sys.modules, "nats", None)
    result = dreamctl("inbox", "pull", "--from", server.url, "--into", tmp_path / "all")
    assert (result.exit_code, "pip install 'dreamd[nats]'" in result.stderr) == (2, True)


def test_goes_on_behind_a_document_that_cannot_be_written(server, tmp_path):
    machine = Machine(tmp_path / "machine")
    machine.fill(4)
    assert ended(machine.relay(server.url, "--once"))[0] == 0
    target = tmp_path / "all"
    (target / "machine-1.json").mkdir(parents=True)
    code, out, err = ended(start_pull(target, server.url, "--once", "--json"))
    assert (code, err, json.loads(out)) == (0, "", {"documents": 3, "shards_written": 9, "set_aside": 1})
    (aside,) = target.glob("pulled.json.corrupt-*")
    assert json.loads(aside.read_bytes())["trace_id"] == "machine-1"


def test_waits_once_for_a_lock_that_another_process_holds(tmp_path, monkeypatch):
    box, waits = Inbox(tmp_path), []

    def wait(*_: object) -> None:
        waits.append(1)
        raise InboxBusy(errno.ETIMEDOUT, "others hold the inbox's lock for too long")

    monkeypatch.setattr(folder, "_wait_for_lock", wait)
    documents = [(b'{"trace_id": "t%d", "shards": [{}]}' % number, "") for number in range(128)]
    counts = {"documents": 0, "shards_written": 0, "set_aside": 0}
    failures = _persist_all(box, documents, counts)
    assert ([type(failure) for failure in failures], len(waits)) == ([InboxBusy] * 128, 1)


def test_an_empty_text_does_not_mean_the_current_folder() -> None:
    told = dreamctl("inbox", "pull", "--from", "nats://memory.example", "--into", "")
    assert (told.exit_code, told.stdout) == (2, "")
    assert "'--into': expected a path, not an empty text" in told.stderr
