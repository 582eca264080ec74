"""Use for a client on a loop against a misbehaving daemon: `little` on the loop of the test."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dreamclient.errors import RemoteError
from dreamclient.protocol.rpc import Peer, Reply, Request

DEADLINE_S = 30.0  # after which a test that waits has failed
WELCOME = {"protocol": 1, "name": "dreamd", "seeded": True}

Answer = Callable[["Served", list[Any]], Any]


class Served:
    """One client, as a daemon on the same loop sees it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, daemon: "AioDaemon"
    ) -> None:
        self.reader, self.writer, self.daemon = reader, writer, daemon
        self.peer = Peer()
        self.heard: asyncio.Queue[tuple[str, list[Any]]] = asyncio.Queue()
        self.reads = asyncio.Event()  # cleared, the daemon does not read
        self.reads.set()
        self.tasks: set[asyncio.Task[None]] = set()

    async def hears(self, method: str) -> list[Any]:
        async with asyncio.timeout(DEADLINE_S):
            heard, params = await self.heard.get()
        assert heard == method
        return params

    def call(self, method: str, *params: Any) -> asyncio.Future[Reply]:
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.writer.write(self.peer.call(method, list(params), future)[1])
        return future

    async def serve(self) -> None:
        while await self.reads.wait() and (data := await self.reader.read(1 << 16)):
            for event in self.peer.receive_data(data):
                if isinstance(event, Reply):
                    event.token.set_result(event)
                    continue
                self.heard.put_nowait((event.method, event.params))
                if isinstance(event, Request):
                    task = asyncio.create_task(self.answer(event))
                    self.tasks.add(task)
                    task.add_done_callback(self.tasks.discard)
            assert self.peer.broken is None

    async def answer(self, request: Request) -> None:
        answer = self.daemon.answers.get(request.method, lambda *_: True)
        result = answer(self, request.params)
        try:
            result = await result if asyncio.iscoroutine(result) else result
            self.writer.write(self.peer.respond(request.msgid, result))
        except RemoteError as error:
            self.writer.write(self.peer.fail(request.msgid, error.code, error.message))


class AioDaemon:
    """A daemon on the loop of the test. `answers` are by method; a RemoteError raised is sent."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.answers: dict[str, Answer] = {"hello": lambda *_: WELCOME} | answers
        self.arrived: asyncio.Queue[Served] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def arrival(self) -> Served:
        async with asyncio.timeout(DEADLINE_S):
            return await self.arrived.get()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served = Served(reader, writer, self)
        self.arrived.put_nowait(served)
        self.writers.append(writer)
        with suppress(ConnectionError):
            await served.serve()
        writer.close()
