"""The listener: only a lock proves that a daemon lives, and only the kernel that a socket is stale (P8)."""

import errno
import fcntl
import os
import socket
import stat
from contextlib import ExitStack

import pytest

from dreamd.errors import StartError
from dreamd.process.state_folder import (
    state_lock,
)
from dreamd.wire.listener import Listener
from tests.helpers.daemons.not_one import full_backlog
from tests.process.test_state_folder import mode


def connects(path):
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(path)) == 0


def stale(path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


# --- the state folder --------------------------------------------------------------------------------


def test_p8_a_removed_lock_file_admits_no_second_daemon(tmp_path):
    with state_lock(tmp_path) as (folder, _):
        (tmp_path / "dreamd.lock").unlink()
        with pytest.raises(StartError, match="another dreamd \\(pid unknown\\) serves") as caught:
            with state_lock(tmp_path):
                pass
        assert caught.value.exit_code == 3
        listener = Listener(tmp_path / "s", state=folder)  # its own folder is not waited for
        listener.close()
    with state_lock(tmp_path):
        pass


def test_waits_for_a_locked_folder_only_as_long_as_a_bind_takes(tmp_path):
    with state_lock(tmp_path / "state"):
        listener = Listener(tmp_path / "state" / "of-another")
        assert connects(tmp_path / "state" / "of-another")
        listener.close()


def test_without_folder_locks_the_lock_file_suffices(tmp_path, monkeypatch):
    """NFS has no locks on folders."""
    lock = fcntl.flock

    def files_only(handle, how):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, "Bad file descriptor")
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", files_only)
    with state_lock(tmp_path), pytest.raises(StartError), state_lock(tmp_path):
        pass


# --- the socket --------------------------------------------------------------------------------------


def test_p9_the_socket_is_private_from_its_first_moment(tmp_path, monkeypatch):
    seen = []
    bind = socket.socket.bind

    class Watched(socket.socket):
        def bind(self, address):
            bind(self, address)
            seen.append(mode(tmp_path / "run" / "s"))

    monkeypatch.setattr(socket, "socket", Watched)
    before = os.umask(0o022)
    try:
        listener = Listener(tmp_path / "run" / "s")
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    assert seen == [0o600]
    assert mode(tmp_path / "run") == 0o700
    listener.close()
    assert not (tmp_path / "run" / "s").exists()


def test_replaces_a_stale_socket_but_never_a_live_one(tmp_path):
    stale(tmp_path / "s")
    first = Listener(tmp_path / "s")
    assert connects(tmp_path / "s")
    with pytest.raises(StartError, match="is taken \\(a daemon listens\\)") as caught:
        Listener(tmp_path / "s")
    assert caught.value.exit_code == 3
    assert connects(tmp_path / "s")
    first.close()


def test_a_live_socket_with_a_full_backlog_is_not_stale(tmp_path):
    with full_backlog(tmp_path / "s"), pytest.raises(StartError, match="a daemon listens"):
        Listener(tmp_path / "s")
    assert (tmp_path / "s").exists()


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE, errno.ENOMEM, errno.EPROTOTYPE])
def test_p8_only_a_refused_connection_proves_a_socket_dead(tmp_path, monkeypatch, code):
    stale(tmp_path / "s")

    class Faulty(socket.socket):
        def connect_ex(self, address):
            return code

    monkeypatch.setattr(socket, "socket", Faulty)
    with pytest.raises(StartError) as caught:
        Listener(tmp_path / "s")
    assert os.strerror(code) in str(caught.value)
    assert caught.value.exit_code == 3
    assert (tmp_path / "s").exists()


def test_binds_though_the_old_socket_vanishes_meanwhile(tmp_path, monkeypatch):
    stale(tmp_path / "s")

    class Fleeting(socket.socket):
        def connect_ex(self, address):
            os.unlink(address)
            return errno.ENOENT

    monkeypatch.setattr(socket, "socket", Fleeting)
    listener = Listener(tmp_path / "s")
    monkeypatch.undo()
    assert connects(tmp_path / "s")
    listener.close()


@pytest.mark.parametrize("link", [False, True])
def test_a_path_that_is_no_socket_is_left_alone(tmp_path, link):
    (tmp_path / "s").symlink_to("nowhere") if link else (tmp_path / "s").write_text("precious")
    with pytest.raises(StartError, match="is there and is no socket") as caught:
        Listener(tmp_path / "s")
    assert caught.value.exit_code == 5
    assert (tmp_path / "s").is_symlink() if link else (tmp_path / "s").read_text() == "precious"


