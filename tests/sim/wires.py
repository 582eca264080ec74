"""Connections in memory: they delay, split, cut and garble."""

import asyncio
import os
import struct
from collections import deque
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from tests.sim.peers import Peer
    from tests.sim.world import World

PATIENCE_S = 30.0  # for which a reader may make no progress
_QUIET = os.open(os.devnull, os.O_RDONLY)


def _make_hung_up() -> int:
    read, write = os.pipe()
    os.close(write)
    return read


_HUNG_UP = _make_hung_up()


class _Socket:
    """What the daemon asks of a connection's socket."""

    def __init__(self, wire: "Wire") -> None:
        self._wire = wire

    def fileno(self) -> int:
        return _HUNG_UP if self._wire.cut_off else _QUIET

    def getsockopt(self, *_: Any) -> bytes:
        return struct.pack("3i", 1, os.geteuid(), os.getegid())


class Wire(asyncio.Transport):
    """The daemon's end of a connection with `peer`."""

    def __init__(self, world: "World", peer: "Peer", number: int) -> None:
        super().__init__()
        self._world, self.life, self.peer, self.number = world, world.life, peer, number
        self._loop = world.loop
        self._chance = world.chance(f"wire {number}")
        self.cut_off = False  # by the peer
        self.slow = False  # the peer does not read
        self._closing = self._lost = self._paused = self._eof = self._told_full = False
        self._high, self._low = 64 << 10, 16 << 10
        self._incoming = bytearray()
        self._outgoing: deque[tuple[int, Any]] = deque()  # messages, and the bytes that end them
        self._written = self._read = 0
        self._progress_at = world.now  # when the peer last read, or had all
        self._unpacker = msgpack.Unpacker(strict_map_key=False, timestamp=0)
        self._protocol: Any = life_protocol(self.life)
        self._loop.call_soon(self._protocol.connection_made, self)

    # what asyncio's protocols call

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high, self._low = high or 0, low or 0

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return _Socket(self) if name == "socket" else default

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return not self._paused

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        self._world.after(0, self._deliver)

    def get_write_buffer_size(self) -> int:
        return self._written - self._read

    def write(self, data: Any) -> None:
        if self._closing or self._lost:
            return
        start = self._unpacker.tell()
        self._unpacker.feed(bytes(data))
        for message in self._unpacker:
            self._outgoing.append((self._unpacker.tell(), message))
            if not self.life.dead:
                self._world.model.daemon_said(self, message)
        assert self._unpacker.tell() >= start
        if not self.get_write_buffer_size():
            self._progress_at = self._world.now
        self._written += len(data)
        if self.get_write_buffer_size() > self._high and not self._told_full:
            self._told_full = True
            self._protocol.pause_writing()  # at once, as asyncio and uvloop do
        self._world.after(self._chance.uniform(1e-5, 2e-3), self._drain)

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            if not self.get_write_buffer_size():
                self._lose(None)
            elif self.life.dead:
                self.abort()

    def abort(self) -> None:
        if self.get_write_buffer_size() and not self._closing and not self.life.dead:
            waited_s = self._world.now - self._progress_at
            self._world.model.hold("a reader is given time", waited_s >= PATIENCE_S, f"{waited_s:.1f} s")
        self._closing = True
        self._lose(None)

    # the world

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, error)
            asked = self._eof and not self.slow and error is None and not self.life.stopping
            self._world.model.hold(
                "a half-closed peer is answered", not (asked and self.peer.owed(self)), "it is not"
            )
            self._world.after(self._chance.uniform(0, 1e-3), self.peer.lost, self)

    def die(self) -> None:
        """Show the peer that the daemon is gone."""
        self._world.after(self._chance.uniform(0, 1e-3), self.peer.lost, self)

    def _drain(self) -> None:
        """Let the peer read a part."""
        unsent = self.get_write_buffer_size()
        if self.slow or not unsent or self.cut_off or self.life.dead or (self._lost and not self._closing):
            return
        part = self._chance.randrange(1, unsent + 1) if self._chance.random() < 0.2 else unsent
        self._read += part
        self._progress_at = self._world.now
        if self._told_full and self.get_write_buffer_size() <= self._low:
            self._told_full = False
            self._loop.call_soon(self._protocol.resume_writing)
        while self._outgoing and self._outgoing[0][0] <= self._read:
            self.peer.took(self, self._outgoing.popleft()[1])
        if self.get_write_buffer_size():
            self._world.after(self._chance.uniform(1e-4, 2e-3), self._drain)
        elif self._closing:
            self._lose(None)

    def go_on_reading(self) -> None:
        """The peer reads again."""
        self.slow = False
        self._drain()

    # what the peer does

    def send(self, data: bytes) -> None:
        """Send bytes to the daemon."""
        if not (self.cut_off or self._eof or self._lost):
            self._incoming += data
            self._world.after(self._chance.uniform(1e-5, 2e-3), self._deliver)

    def _deliver(self) -> None:
        if self._paused or self._lost or self._closing or self.life.dead:
            return
        if self._incoming:
            whole = len(self._incoming)
            part = self._chance.randrange(1, whole + 1) if self._chance.random() < 0.2 else whole
            part = min(part, 1 << 18)
            chunk, self._incoming = bytes(self._incoming[:part]), self._incoming[part:]
            self._loop.call_soon(self._receive, chunk)
            if self._incoming or self._eof:
                self._world.after(self._chance.uniform(1e-5, 1e-3), self._deliver)
        elif self._eof:
            self._loop.call_soon(self._end)

    def _receive(self, chunk: bytes) -> None:
        if self._paused:
            self._incoming[:0] = chunk
        elif not (self._lost or self._closing):
            self._protocol.data_received(chunk)

    def _end(self) -> None:
        if not self._lost and not self._closing and not self._protocol.eof_received():
            self.close()

    def end(self) -> None:
        """Close the peer's sending half."""
        self._eof = True
        self._world.after(self._chance.uniform(1e-5, 1e-3), self._deliver)

    def cut(self) -> None:
        """Break the connection, as the end of the peer's process does."""
        if not self.cut_off:
            self.cut_off = True
            self._incoming.clear()
            self._outgoing.clear()
            self._read = self._written
            if not self._lost:
                self._lost = self._closing = True
                error = ConnectionResetError() if self._chance.random() < 0.5 else None
                self._loop.call_soon(self._protocol.connection_lost, error)

    @property
    def has_ended(self) -> bool:
        """True if the peer has closed its sending half."""
        return self._eof

    @property
    def is_lost(self) -> bool:
        return self._lost or self.life.dead


def life_protocol(life: Any) -> Any:
    """Return the protocol of a new connection."""
    return life.daemon.server._admit()
