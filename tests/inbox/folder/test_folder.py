"""Links and other files in the place of the inbox's files and folders: refused, and nothing outside is changed."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from dreamd.inbox import Inbox, InboxError, InboxSettings, InboxUnavailable, ValidationError
from tests.helpers.inbox_check import indexes
from tests.helpers.ptrace import fork

SHARD = {"index": 0, "timestamp": 1}


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    inbox = Inbox(tmp_path / "inbox")
    inbox.write({}, [SHARD], trace_id="other")
    return inbox


def snapshot(folder: Path) -> dict[str, object]:
    """Return all that lies below a folder: links with their target, files with their bytes."""
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
    }


def outside(inbox: Inbox) -> Path:
    place = inbox.folder.parent / "outside"
    place.mkdir()
    (place / "victim.json").write_text('{"shards": []}')
    return place


def link_at_target(inbox: Inbox) -> None:
    (inbox.folder / "t.json").symlink_to(outside(inbox) / "victim.json")


def dangling_link_at_target(inbox: Inbox) -> None:
    (inbox.folder / "t.json").symlink_to(outside(inbox) / "new.json")


def link_at_temporary(inbox: Inbox) -> None:
    (inbox.folder / ".tmp" / "t.json").symlink_to(outside(inbox) / "victim.json")


def link_at_temporaries_folder(inbox: Inbox) -> None:
    (inbox.folder / ".tmp").rmdir()
    (inbox.folder / ".tmp").symlink_to(outside(inbox))


def link_at_done(inbox: Inbox) -> None:
    (inbox.folder / "done").rmdir()
    (inbox.folder / "done").symlink_to(outside(inbox))


def link_at_lock(inbox: Inbox) -> None:
    (inbox.folder / ".lock").unlink()
    (inbox.folder / ".lock").symlink_to(outside(inbox) / "victim.json")


def link_at_folder(inbox: Inbox) -> None:
    inbox.folder.rename(inbox.folder.parent / "moved")
    inbox.folder.symlink_to(outside(inbox))


def folder_at_target(inbox: Inbox) -> None:
    (inbox.folder / "t.json").mkdir()


def folder_at_temporary(inbox: Inbox) -> None:
    (inbox.folder / ".tmp" / "t.json").mkdir()


def folder_at_lock(inbox: Inbox) -> None:
    (inbox.folder / ".lock").unlink()
    (inbox.folder / ".lock").mkdir()


def pipe_at_target(inbox: Inbox) -> None:
    os.mkfifo(inbox.folder / "t.json")


def file_at_done(inbox: Inbox) -> None:
    (inbox.folder / "done").rmdir()
    (inbox.folder / "done").touch()


def too_large_at_target(inbox: Inbox) -> None:
    with (inbox.folder / "t.json").open("wb") as file:
        file.truncate(17 << 20)


PLANTED = [
    link_at_target,
    dangling_link_at_target,
    link_at_temporary,
    link_at_temporaries_folder,
    link_at_done,
    link_at_lock,
    link_at_folder,
    folder_at_target,
    folder_at_temporary,
    folder_at_lock,
    pipe_at_target,
    file_at_done,
    too_large_at_target,
]


@pytest.mark.timeout(15)  # a pipe must not block
@pytest.mark.parametrize("plant", PLANTED)
def test_a_write_is_refused_and_changes_nothing(plant: Callable[[Inbox], None], inbox: Inbox) -> None:
    plant(inbox)
    before = snapshot(inbox.folder.parent)
    with pytest.raises(ValidationError):
        inbox.write({"goal": "g"}, [SHARD], trace_id="t")
    assert snapshot(inbox.folder.parent) == before


@pytest.mark.timeout(15)  # a pipe must not block
@pytest.mark.parametrize("plant", [link_at_target, dangling_link_at_target, folder_at_target, pipe_at_target])
def test_neither_reads_nor_acknowledges_a_planted_file(plant: Callable[[Inbox], None], inbox: Inbox) -> None:
    plant(inbox)
    before = snapshot(inbox.folder.parent)
    with pytest.raises(ValidationError):
        inbox.read("t")
    with pytest.raises(ValidationError):
        inbox.ack("t")
    assert snapshot(inbox.folder.parent) == before


def test_does_not_read_a_folder_that_is_a_link(inbox: Inbox) -> None:
    link_at_folder(inbox)
    for look in (inbox.list, inbox.verify, inbox.counts, lambda: inbox.read("victim")):
        with pytest.raises(InboxError):
            look()


def test_follows_a_link_above_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "state").symlink_to(tmp_path / "real")
    assert Inbox(tmp_path / "state" / "inbox").write({}, [SHARD], trace_id="t")["shards_written"] == 1
    assert (tmp_path / "real" / "inbox" / "t.json").is_file()


# Looking whether a write could be made.


def test_check_finds_an_obstacle_and_makes_nothing(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    for fine in ("real", "to be made", "deep/in/what/is/to/be/made", "link/to be made"):
        Inbox(tmp_path / fine).check()
    for refused in ("link", "file", "file/below"):
        with pytest.raises(ValidationError, match="stands in a place of the inbox"):
            Inbox(tmp_path / refused).check()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_of_another_user_is_unavailable(inbox: Inbox, monkeypatch: pytest.MonkeyPatch):
    """The system gives this answer to root never, so the test raises it."""
    monkeypatch.setattr("dreamd.inbox.folder.files.os.access", lambda *_, **__: False)
    with pytest.raises(InboxUnavailable, match="look at the inbox: Permission denied"):
        inbox.check()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
def test_a_group_member_writes_and_acknowledges_with_mode_0660() -> None:
    """A user who does not own the files of an inbox with mode 0660 writes them."""
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o755)
        inbox = Inbox(place / "inbox", InboxSettings(mode="0660"))
        inbox.write({}, [{"index": 0}], trace_id="t")
        for path in (inbox.folder, *inbox.folder.rglob("*")):
            os.chown(path, 0, 4321)
        inbox.folder.chmod(0o2770)

        def as_another() -> None:
            os.setgroups([])
            os.setgid(4321)
            os.setuid(4321)
            for index in (1, 2):
                inbox.ack("t")
                inbox.write({}, [{"index": index}], trace_id="t")

        assert os.waitpid(fork(as_another), 0)[1] == 0
        assert indexes(inbox.folder, "t") == {0: 1, 1: 1, 2: 1}
        inbox.write({}, [{"index": 3}], trace_id="t")
        inbox.ack("t")
    finally:
        shutil.rmtree(place)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("name", [".lock", ".tmp", "done"])
def test_what_sudo_left_inside_is_found_and_named(name: str) -> None:
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o755)
        inbox = Inbox(place / "inbox")
        inbox.write({}, [SHARD], trace_id="t")
        for path in (inbox.folder, *inbox.folder.iterdir()):
            os.chown(path, 1234, 1234)

        def as_its_owner(finds: bool) -> None:
            os.setgid(1234)
            os.setuid(1234)
            for act in (inbox.check, lambda: inbox.write({}, [SHARD], trace_id="u")):
                with (
                    pytest.raises(InboxUnavailable, match=f": {name}: Permission") if finds else nullcontext()
                ):
                    act()

        assert os.waitpid(fork(partial(as_its_owner, False)), 0)[1] == 0
        os.chown(inbox.folder / name, 0, 0)
        assert os.waitpid(fork(partial(as_its_owner, True)), 0)[1] == 0
    finally:
        shutil.rmtree(place)