def test_the_longest_path_that_a_socket_can_have(tmp_path):
    for size, fits in ((107, True), (108, False), (109, False)):
        path = tmp_path / ("x" * (size - len(os.fsencode(tmp_path)) - 1))
        if fits:
            listener = Listener(path)
            assert connects(path)
            listener.close()
        else:
            with pytest.raises(StartError, match=f"the socket path has {size} bytes") as caught:
                Listener(path)
            assert caught.value.exit_code == 5


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=r"no socket can be made at .*file/run/s: ") as caught:
        Listener(tmp_path / "file" / "run" / "s")
    assert caught.value.exit_code == 5


def test_notices_a_vanished_or_foreign_file_and_does_not_remove_it(tmp_path):
    listener = Listener(tmp_path / "s")
    assert not listener.vanished
    (tmp_path / "s").unlink()
    assert listener.vanished
    old = listener.socket
    listener.bind()
    old.close()
    assert not listener.vanished
    assert connects(tmp_path / "s")
    listener.socket.close()  # as the server does at the end
    (tmp_path / "s").unlink()
    stale(tmp_path / "s")  # most file systems would give it the number of the removed one
    assert listener.vanished
    listener.close()
    assert (tmp_path / "s").exists()


def test_a_socket_whose_file_cannot_be_held_is_bound_at_the_next_try(tmp_path, monkeypatch):
    listener = Listener(tmp_path / "s")
    (tmp_path / "s").unlink()
    opened = os.open

    def exhausted(path, flags, *mode):
        if flags & os.O_PATH:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(path, flags, *mode)

    old = listener.socket
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", exhausted)
        with pytest.raises(StartError, match="Too many open files"):
            listener.bind()
    assert listener.vanished
    listener.bind()
    assert not listener.vanished
    assert connects(tmp_path / "s")
    old.close()
    listener.close()


def test_reports_a_folder_that_cannot_be_locked(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StartError, match="No locks available") as caught, state_lock(tmp_path):
        pass
    assert caught.value.exit_code == 4


def test_keeps_a_file_that_another_daemon_made_meanwhile(tmp_path, monkeypatch):
    listener = Listener(tmp_path / "s")
    lock = fcntl.flock

    def replaced(handle, how):
        lock(handle, how)
        os.unlink(tmp_path / "s")
        stale(tmp_path / "s")

    monkeypatch.setattr(fcntl, "flock", replaced)
    listener.close()
    assert (tmp_path / "s").exists()


def test_leaves_the_file_of_a_passed_socket_alone(tmp_path):
    passed = socket.socket(socket.AF_UNIX)
    passed.bind(str(tmp_path / "s"))
    passed.listen()
    listener = Listener(tmp_path / "other", passed)
    assert listener.path == tmp_path / "s"
    assert listener.socket is passed
    assert not listener.vanished
    listener.close()
    passed.close()
    assert (tmp_path / "s").exists()
    assert not (tmp_path / "other").exists()


def test_replaces_a_passed_socket_whose_file_has_vanished(tmp_path):
    with ExitStack() as stack, socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(tmp_path / "s"))
        passed.listen()
        listener = Listener(tmp_path / "other", passed)
        stack.enter_context(passed.dup())  # systemd's
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(tmp_path / "s"))
        (tmp_path / "s").unlink()
        assert listener.vanished
        listener.bind()
        assert not listener.vanished
        assert connects(tmp_path / "s")
        listener.socket.close()  # it dies, and its file stays
        again = Listener(tmp_path / "other", passed)
        assert not again.vanished
        waiting.settimeout(20)
        assert waiting.recv(1) == b""  # the connection is closed, and the client may reconnect
        assert connects(tmp_path / "s")
        again.close()
        assert not (tmp_path / "s").exists()
        listener.close()


def test_keeps_a_passed_socket_whose_place_is_taken(tmp_path):
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(tmp_path / "s"))
        passed.listen()
        (tmp_path / "s").unlink()
        (tmp_path / "s").write_text("in the way")
        listener = Listener(tmp_path / "other", passed)
        assert listener.socket is passed
        assert listener.vanished
        listener.close()
        assert (tmp_path / "s").read_text() == "in the way"


def test_a_socket_that_is_bound_and_does_not_listen_yet_is_not_removed(tmp_path):
    """The kernel refuses a connection to it as it does to a stale socket."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "s"))
        with pytest.raises(StartError, match="taken") as refused:
            Listener(tmp_path / "s")
        assert refused.value.exit_code == 3
        assert (tmp_path / "s").is_socket()
    Listener(tmp_path / "s").close()
