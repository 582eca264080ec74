"""What clients can do to a daemon: many of them, slow, silent, flooding, inventing, too large, lying.

Each attack is bounded by its `size` (1.0 in `make load`), reads what it must know, and closes its connections.
"""

import asyncio
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgpack
from dreamclient.messages import CALLS_IN_FLIGHT, MESSAGE_BYTES, Code

from dreamd.ctl.machine.places import has_listener
from tests.fuzz.mutations import mutate_stream
from tests.fuzz.sessions import SESSIONS
from tests.helpers.dreaming import STIRRED
from tests.helpers.peer import HELLO, PlainPeer
from tests.helpers.waiting import until_on_loop

Attack = Callable[[str, float, random.Random], Awaitable[str]]  # socket, size, chance -> what was done
STATUS_MESSAGE = msgpack.packb([0, 1, "status", []])
# What the owner may do to every leo: end or suspend dialogues, or have one dream. It stays out of mutated sessions.
OWNERS = (
    "friend.",
    "dialogs.forget",
    "dialogs.undream",
    "dream.seed",
    "dream.now",
    "dream.pause",
    "shutdown",
)


async def connect(path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and try again while the daemon has not accepted earlier connections yet."""
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.setblocking(False)
            sock.connect(path)
        except BlockingIOError:  # the backlog is full
            sock.close()
            await asyncio.sleep(0.01)
        else:
            return await asyncio.open_unix_connection(sock=sock)


async def peer_at(path: str) -> PlainPeer:
    """Return a peer that can call."""
    return PlainPeer(*await connect(path), {})


async def _open(stack: AsyncExitStack, path: str, count: int) -> list[asyncio.StreamWriter]:
    opened = []
    for _ in range(count):
        _, writer = await connect(path)
        stack.callback(writer.transport.abort)
        opened.append(writer)
    return opened


async def thousand_sessions(path: str, size: float, chance: random.Random) -> str:
    """Say hello under as many names, send a context each, and stay."""
    count = max(10, int(1000 * size))
    async with AsyncExitStack() as stack:
        for number in range(count):
            peer = await stack.enter_async_context(await peer_at(path))
            await peer.hello(f"leo {number}")
            assert (await peer.call("dream.context", {"prompt": "p" * 900, "reply": "r" * 900}))[
                "dream"
            ] is False
        assert len((await peer.call("status"))["sessions"]) >= count
    return f"{count} sessions"


async def slow_readers(path: str, size: float, chance: random.Random) -> str:
    """Ask without reading, until nothing more is taken."""
    count, asked = max(5, int(50 * size)), 0
    question = msgpack.packb([0, 1, "why", [256]]) * 200
    async with AsyncExitStack() as stack:
        for writer in await _open(stack, path, count):
            writer.transport.pause_reading()
            writer.write(HELLO)
            for _ in range(40):
                writer.write(question)
                asked += 200
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await writer.drain()
                        continue
                break
        await asyncio.sleep(max(0.2, size))
    return f"{count} readers, {asked:,} questions"


async def half_open(path: str, size: float, chance: random.Random) -> str:
    """Send halves of messages, say nothing, or close one half."""
    count = max(9, int(600 * size))
    async with AsyncExitStack() as stack:
        for number, writer in enumerate(await _open(stack, path, count)):
            if number % 3 == 0:
                writer.write(HELLO + STATUS_MESSAGE[:-3])
            elif number % 3 == 1:
                writer.write(b"\x94\x00\x01\xdb\x00\x0f\xff\xff" + b"x" * 50_000)
            elif number % 2:
                writer.write(HELLO)
                writer.write_eof()
        await asyncio.sleep(max(0.2, size))
    return f"{count} connections"


async def floods(path: str, size: float, chance: random.Random) -> str:
    """Send contexts, questions and noise as fast as they are taken."""
    contexts = msgpack.packb([2, "dream.context", [STIRRED]]) * 500
    noise = chance.randbytes(1 << 16)
    seconds, sent = max(0.3, 5 * size), [0]

    async def pour(data: bytes) -> None:
        reader, writer = await connect(path)
        try:
            writer.write(HELLO)
            async with asyncio.timeout(seconds):
                while True:
                    writer.write(data)
                    sent[0] += len(data)
                    await writer.drain()
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.001):
                            await reader.read(1 << 20)
        except (ConnectionError, TimeoutError):
            pass
        finally:
            writer.transport.abort()

    async def reconnect() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    await pour(noise)

    await asyncio.gather(*(pour(data) for data in [contexts] * 3 + [STATUS_MESSAGE * 50] * 3), reconnect())
    return f"{sent[0] >> 20} MiB in {seconds:.1f} s"


async def floods_elsewhere(path: str, size: float, chance: random.Random) -> str:
    """Flood a bare server, and not the daemon. What its witness notices then comes from the machine."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.sock"
        command = [sys.executable, "-m", "tests.bench.counter", str(bare)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
            try:
                await until_on_loop(lambda: has_listener(bare))
                return await floods(str(bare), size, chance)
            finally:
                server.kill()


async def invented_names(path: str, size: float, chance: random.Random) -> str:
    """Invent names of clients, methods, hooks, failures, traces and fields."""
    count = max(300, int(200_000 * size))
    async with await peer_at(path) as peer:
        await peer.hello("inventor")
        for start in range(0, count, 100):
            said = [f"{start + n:064}" for n in range(100)]
            hellos = [[2, "hello", [{"protocol": 1, "name": name, "field": name}]] for name in said]
            methods = [[2, name, []] for name in said]
            kinds = [2, "dream.context", [{"failures": dict.fromkeys(said, 1)}]]
            peer.send(b"".join(map(msgpack.packb, [*hellos, *methods, kinds])))
            greeting = {"protocol": 1, "name": said[0], "field": said[1], "provides": said[:64]}
            await peer.call("hello", greeting)
            with suppress(Exception):
                await peer.call("inbox.read", said[2])
        status = await peer.call("status")
        assert len(msgpack.packb(status)) < 1 << 16, "status grows with what a client invents"
    return f"{count:,} names"


async def largest_contexts(path: str, size: float, chance: random.Random) -> str:
    """Send contexts of nearly a MiB, under one name each."""
    count = max(3, int(200 * size))
    texts = {"prompt": "x" * 480_000, "reply": "y" * 480_000}
    numbers = {f"{n:030}": n / 7 for n in range(1000)}
    for number in range(count):
        async with await peer_at(path) as peer:
            await peer.hello(f"large {number}")
            context = texts | {"math_state": numbers, "themes": list(range(1000))}
            assert (await peer.call("dream.context", context))["dream"] is False
    return f"{count} contexts of {len(msgpack.packb(context)) >> 10} KiB"


async def each_bound(path: str, size: float, chance: random.Random) -> str:
    """Reach each bound of the wire, and get its answer."""
    async with await peer_at(path) as peer:
        await peer.hello("bounds")
        calls = [asyncio.create_task(peer.call("dialogs.recent", 1000)) for _ in range(4 * CALLS_IN_FLIGHT)]
        codes = {getattr(c, "code", 0) for c in await asyncio.gather(*calls, return_exceptions=True)}
        assert codes <= {0, Code.TOO_MANY}, codes
        for name, call in BEYOND.items():
            [found] = await asyncio.gather(peer.call(*call), return_exceptions=True)
            assert getattr(found, "code", 0) == Code.INVALID_PARAMS, (name, found)
    for name, data in {
        "size": b"\xdb" + (MESSAGE_BYTES + 1).to_bytes(4, "big"),
        "items": b"\xdd\xff\xff\xff\xff",
        "nesting": b"\x91" * 2000 + b"\xc1",
        "sent size": msgpack.packb([2, "dream.context", [{"prompt": "x" * (MESSAGE_BYTES + 1)}]]),
    }.items():
        async with await peer_at(path) as peer:
            await peer.hello("bounds")
            peer.send(data)
            await peer.closed()
            assert peer.told.get_nowait()[0] == "error", name
    return "13 bounds"


GREETING = {"protocol": 1, "name": "n"}
# Calls just beyond a bound of the params.
BEYOND: dict[str, tuple[Any, ...]] = {
    "a page": ("dialogs.recent", 1001),
    "a name": ("hello", GREETING | {"name": "n" * 65}),
    "a field": ("hello", GREETING | {"field": "f" * 257}),
    "hooks": ("hello", GREETING | {"provides": ["h"] * 65}),
    "words": ("dialogs.search", "w" * 1025),
    "a pause": ("dream.pause", 1e12),
    "texts": ("dream.seed", {"origin": ["x"] * 4097}),
    "ids": ("friend.drop", list(range(1, 258))),
}


async def mutated_sessions(path: str, size: float, chance: random.Random) -> str:
    """Send recorded sessions with some values, lengths and messages changed."""
    count = max(30, int(5000 * size))

    async def one(session: list[bytes]) -> None:
        data = mutate_stream(b"".join(session), chance)
        reader, writer = await connect(path)
        with suppress(ConnectionError):
            for at in range(0, len(data), cut := chance.choice((1 << 16, 1000, 97))):
                writer.write(data[at : at + cut])
                await writer.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    while await reader.read(1 << 16):
                        pass
        writer.transport.abort()

    sessions = [[m for m in session if not _is_owners(m)] for session in SESSIONS.values()]
    for start in range(0, count, 10):
        await asyncio.gather(*(one(chance.choice(sessions)) for _ in range(min(10, count - start))))
    return f"{count:,} sessions"


def _is_owners(message: bytes) -> bool:
    found = msgpack.unpackb(message, strict_map_key=False)
    return isinstance(found[-2], str) and found[-2].startswith(OWNERS)


ATTACKS: dict[str, Attack] = {
    "1,000 sessions": thousand_sessions,
    "slow readers": slow_readers,
    "half-open": half_open,
    "floods elsewhere": floods_elsewhere,
    "floods": floods,
    "invented names": invented_names,
    "largest contexts": largest_contexts,
    "each bound": each_bound,
    "mutated sessions": mutated_sessions,
}
