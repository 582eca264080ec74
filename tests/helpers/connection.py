"""Use for one session of the daemon: the session on a real pair of sockets, and its peer."""

import asyncio
import socket
from contextlib import asynccontextmanager

from dreamclient.protocol.rpc import Request

from dreamd.clock import Clock
from dreamd.failures import Failures
from dreamd.wire.session import Session
from tests.helpers.peer import PlainPeer


class Ours:
    """A session with all that it was handed, and the other end of its socket."""

    def __init__(self):
        self.failures = Failures(Clock())
        self.heard, self.lost = [], asyncio.Event()
        self.session = Session(1, self.dispatch, lambda _: self.lost.set(), self.failures)

    def dispatch(self, session, message):
        self.heard.append(message)
        if isinstance(message, Request):
            if message.method == "echo":
                session.respond(message.msgid, "heard")
            elif message.method == "much":
                session.respond(message.msgid, self.answer)
            elif message.method == "fail":
                session.fail(message.msgid, 3, "no")


@asynccontextmanager
async def pair():
    """Yield a session, and the bare socket of its peer."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    made = Ours()
    await asyncio.get_running_loop().connect_accepted_socket(lambda: made.session, ours)
    try:
        yield made, theirs
    finally:
        theirs.close()
        made.session.abort()
        await made.lost.wait()


@asynccontextmanager
async def talking(**hooks):
    """Yield a session, and a peer that serves `hooks`."""
    async with pair() as (made, sock):
        async with PlainPeer(*await asyncio.open_unix_connection(sock=sock.dup()), hooks) as peer:
            yield made, peer
