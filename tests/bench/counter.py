"""The floor of a daemon: a bare uvloop server that unpacks each message and counts it. Run as `counter SOCKET`.

It answers requests with the count, so that a peer knows when all messages before are counted.
"""

import asyncio
import sys
from typing import Any

import uvloop
from msgpack import Packer, Unpacker


class Counting(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.unpacker, self.pack, self.count = Unpacker(), Packer().pack, 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.unpacker.feed(data)
        for message in self.unpacker:
            self.count += 1
            if message[0] == 0:
                self.transport.write(self.pack([1, message[1], None, {"protocol": 1, "count": self.count}]))


async def main() -> None:
    server = await asyncio.get_running_loop().create_unix_server(Counting, sys.argv[1])
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
