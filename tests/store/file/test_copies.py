"""Copies of the database that cannot be changed now, or are damaged. The rest: `tests/ctl/commands/test_forget.py`."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.store.file.copies import copies_of, forget_in


def test_a_copy_that_cannot_be_changed_now_is_not_deleted(tmp_path: Path) -> None:
    copy = tmp_path / "dream.sqlite3.before-restore-20260101T000000Z"
    with closing(sqlite3.connect(copy)) as made:
        made.execute("CREATE TABLE dreams (text)")

    def forget_on_full_disk(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 2").fetchone()
        connection.execute("INSERT INTO dreams VALUES (zeroblob(100000))")

    before = copy.read_bytes()
    with pytest.raises(sqlite3.OperationalError, match="full"):
        forget_in(copy, lambda _: True, forget_on_full_disk)
    assert copy.read_bytes() == before
    copy.write_bytes(b"no database" * 100)
    assert not forget_in(copy, lambda of: bool(of.execute("SELECT * FROM dreams")), forget_on_full_disk)
    assert copies_of(tmp_path / "dream.sqlite3") == []


def test_what_a_killed_restore_left_is_a_copy(tmp_path: Path) -> None:
    (tmp_path / "dream.sqlite3").touch()
    left = tmp_path / ".dreamd-abcd.part"
    left.touch()
    assert copies_of(tmp_path / "dream.sqlite3") == [left]


@pytest.mark.parametrize("name", ["dream.sqlite3.gz", "dream.sqlite3.old", "dream.sqlite3.2026.sql"])
def test_a_file_of_the_user_that_is_no_database_stays(tmp_path: Path, name: str) -> None:
    """It may hold all that he has."""
    copy = tmp_path / name
    copy.write_bytes(b"no database" * 100)
    assert copies_of(tmp_path / "dream.sqlite3") == [copy]
    assert forget_in(copy, lambda of: bool(of.execute("SELECT * FROM dreams")), lambda _: None)
    assert copy.exists()


def test_finds_the_copies_of_a_database_with_any_name(tmp_path: Path) -> None:
    (copy := tmp_path / "leo[1]*.db.damaged-20260101T000000Z").touch()
    (tmp_path / "leo1.db.damaged-20260101T000000Z").touch()
    assert copies_of(tmp_path / "leo[1]*.db") == [copy]
