"""Connecting to the daemon: without waiting, and with a reason if it fails."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from dreamclient.clients.link import connected
from dreamclient.errors import NotConnected, SocketPathError

from tests.helpers.daemons.not_one import full_backlog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dreamd.sock"


def test_connects_to_a_listening_socket_without_blocking(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with connected(path) as sock, listener.accept()[0] as peer:
            sock.send(b"hello")
            assert peer.recv(5) == b"hello"
            assert not sock.getblocking()


def test_takes_the_path_from_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = connected
    monkeypatch.setenv("DREAMD_SOCKET", str(path))
    with pytest.raises(NotConnected, match=f"^no daemon at {path}: No such file or directory$"):
        connect()


def test_raises_not_connected_if_no_process_listens(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(NotConnected, match="Connection refused"):
        connected(path)


def test_raises_not_connected_at_once_if_the_backlog_is_full(path: Path) -> None:
    """P1: a stopped daemon accepts no connection, and a connect that blocks would wait as long."""
    with full_backlog(path), pytest.raises(NotConnected, match="accepts no connections now"):
        connected(path)


def test_raises_an_error_for_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    with pytest.raises(SocketPathError):
        connected(tmp_path / ("x" * 108))


def test_never_takes_the_place_of_a_closed_standard_stream(path: Path) -> None:
    """A host without a standard error would send its warnings to the daemon."""
    program = """
import os, sys
from dreamclient.clients.link import connected

os.close(2)
with connected(sys.argv[1]) as sock:
    print(sock.fileno() > 2, sock.get_inheritable(), sock.getpeername())
"""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        command = [sys.executable, "-c", program, str(path)]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told == f"True False {path}\n"
