"""dreamd: the daemon calls `generate` of a DreamClient, as a dialogue does: `meta`, deadlines, types, accounting."""

import asyncio
import os
import socket
import threading
from pathlib import Path

import uvloop
from dreamclient import DreamClient
from dreamclient.protocol.rpc import Notification, Request

from dreamd.clock import Clock
from dreamd.dream.dialogue import DialogueSettings, Generate
from dreamd.engine.session_hooks import Latency, SessionHooks
from dreamd.failures import Failures
from dreamd.wire.server import Server
from dreamd.wire.session import Session
from tests.bench.calls.program import LINE, META, SEED, Measure, main, ready
from tests.helpers.waiting import until

CALLS = 8  # of a dialogue of four lines, with two candidates each
DIALOG, TRACE = 1, str(META["trace_id"])


def serve(address: str) -> None:
    """Be the host: it connects to the daemon, which is the calling program here."""
    client = DreamClient(lambda seed, temperature, weight, meta: LINE, lambda *_: None, socket_path=address)
    ready()
    until(Path(address).is_socket, "the daemon listens")
    client.start(10)
    threading.Event().wait()


def call(address: str, measure: Measure) -> None:
    uvloop.run(_call(address, measure))


async def _call(address: str, measure: Measure) -> None:
    loop, clock, latency = asyncio.get_running_loop(), Clock(), Latency()
    failures = Failures(clock)
    greeted: asyncio.Future[Session] = loop.create_future()

    def dispatch(session: Session, message: Request | Notification) -> None:
        """Answer `hello`, the one message of this host."""
        session.greeted, session.provides = True, frozenset({"generate", "observe"})
        assert isinstance(message, Request)
        session.respond(message.msgid, {"protocol": 1, "seeded": True})
        greeted.set_result(session)

    server = Server(dispatch, lambda _: None, failures)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    await server.listen(listening)
    session = await greeted
    settings, made = DialogueSettings(), 0
    hooks = SessionHooks(session, DIALOG, TRACE, settings, clock, failures, latency)

    async def one() -> None:
        nonlocal hooks, made
        made += 1
        if made % CALLS == 0:
            hooks.close()
            hooks = SessionHooks(session, DIALOG, TRACE, settings, clock, failures, latency)
        ask = Generate(1 + made % 4, "leo", "leo_dream", SEED, 0.8, 0.4, "", 1 + made % 2)
        assert (await hooks.generate(ask)).text == LINE

    await measure.run_on_loop(one)
    assert not failures.counts, failures.counts
    os._exit(0)  # the host ends with its harness


if __name__ == "__main__":
    main(serve, call)
