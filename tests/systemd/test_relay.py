"""The unit of the relay: in its sandbox it reaches a real NATS server, and `service uninstall` ends it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dreamd.inbox import Inbox
from tests.helpers.nats_server import NatsServer
from tests.helpers.waiting import until


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    found = NatsServer(tmp_path / "jetstream")
    found.make_stream()
    yield found
    found.kill()


def test_publishes_from_its_sandbox_and_goes_with_the_service(manager, server):
    manager.dreamctl("service", "install")
    box = Inbox(manager.state / "dreamd" / "inbox" / "dreams")
    box.write({}, [{"index": 1, "timestamp": 1}], trace_id="one")
    settings = manager.config / "dreamd" / "relay.env"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f"TO={server.url}\nOPTIONS=--machine one\n")
    manager.systemctl("enable", "--now", "dreamd-relay.service")
    until(lambda: box.counts()["done"] == 1, "the file is passed on")
    assert manager.systemctl("is-active", "dreamd-relay.service") == "active"
    manager.dreamctl("service", "uninstall")
    assert manager.systemctl("is-active", "dreamd-relay.service", check=False) == "inactive"
    assert not list((manager.config / "systemd" / "user").rglob("dreamd-relay*"))
