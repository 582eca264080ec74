"""A bare protocol on uvloop with msgpack: a stream is cut into messages, and a future waits for each answer."""

import asyncio
from typing import Any

import uvloop
from msgpack import Packer, Unpacker

from tests.bench.calls.program import LINE, PARAMS, Measure, main, ready


class Ends(asyncio.Protocol):
    """Either end of the connection."""

    def __init__(self) -> None:
        self.unpacker, self.pack = Unpacker(), Packer().pack
        self.number, self.pending = 0, dict[int, asyncio.Future[Any]]()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.unpacker.feed(data)
        for message in self.unpacker:
            if message[0] == 0:
                self.transport.write(self.pack([1, message[1], None, LINE]))
            else:
                self.pending.pop(message[1]).set_result(message[3])

    def generate(self) -> asyncio.Future[Any]:
        self.number += 1
        future = self.pending[self.number] = asyncio.get_running_loop().create_future()
        self.transport.write(self.pack([0, self.number, "generate", PARAMS]))
        return future


def serve(address: str) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_unix_server(Ends, address)
        ready()
        await server.serve_forever()

    uvloop.run(run())


def call(address: str, measure: Measure) -> None:
    async def run() -> None:
        _, ends = await asyncio.get_running_loop().create_unix_connection(Ends, address)
        await measure.run_on_loop(ends.generate)

    uvloop.run(run())


if __name__ == "__main__":
    main(serve, call)
