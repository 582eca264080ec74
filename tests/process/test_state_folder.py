"""The state folder and its lock: only a lock proves that a daemon lives (P8)."""

import fcntl
import os
import stat

import pytest

from dreamd.errors import StartError
from dreamd.process.state_folder import (
    end_noted,
    file_lock,
    is_embedded,
    make_private_folder,
    note_embedded,
    note_end,
    release_in_child,
    state_lock,
)


def mode(path):
    return stat.S_IMODE(path.lstat().st_mode)


def test_makes_a_private_folder_and_leaves_an_existing_one_unchanged(tmp_path):
    make_private_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a" / "b") == 0o700
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    make_private_folder(tmp_path / "open")
    assert mode(tmp_path / "open") == 0o755


def test_p8_one_daemon_holds_the_folder_and_the_second_learns_its_pid(tmp_path):
    with state_lock(tmp_path):
        assert (tmp_path / "dreamd.lock").read_text() == f"{os.getpid()}\n"
        assert mode(tmp_path / "dreamd.lock") == 0o600
        with (
            pytest.raises(StartError, match=f"another dreamd \\(pid {os.getpid()}\\) serves") as caught,
            state_lock(tmp_path),
        ):
            pass
        assert caught.value.exit_code == 3
    with state_lock(tmp_path):
        pass


def test_p8_locks_an_old_lock_file(tmp_path):
    (tmp_path / "dreamd.lock").write_text("1\nand more than that\n")  # a process that lives
    with state_lock(tmp_path):
        assert (tmp_path / "dreamd.lock").read_text() == f"{os.getpid()}\n"


def test_notes_that_the_daemon_is_embedded_until_it_ends_by_itself(tmp_path):
    assert not is_embedded(tmp_path)
    with state_lock(tmp_path) as (_, lock):
        assert not is_embedded(tmp_path)
        note_embedded(lock)
        assert (is_embedded(tmp_path), end_noted(tmp_path)) == (True, "")
        with (
            pytest.raises(StartError, match=f"; end its host \\(`kill {os.getpid()}`\\), or"),
            state_lock(tmp_path),
        ):
            pass
        note_end(lock, "the database was deleted")
        assert end_noted(tmp_path) == "the database was deleted"
    with state_lock(tmp_path):
        assert (is_embedded(tmp_path), end_noted(tmp_path)) == (False, "")


def held(state):
    """Return whether another process cannot lock it."""
    with (state / "dreamd.lock").open() as other:
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_p8_refuses_a_folder_whose_holder_is_unknown(tmp_path):
    with (tmp_path / "dreamd.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StartError, match="pid unknown"), state_lock(tmp_path):
            pass


def test_p8_a_forked_child_does_not_hold_its_parents_folder(tmp_path):
    def paired(descriptors):
        return zip((tmp_path, tmp_path / "dreamd.lock"), descriptors, strict=True)

    with state_lock(tmp_path) as locks:
        copies = folder, file = os.dup(locks[0]), os.dup(locks[1])  # what a fork leaves in the child
        release_in_child(paired(copies))
        assert held(tmp_path)
        with pytest.raises(StartError), state_lock(tmp_path):
            pass
    with state_lock(tmp_path):
        pass
    for copy in copies:
        os.fstat(copy)  # the number stays taken
    release_in_child(paired(copies))  # again: they are the locks no more, and are left alone
    for copy in copies:
        os.close(copy)
    release_in_child(paired(copies))
    with (tmp_path / "other").open("w") as another:
        release_in_child(paired((folder, another.fileno())))
        another.write("still open")
    assert file != folder


def a_file(path):
    path.write_text("")


def a_link(path):
    path.mkdir()
    (path / "dreamd.lock").symlink_to("elsewhere")


def a_folder(path):
    (path / "dreamd.lock").mkdir(parents=True)


@pytest.mark.parametrize(
    ("stand", "why"),
    [
        (a_file, "it is no folder; move it away, or name another with --state-dir"),
        (a_link, "state/dreamd.lock is no file of its own; move it away"),
        (a_folder, "state/dreamd.lock is no file of its own; move it away"),
    ],
)
def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path, stand, why):
    stand(tmp_path / "state")
    with pytest.raises(StartError, match=f"the state folder .*state cannot be used: .*{why}") as caught:
        with state_lock(tmp_path / "state"):
            pass
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def test_lock_file_has_the_reason_of_an_end_until_the_next_start(tmp_path):
    assert end_noted(tmp_path) == ""
    with state_lock(tmp_path) as (_, lock):
        assert end_noted(tmp_path) == ""
        note_end(lock, "database deleted (/s/dream.sqlite3)")
    assert end_noted(tmp_path) == "database deleted (/s/dream.sqlite3)"
    with state_lock(tmp_path):
        assert end_noted(tmp_path) == ""


def test_a_lock_file_is_locked_once(tmp_path):
    lock = file_lock(tmp_path / "x.lock")
    with pytest.raises(BlockingIOError):
        file_lock(tmp_path / "x.lock")
    os.close(lock)
    os.close(file_lock(tmp_path / "x.lock"))
