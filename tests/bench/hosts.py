"""Many leos in one program, each on a connection of its own: `hosts SOCKET LEOS DIALOGUES DELAY_MS SECONDS [PACE PID]`.

So many dialogues run at once, each asked for as soon as the last one has ended. With 0 dialogues each leo sends a
context every 10 s and dreams every 3 min instead, or PACE times as often. A hook answers after the delay. It prints
the latencies of hooks as the daemon counts them, without the delay, and for each leo that dreams all the time when each
call of `generate` was read and answered (`held`). `core_share`: that of a core which the daemon, PID, used.
"""

import asyncio
import random
import sys
import time
from typing import Any

import uvloop
from msgpack import Packer, Unpacker

from tests.bench.calls.program import busy_ns
from tests.bench.harness import tell
from tests.bench.messages import WORDS, packed, usual

CONTEXT_S, DREAM_S = 10.0, 180.0  # between two contexts of a leo, and between two dialogues


class Leo(asyncio.Protocol):
    """One leo: hooks that answer after a delay, and requests that are awaited."""

    def __init__(self, delay_s: float, seed: int) -> None:
        self.unpacker, self.pack, self.draw = Unpacker(), Packer().pack, random.Random(seed)
        self.delay_s, self.number = delay_s, 0
        self.pending: dict[int, asyncio.Future[Any]] = {}
        self.held: list[tuple[float, float]] = []
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.unpacker.feed(data)
        read = time.monotonic()
        for message in self.unpacker:
            if message[0] == 0:
                if self.delay_s:
                    self.loop.call_later(self.delay_s, self.answer, message, read)
                else:
                    self.answer(message, read)
            elif message[0] == 1:
                self.pending.pop(message[1]).set_result(message[3])

    def answer(self, call: Any, read: float) -> None:
        """Answer a call that was read at that moment."""
        line = " ".join(self.draw.choices(WORDS, k=14)) if call[2] == "generate" else None
        self.transport.write(self.pack([1, call[1], None, line]))
        if line:
            self.held.append((read, time.monotonic()))

    async def ask(self, method: str, *params: Any) -> Any:
        self.number += 1
        self.pending[self.number] = self.loop.create_future()
        self.transport.write(self.pack([0, self.number, method, list(params)]))
        return await self.pending[self.number]

    async def live(self, until: float, pace: float) -> None:
        """Send contexts and dream at the usual rate, or `pace` times that, from a random moment on."""
        context_s, dream_s = CONTEXT_S / pace, DREAM_S / pace
        context_at = self.loop.time() + context_s * self.draw.random()
        dream_at = self.loop.time() + dream_s * self.draw.random()
        while (next_at := min(context_at, dream_at)) < until:
            await asyncio.sleep(next_at - self.loop.time())
            if next_at == context_at:
                self.transport.write(packed([usual(self.draw)]))
                context_at += context_s
            else:
                await self.ask("dream.now")
                dream_at += dream_s

    async def dream(self, until: float) -> None:
        await asyncio.sleep(self.draw.random() * self.delay_s)  # they do not go in step
        while self.loop.time() < until:
            await self.ask("dream.now")


async def main(
    address: str,
    leos: int,
    dialogues: int,
    delay_ms: float,
    seconds: float,
    pace: float = 1.0,
    pid: float = 0,
) -> None:
    loop = asyncio.get_running_loop()
    connected = []
    for number in range(leos):
        _, leo = await loop.create_unix_connection(lambda seed=number: Leo(delay_ms / 1000, seed), address)
        hello = {"protocol": 1, "name": f"leo {number}", "provides": ["generate", "observe"]}
        await leo.ask("hello", hello)
        connected.append(leo)
    await connected[0].ask("dream.seed", {"origin": [" ".join(WORDS)]})
    before = (await connected[0].ask("status"))["hooks"]
    began, busy = loop.time(), busy_ns(int(pid)) if pid else 0
    until = began + seconds
    if dialogues:
        await asyncio.gather(*(leo.dream(until) for leo in connected[:dialogues]))
    else:
        await asyncio.gather(*(leo.live(until, pace) for leo in connected))
    took_s, busy = loop.time() - began, busy_ns(int(pid)) - busy if pid else 0
    hooks = (await connected[0].ask("status"))["hooks"]
    count = sum(one["calls"] for one in hooks.values()) - sum(one["calls"] for one in before.values())
    tell(
        {
            "hooks_a_second": count / took_s,
            **({"core_share": busy / took_s / 1e9} if pid else {}),
            **{
                name: hooks["generate"][name] - delay_ms
                for name in ("p50_ms", "p99_ms")
                if "generate" in hooks
            },
            **(
                {"held": {f"leo {n}": leo.held for n, leo in enumerate(connected[:dialogues])}}
                if dialogues
                else {}
            ),
        }
    )


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], *map(int, sys.argv[2:4]), *map(float, sys.argv[4:])))
