"""A hook call in memory: all that both ends do for it, without sockets, against packing and unpacking its messages."""

import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import uvloop
from msgpack import Packer, unpackb

from tests.bench.calls.program import LINE, META, PARAMS, SEED
from tests.bench.harness import Bench, Bound, fresh, tell

CALLS, QUICK_CALLS, WARM = 20_000, 5_000, 500


def bench(quick: bool) -> Bench:
    """Return the comparison: processor time a call, of both ends together."""
    calls = str(QUICK_CALLS if quick else CALLS)
    systems = {name: partial(fresh, __name__, name, calls) for name in ("pack_unpack", "dreamd")}
    return Bench(
        "hook call in memory",
        systems,
        [Bound("dreamd", "busy_us", most=4.0, over="pack_unpack", what="hook call in memory, both ends")],
    )


def pack_unpack() -> Callable[[], object]:
    """Return the floor: the call and the answer, each packed and unpacked once."""
    pack = Packer().pack

    def one() -> None:
        unpackb(pack([0, 1, "generate", PARAMS]))
        unpackb(pack([1, 1, None, LINE]))

    return one


class Wire:
    """Both ends' sockets: what one sends, the other is given. It stands for the kernel, and for uvloop's transport."""

    def __init__(self) -> None:
        self.to_host = deque[bytes](maxlen=1)
        self.to_daemon = b""
        self.write = self.to_host.append  # the daemon's transport

    def send(self, data: Any, flags: int = 0) -> int:  # the host's socket
        self.to_daemon = data
        return len(data)

    def recv(self, size: int) -> bytes:
        return self.to_host[0]


def dreamd() -> Callable[[], object]:
    """Return a hook call of dreamd, from `SessionHooks.generate` to its answer."""
    from dreamclient.clients.link import Link
    from dreamclient.clients.thread import DreamClient

    from dreamd.clock import Clock
    from dreamd.dream.dialogue import DialogueSettings, Generate
    from dreamd.engine.session_hooks import Latency, SessionHooks
    from dreamd.failures import Failures
    from dreamd.wire.session import Session

    loop, wire = uvloop.new_event_loop(), Wire()
    ends: Any = SimpleNamespace(send=wire.send, recv=wire.recv, write=wire.write)
    ends.setblocking = ends.set_write_buffer_limits = lambda *_, **__: None
    client = DreamClient(lambda seed, temperature, weight, meta: LINE, lambda *_: None)
    link = Link(ends, client._session)
    clock = Clock()
    failures, latency = Failures(clock), Latency()

    async def connect() -> SessionHooks:
        session = Session(1, lambda *_: None, lambda _: None, failures)
        session.connection_made(ends)
        hooks = SessionHooks(
            session, 1, str(META["trace_id"]), DialogueSettings(deadline_s=1e6), clock, failures, latency
        )
        hooks.close()
        return hooks

    hooks: Any = loop.run_until_complete(connect())
    session = hooks._session
    ask = Generate(1, "leo", "leo_dream", SEED, 0.8, 0.4, "", 1)

    async def dialogue() -> None:
        while True:
            answer: Any = await hooks.generate(ask)
            assert answer.text == LINE

    dreams = dialogue()
    dreams.send(None)

    def one() -> None:
        for request in link.receive():
            client._serve_hook(link, request)
        session.data_received(wire.to_daemon)
        dreams.send(None)  # the call ends, and the next one begins

    return one


def main(name: str, calls: int) -> None:
    one = {"pack_unpack": pack_unpack, "dreamd": dreamd}[name]()
    for _ in range(WARM):
        one()
    before = time.process_time_ns()
    for _ in range(calls):
        one()
    tell({"busy_us": (time.process_time_ns() - before) / calls / 1000})


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
