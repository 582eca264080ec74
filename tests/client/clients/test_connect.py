"""Reaching the daemon: without waiting, and with a word on what is wrong."""

import socket
from pathlib import Path

import pytest
from dreamclient.clients.link import connected
from dreamclient.errors import NotConnected, SocketPathError

from tests.helpers.daemons.not_one import full_backlog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dreamd.sock"


def test_it_connects_where_someone_listens(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with connected(path) as sock, listener.accept()[0] as peer:
            sock.send(b"hello")
            assert peer.recv(5) == b"hello"
            assert not sock.getblocking()


def test_the_path_is_resolved_from_the_environment(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = connected
    monkeypatch.setenv("DREAMD_SOCKET", str(path))
    with pytest.raises(NotConnected, match=f"^no daemon at {path}: No such file or directory$"):
        connect()


def test_a_socket_that_nobody_serves_refuses(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    with pytest.raises(NotConnected, match="Connection refused"):
        connected(path)


def test_a_full_backlog_is_not_waited_for(path: Path) -> None:
    """P1: a stopped daemon accepts nobody, and a connect that blocks would wait as long."""
    with full_backlog(path), pytest.raises(NotConnected, match="accepts no connections now"):
        connected(path)


def test_a_path_that_no_socket_can_have_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(SocketPathError):
        connected(tmp_path / ("x" * 108))
