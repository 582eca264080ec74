"""Accepting connections: only from the daemon's own user or root, checked by peer credentials, up to the limit of
descriptors."""

import asyncio
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, cast

from dreamclient.messages import Code, Method
from dreamclient.protocol.rpc import Codec, Peer

from dreamd.clock import Clock
from dreamd.failures import Failures
from dreamd.wire.codec import CODEC
from dreamd.wire.session import UNTAPPED, Dispatch, Session, Tap
from dreamd.wire.turns import Turns

SESSIONS = 1024
ANSWER_S = 0.1  # seconds that `close` waits for answers that are being made, such as those of ended dreams
RESERVE = 64  # descriptors kept for the database, the inbox and the listener
LEAST_SESSIONS = 8  # also if fewer descriptors are left: the daemon itself takes about 30 while it dreams


def session_cap() -> int:
    """Raise the soft limit of descriptors as far as needed and permitted, and return how many sessions fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SESSIONS + RESERVE
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(LEAST_SESSIONS, min(SESSIONS, soft - RESERVE))


def descriptors_left() -> bool:
    """Return whether this process can open one more file."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def give_back_memory() -> None:
    """Return free memory to the system. By itself glibc keeps all memory below a block in use."""
    import ctypes  # takes 5 ms, which a start need not spend

    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def peer_uid(sock: socket.socket) -> int:
    """Return the user that connected the other end, by SO_PEERCRED: unix(7)."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


class Server:
    """The sessions of one daemon, by number."""

    def __init__(
        self,
        dispatch: Dispatch,
        forget: Callable[[Session], None],
        failures: Failures,
        cap: int = SESSIONS,
        taps: Mapping[int, Tap] = UNTAPPED,
        sessions: dict[int, Session] | None = None,
        codec: Codec = CODEC,
        clock: Clock = Clock(),
    ) -> None:
        self.sessions = {} if sessions is None else sessions
        self._dispatch = dispatch
        self._tell_gone = forget
        self._failures = failures
        self._cap = cap
        self._taps = taps
        self._codec = codec
        self._some_ended = False
        self._turns = Turns(clock, self.sessions)
        self._spare: list[Any] = []  # Unpackers that the sessions' peers share
        self.closed = False
        self._next = 1
        self._listening: asyncio.Server | None = None
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections on `sock` instead of the earlier socket. Closing does not remove its file, as Python 3.13
        would do by default."""
        await self.stop_listening()
        loop = asyncio.get_running_loop()
        options = {"cleanup_socket": False} if _takes_cleanup(loop) else {}
        self._listening = await loop.create_unix_server(self._admit, sock=sock, **options)  # type: ignore[arg-type]

    def _admit(self) -> "Admission":
        return Admission(self)

    async def connect(self, sock: socket.socket) -> None:
        """Serve one connected socket (the embedded form)."""
        await asyncio.get_running_loop().connect_accepted_socket(self._admit, sock)

    def open_session(self) -> Session:
        """Return a new session, which counts from now on."""
        session = Session(
            self._next,
            self._dispatch,
            self._forget,
            self._failures,
            self._taps,
            self._spare,
            self._codec,
            self._turns,
        )
        self.sessions[self._next] = session
        self._next += 1
        self._all_gone.clear()
        return session

    def refusal(self, transport: asyncio.Transport) -> str:
        """Return why the peer is refused, or an empty string. If there are too many sessions, the oldest one that has
        not said hello in time gives way."""
        if peer_uid(transport.get_extra_info("socket")) not in (os.geteuid(), 0):
            return "another user"
        if sum(not session.ending for session in self.sessions.values()) < self._cap:
            return ""
        silent = next((session for session in self.sessions.values() if session.gives_way), None)
        if silent is None:
            return "too many sessions"
        self._failures.count("server", "gave way")
        silent.turn_away(Code.REFUSED, "another client needs this place; say hello at once")
        return ""

    def refuse(self, transport: asyncio.Transport, reason: str) -> None:
        """Send the reason, if it can be sent at once, and close."""
        self._failures.count("server", reason)
        text = f"refused: {reason}; " + (
            "dreamd serves its owner and root" if reason == "another user" else "close some and try again"
        )
        transport.write(Peer(CODEC).notify(Method.ERROR, [Code.REFUSED, text]))
        transport.close()

    def _forget(self, session: Session) -> None:
        del self.sessions[session.number]
        self._tell_gone(session)
        if not self.sessions:
            self._all_gone.set()
        self._some_ended = True

    async def tick(self) -> None:
        """Run the tick of each session, and return the memory of ended ones to the system."""
        for session in list(self.sessions.values()):
            session.tick()
        if self._some_ended and self._listening is not None:  # not if embedded
            give_back_memory()
        self._some_ended = False

    async def stop_listening(self) -> None:
        """Accept no more connections. Open sessions go on."""
        if self._listening is not None:
            self._listening.close()

    async def close(self, why: str = "") -> None:
        """Stop listening, send every session `why` if given, and close it."""
        self.closed = True
        await self.stop_listening()
        if answers := set[asyncio.Task[None]]().union(*(one.answering for one in self.sessions.values())):
            await asyncio.wait(answers, timeout=ANSWER_S)
        for session in list(self.sessions.values()):
            if why:
                session.turn_away(Code.UNAVAILABLE, why)
            else:
                session.close()
        await self._all_gone.wait()


class Admission(asyncio.Protocol):
    """The beginning of a connection: it becomes a session or is refused."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire = cast(asyncio.Transport, transport)
        if self._server.closed:  # accepted by the loop before: `close` would await its end, and not end it
            wire.abort()
            return
        reason = self._server.refusal(wire)
        if reason:
            self._server.refuse(wire, reason)
            return
        session = self._server.open_session()
        wire.set_protocol(session)
        session.connection_made(wire)


def _takes_cleanup(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether the loop has the option: uvloop has it on every Python, asyncio from 3.13 on."""
    return type(loop).__module__.startswith("uvloop") or sys.version_info >= (3, 13)
