"""P9: only the owner or root gets in, by the peer credentials, even if the file modes are loosened."""

import array
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.peer import STATUS, answered
from tests.helpers.waiting import until, until_listened

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


OTHER_UID = 65534


def as_other_user(work):
    """Run `work` in a child that has become another user, and return its result as text."""
    back, out = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(OTHER_UID)
            os.setuid(OTHER_UID)
            os.write(out, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(out)
    with os.fdopen(back, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return found.decode()


@pytest.fixture
def open_folder():
    """A folder that every user may enter. Those of pytest lie in one that it closes at each of its starts."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        yield folder


def loosened(daemon, folder):
    """Set file modes that let every user reach the socket."""
    for path in (daemon.socket, daemon.socket.parent, folder):
        path.chmod(0o777)


@as_root
def test_p9_another_user_is_refused_even_with_the_modes_loosened(open_folder):
    with DaemonProcess(open_folder / "s") as daemon:
        loosened(daemon, open_folder)

        def connect():
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(daemon.socket))
                refusal = answered(sock)
                try:
                    sock.sendall(STATUS)
                    return refusal, sock.recv(100)
                except OSError as error:
                    return refusal, type(error).__name__

        found = as_other_user(connect)
        assert found.startswith(
            "([2, 'error', [9, 'refused: another user; dreamd serves its owner and root']]"
        )
        assert "version" not in found
        assert daemon.call("status")["failures"] == {"server: another user": 1}
        until(lambda: len(daemon.call("status")["sessions"]) == 1, "the other has gone")


@as_root
def test_p9_file_modes_keep_another_user_from_connecting(open_folder):
    with DaemonProcess(open_folder / "s") as daemon:

        def connect():
            with socket.socket(socket.AF_UNIX) as sock:
                return os.strerror(sock.connect_ex(str(daemon.socket)))

        assert as_other_user(connect) == "'Permission denied'"
        assert daemon.call("status")["failures"] == {}


@as_root
def test_p9_a_passed_descriptor_counts_as_the_user_that_connected(open_folder):
    with DaemonProcess(open_folder / "s") as daemon:
        loosened(daemon, open_folder)
        ours = socket.socket(socket.AF_UNIX)
        ours.connect(str(daemon.socket))

        def use():  # connected by root, used by another: root's to give
            ours.sendall(STATUS)
            return answered(ours)[0]

        assert as_other_user(use) == "1"
        ours.close()

        # Connected by another, used by root: it stays the other's.
        here, there = socket.socketpair()

        def connect_and_pass():
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(daemon.socket))
            there.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))])

        assert as_other_user(connect_and_pass) == "None"
        _, [passed], _, _ = socket.recv_fds(here, 1, 1)
        with here, there, socket.socket(fileno=passed) as theirs:
            assert answered(theirs)[2][0] == 9
        assert daemon.call("status")["failures"] == {"server: another user": 1}


@as_root
def test_p9_a_daemon_accepts_its_own_user_and_root(open_folder):
    state = open_folder / "s"
    state.mkdir()
    os.chown(state, OTHER_UID, OTHER_UID)
    command = (
        # All is imported first: that user may not be able to read this Python.
        "import concurrent.futures.thread, dreamd.wire.status, os, sys, urllib.parse, uvloop; "
        "from pathlib import Path; "
        "from dreamd.app import run; from dreamd.settings import Settings; state = Path(sys.argv[1]); "
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); sys.exit(run(Settings, state, state / 'dreamd.sock'))"
    )
    env = {**DaemonProcess(state).env, "HOME": "/nonexistent"}
    process = subprocess.Popen([sys.executable, "-c", command, state], env=env)
    try:
        sock = state / "dreamd.sock"
        until_listened(sock)

        def ask():
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(sock))
                client.sendall(STATUS)
                return answered(client)[3]["state"]

        assert as_other_user(ask) == "'ok'"
        assert ask() == "ok"
    finally:
        process.terminate()
        assert process.wait(20) == 0
