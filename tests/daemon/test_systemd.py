"""What systemd hears and what it passes."""

import os
import resource
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from dreamd.systemd import Notifier, passed_socket


@pytest.mark.parametrize("abstract", [False, True])
def test_states_go_out_in_one_datagram(tmp_path, abstract):
    name = f"@dreamd-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if abstract else name)
        with closing(Notifier(name)) as notifier:
            notifier.tell("READY=1", "STATUS=waiting for leo")
        assert manager.recv(100) == b"READY=1\nSTATUS=waiting for leo"


@pytest.mark.parametrize("address", [None, ""])
def test_without_a_manager_nobody_is_told(address, monkeypatch):
    monkeypatch.setattr(socket, "socket", None)
    notifier = Notifier(address)
    notifier.tell("READY=1")
    notifier.close()


def test_a_process_out_of_descriptors_still_feeds_its_watchdog(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        with closing(Notifier(str(tmp_path / "notify"))) as notifier:
            resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
            try:
                notifier.tell("WATCHDOG=1")
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert manager.recv(100) == b"WATCHDOG=1"


def test_a_manager_that_is_gone_or_deaf_is_no_reason_to_fail(tmp_path):
    with closing(Notifier(str(tmp_path / "gone"))) as notifier:
        notifier.tell("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        with closing(Notifier(str(tmp_path / "deaf"))) as notifier:
            for number in range(1000):  # more than its queue holds
                notifier.tell(f"STATUS={number}")
        assert deaf.recv(100) == b"STATUS=0"


@pytest.mark.parametrize(
    "env", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "2"}]
)
def test_no_socket_is_taken_that_was_not_meant_for_this_process(env):
    env = env | {"LISTEN_FDNAMES": "x", "OTHER": "kept"}
    assert passed_socket(env) is None
    assert env == {"OTHER": "kept"}


CHILD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)  # as systemd leaves it
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="dreamd.socket")
from dreamd.systemd import passed_socket
sock = passed_socket()
print(sock.getsockname(), sock.getblocking(), os.get_inheritable(3), [k for k in os.environ if k.startswith("LISTEN")])
"""


def test_the_passed_socket_is_taken_and_its_variables_are_gone(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        fd = listener.fileno()
        child = subprocess.run(
            [sys.executable, "-c", CHILD, str(fd)], pass_fds=[fd], capture_output=True, text=True, check=True
        )
    assert child.stdout == f"{tmp_path / 's'} False False []\n"
