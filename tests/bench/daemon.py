"""Daemons of the benches: processes on the second core, and a plain connection to them."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgpack

from tests.bench.harness import ROOT

WAIT_S = 20.0


def dreamd(state: Path, *settings: str) -> list[str]:
    """Return the command of a daemon on a state folder."""
    return [sys.executable, "-m", "dreamd", "--state-dir", str(state), *settings]


def counter(address: Path) -> list[str]:
    """Return the command of the bare server."""
    return [sys.executable, "-m", "tests.bench.counter", str(address)]


@contextmanager
def running(command: list[str], address: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on the last core until the end of the block. It listens when the block begins."""
    core = max(os.sched_getaffinity(0))
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.DEVNULL, preexec_fn=partial(os.sched_setaffinity, 0, {core})
    )
    try:
        connected(address).close()
        yield process
    finally:
        process.terminate()
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:  # it is stopped, because a bench failed
            process.kill()
            process.wait()


def connected(address: Path) -> socket.socket:
    """Return a connection, as soon as the server listens."""
    until = time.monotonic() + WAIT_S
    while True:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(address))
        except OSError:
            sock.close()
            if time.monotonic() > until:
                raise
            time.sleep(0.0005)  # a start is measured from outside, and a missing socket cannot be awaited
        else:
            sock.settimeout(WAIT_S)
            return sock


def ask(sock: socket.socket, method: str, *params: Any) -> Any:
    """Send a request, and return its result. Notifications before it are dropped."""
    sock.sendall(msgpack.packb([0, 1, method, list(params)]))
    unpacker = msgpack.Unpacker()
    while True:
        unpacker.feed(sock.recv(1 << 20))
        for message in unpacker:
            if message[0] == 1:
                assert message[2] is None, message[2]
                return message[3]


def greet(sock: socket.socket, *provides: str, name: str = "bench") -> None:
    """Say hello."""
    hello = {"protocol": 1, "name": name, "version": "0", "pid": os.getpid(), "provides": list(provides)}
    ask(sock, "hello", hello)
