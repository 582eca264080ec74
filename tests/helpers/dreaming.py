"""Use with a daemon that is to dream: a leo, a context that starts a dream, the wait for its end."""

import asyncio
from collections.abc import Callable
from typing import Any

from dreamd.wire.parts import Parts
from tests.helpers.peer import PlainPeer, hearing, saying

SETTLE_S = 30.0

STIRRED = {"prompt": "hello", "reply": "I am here", "trauma_level": 0.9}
ORIGIN = {
    "origin": ["I am a small organism. I speak from the field."],
    "readme": ["Leo listens.", "Leo drifts."],
}


async def leo(service: Parts, name: str = "leo", **hooks: Callable[..., Any]) -> PlainPeer:
    """Connect a peer that says hello and provides generate and observe."""
    return await leo_at(service.socket, name, **hooks)


async def leo_at(socket: Any, name: str = "leo", **hooks: Callable[..., Any]) -> PlainPeer:
    """Connect a peer that says hello and provides generate and observe, to the daemon at a socket."""
    peer = await PlainPeer.connect(socket, **({"generate": saying, "observe": hearing} | hooks))
    await peer.hello(name)
    return peer


async def onlooker(service: Parts) -> PlainPeer:
    """Connect a peer that says hello and provides nothing."""
    return await onlooker_at(service.socket)


async def onlooker_at(socket: Any) -> PlainPeer:
    """Connect a peer that provides nothing to the daemon at a socket."""
    peer = await PlainPeer.connect(socket)
    await peer.hello("onlooker")
    return peer


async def settled(service: Parts) -> None:
    """Wait until no dialogue runs, and until what ended is delivered as far as it can be."""
    async with asyncio.timeout(SETTLE_S):
        while running := [task for _, task in service.engine.dialogues.running.values()]:
            await asyncio.wait(running)
            await asyncio.sleep(0)  # or the timeout could not end it
    await service.engine.pending.attempt()


async def completed(service: Parts) -> None:
    """Have the pending work done now, whatever failed before."""
    service.engine.pending.retry()
    await service.engine.pending.attempt()


class Gate:
    """A hook that says that it has been called and then blocks until it is let on."""

    def __init__(self, answer: Callable[..., Any] = saying) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()
        self._answer = answer

    async def __call__(self, *arguments: Any) -> Any:
        self.reached.set()
        await self.opened.wait()
        return self._answer(*arguments)


def texts(fragments, *, origin: bool) -> list[str]:
    return sorted(f["text"] for f in fragments if f["origin"] is origin)


def measured(fragments) -> list[tuple[str, float, bool]]:
    return sorted((f["text"], f["weight"], f["origin"]) for f in fragments)


async def dreams(peer, count: int) -> list[int]:
    return [(await peer.call("dream.now", STIRRED))["dialog"] for _ in range(count)]
