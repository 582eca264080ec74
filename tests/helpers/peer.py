"""Use to test the wire without our client: a MessagePack-RPC peer of msgpack and a socket."""

import asyncio
import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import msgpack


class PeerError(Exception):
    """The other side answered with an error."""

    def __init__(self, error: Any) -> None:
        super().__init__(str(error))
        self.code, self.message = error[0], error[1]


class PlainPeer:
    """Calls the other side, and serves `hooks` to it. `asked` is what it was asked, in order."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hooks: dict[str, Callable]
    ):
        self.reader, self.writer, self.hooks = reader, writer, hooks
        self.asked: list[tuple[str, list[Any]]] = []
        self.told: asyncio.Queue[tuple[str, list[Any]]] = asyncio.Queue()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self.reading = asyncio.create_task(self._read())

    @classmethod
    async def connect(cls, path: Any, **hooks: Callable) -> Self:
        return cls(*await asyncio.open_unix_connection(str(path)), hooks)

    async def call(self, method: str, *params: Any) -> Any:
        msgid, self._next = self._next, self._next + 1
        answer = self._waiting[msgid] = asyncio.get_running_loop().create_future()
        self.send([0, msgid, method, list(params)])
        async with asyncio.timeout(60):
            return await answer

    def send(self, message: Any) -> None:
        self.writer.write(message if isinstance(message, bytes) else msgpack.packb(message))

    async def hello(self, name: str = "leo", **more: Any) -> Any:
        said = {"protocol": 1, "name": name, "version": "0", "pid": 1, "provides": list(self.hooks)}
        return await self.call("hello", said | more)

    async def _read(self) -> None:
        unpacker = msgpack.Unpacker()
        with suppress(ConnectionError):
            while data := await self.reader.read(1 << 16):
                unpacker.feed(data)
                for message in unpacker:
                    await self._take(message)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionError("the other side closed"))

    async def _take(self, message: Any) -> None:
        match message:
            case [0, msgid, method, params]:
                self.asked.append((method, params))
                try:
                    result = self.hooks[method](*params)
                    if inspect.isawaitable(result):
                        result = await result
                    self.send([1, msgid, None, result])
                except Exception as error:
                    self.send([1, msgid, [11, f"{type(error).__name__}: {error}"], None])
            case [1, msgid, error, result]:
                answer = self._waiting.pop(msgid)
                if answer.cancelled():
                    return
                answer.set_exception(PeerError(error)) if error else answer.set_result(result)
            case [2, method, params]:
                self.told.put_nowait((method, params))

    async def closed(self) -> None:
        """Wait until the other side has closed."""
        async with asyncio.timeout(60):
            await asyncio.shield(self.reading)

    async def close(self) -> None:
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)
        self.writer.close()
        await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


SAYINGS = (
    "the sea is quiet tonight and small",
    "I hear the river under the old house",
    "nothing holds the light like water does",
    "we were born out of one long sentence",
    "and then the snow began to speak softly",
)


def saying(*_: Any, _said: list[int] = [0]) -> str:  # noqa: B006 - one counter for the whole run
    """Generate lines that differ from one another."""
    _said[0] += 1
    return f"{SAYINGS[_said[0] % len(SAYINGS)]} {_said[0]}"


def hearing(*_: Any) -> None:
    """Observe a line, and return no measures."""


HELLO = msgpack.packb([0, 1, "hello", [{"protocol": 1, "name": "leo", "provides": ["generate", "observe"]}]])
STATUS = msgpack.packb([0, 1, "status", []])


def answered(sock):
    """Return the first message that comes, or None if the other side closes without one."""
    sock.settimeout(20)
    unpacker = msgpack.Unpacker()
    while data := sock.recv(1 << 16):
        unpacker.feed(data)
        for message in unpacker:
            return message
    return None
