"""The messages to systemd, and the sockets that it passes."""

import os
import resource
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from dreamd.process.systemd import Notifier, passed_socket


@pytest.mark.parametrize("abstract", [False, True])
def test_states_go_out_in_one_datagram(tmp_path, abstract):
    name = f"@dreamd-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name[1:]}" if abstract else name)
        with closing(Notifier(name)) as notifier:
            notifier.tell("READY=1", "STATUS=waiting for leo")
        assert manager.recv(100) == b"READY=1\nSTATUS=waiting for leo"


@pytest.mark.parametrize("address", [None, ""])
def test_sends_nothing_without_a_manager(address, monkeypatch):
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


def test_ignores_a_missing_or_slow_manager(tmp_path):
    with closing(Notifier(str(tmp_path / "gone"))) as notifier:
        notifier.tell("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        with closing(Notifier(str(tmp_path / "deaf"))) as notifier:
            for number in range(1000):  # more than its queue holds
                notifier.tell(f"STATUS={number}")
        assert deaf.recv(100) == b"STATUS=0"


@pytest.mark.parametrize(
    "env", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "0"}]
)
def test_takes_no_socket_of_another_process(env):
    env = env | {"LISTEN_FDNAMES": "x", "OTHER": "kept"}
    assert passed_socket(env) is None
    assert env == {"OTHER": "kept"}


CHILD = """
import os, sys
given = [os.dup(int(fd)) for fd in sys.argv[2:]]
for place, fd in enumerate(given, 3 + 64):
    os.dup2(fd, place)
for place in range(len(given)):
    os.dup2(3 + 64 + place, 3 + place)  # as systemd leaves them
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)), LISTEN_FDNAMES=sys.argv[1])
from dreamd.errors import StartError
from dreamd.process.systemd import passed_socket
try:
    sock = passed_socket()
except StartError as error:
    sys.exit(f"{error.exit_code}: {error}")
print(sock.getsockname(), sock.getblocking(), os.get_inheritable(sock.fileno()))
print([k for k in os.environ if k.startswith("LISTEN")])
for place in range(3, 3 + len(given)):
    try:
        os.fstat(place)
    except OSError:
        print(f"{place} is closed")
"""


def passing(names, *given):
    """Run a process that is passed these files under these names, and return its end."""
    fds = [one.fileno() for one in given]
    return subprocess.run(
        [sys.executable, "-c", CHILD, names, *map(str, fds)],
        pass_fds=fds, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        made.listen()
        yield made


@pytest.mark.parametrize("name", ["dreamd.socket", "x", ""])
def test_takes_the_passed_socket_and_removes_its_variables(tmp_path, listener, name):
    assert passing(name, listener).stdout == f"{tmp_path / 's'} False False\n[]\n"


@pytest.mark.parametrize("name", ["dreamd.socket", "dreamd@other.socket", "dreamd"])
def test_takes_the_passed_socket_of_our_name_and_closes_the_others(tmp_path, listener, name):
    with (tmp_path / "log").open("w") as log:
        told = passing(f"log:{name}", log, listener).stdout
    assert told == f"{tmp_path / 's'} False False\n[]\n3 is closed\n"


@pytest.mark.parametrize(("names", "ours"), [("dreamd.socket:dreamd.socket", 2), ("a:b", 0), ("", 0)])
def test_several_of_which_none_can_be_chosen(listener, names, ours):
    ran = passing(names, listener, listener)
    assert ran.stderr == (
        f"5: systemd passed 2 sockets, {ours} of them named dreamd: leave its socket unit one ListenStream=, "
        "and name no other so (FileDescriptorName=)\n"
    )


def tcp(_):
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen()
    return made


def datagram(path):
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(str(path))
    return made


def abstract(_):
    made = socket.socket(socket.AF_UNIX)
    made.bind(f"\0dreamd-test-{os.getpid()}")
    made.listen()
    return made


def silent(path):
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    return made


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (tcp, "of AF_INET and SOCK_STREAM, no stream socket of Unix's"),
        (datagram, "of AF_UNIX and SOCK_DGRAM, no stream socket of Unix's"),
        (abstract, "a socket without a file"),
        (silent, "a socket that does not listen"),
        (lambda path: path.open("w"), "no socket (Socket operation on non-socket)"),
    ],
)
def test_a_passed_socket_that_cannot_be_used_is_one_clear_line(tmp_path, make, what):
    with closing(make(tmp_path / "s")) as made:
        ran = passing("dreamd.socket", made)
    assert ran.stderr == (
        f"5: what systemd passed is {what}: its socket unit needs ListenStream= with a path, and Accept=no\n"
    )
