"""Forgetting in copies of each earlier version. The rest: `tests/ctl/commands/test_forget.py`."""

import os
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from dreamd.store.file.copies import forget_in
from dreamd.store.forgetting import Asked, Dream, forget_in_copy, holds, quote_finder
from dreamd.store.store import Store
from tests.helpers import leo_database
from tests.helpers.frozen import unpack
from tests.helpers.store_rows import STARTED_AT, change, finish, fragment, line, new_dialog
from tests.store.conftest import rows


def copy_of_version(folder: Path, name: str) -> Path:
    copy = folder / "dream.sqlite3.version-0-20260101T000000Z"
    found = unpack(folder, name) / "dream.sqlite3" if name else leo_database.BARE
    return Path(shutil.copy(found, copy))


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("name", ["", "state_0_1", "state_schema_3", "state_schema_4"])
def test_a_copy_of_an_earlier_version_loses_the_dialogue_and_keeps_the_others(
    tmp_path: Path, name: str, broken: bool
) -> None:
    copy = copy_of_version(tmp_path, name)
    with closing(sqlite3.connect(copy)) as connection, connection:
        [(number, at), *others] = connection.execute("SELECT id, started_at FROM dream_dialogs").fetchall()
        connection.execute("UPDATE dream_turns SET text = 'quokka ' || id WHERE dialog_id = ?", (number,))
        lines = connection.execute("SELECT text FROM dream_turns WHERE dialog_id = ?", (number,)).fetchall()
        # As leo's own dream.py and the friend keep a line, and as another dialogue quotes it.
        connection.execute("INSERT INTO dream_bootstrap_fragments (text) VALUES (?)", lines[0])
        if name:
            past = "INSERT INTO dream_fragments_past (text, weight, origin, added_at, left_at) VALUES (?, 1, 0, 1, 1)"
            connection.execute(past, lines[1])
            connection.execute("UPDATE dream_turns SET seed = ? WHERE dialog_id > ?", (lines[1][0], number))
        if broken:
            connection.execute(
                "UPDATE dream_turns SET text = CAST(x'FF' AS TEXT) WHERE dialog_id = ? AND text = ?",
                (number, lines[2][0]),
            )
    dreams = [Dream(number, at, None)]
    assert not forget_in(
        copy, partial(holds, dreams=dreams), partial(forget_in_copy, dreams=dreams, friend=True)
    )
    assert b"quokka" not in copy.read_bytes()
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT id, started_at FROM dream_dialogs").fetchall() == others
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_what_a_host_recalled_of_a_forgotten_line_goes_too(store: Store, path: Path) -> None:
    """A line that is no fragment of the friend, as leo's memory gives it back in a later dialogue."""
    forgotten, other, quoting = [await store.begin(new_dialog(f"dream-{number}")) for number in range(3)]
    said = 'a "quokka" \\ sails'
    await store.record(forgotten, replace(line(1), text=said), STARTED_AT)
    await store.recalled(other, ["a boat sails"])
    await store.recalled(quoting, ["at noon", f"once {said} by"])
    await store.record(quoting, replace(line(1), seed=f"at noon {said}"), STARTED_AT)
    for number in (forgotten, other, quoting):
        await store.finish(number, finish())
    asked = Asked(id=forgotten)
    gone, _ = await store.forget(await store.forgettable(asked), asked)
    assert gone.replays == 1
    assert await store.scrub()
    await store.close()
    assert b"quokka" not in path.read_bytes()
    assert rows(path, "SELECT recalled FROM dream_dialogs ORDER BY id") == [('["a boat sails"]',), (None,)]


def test_a_copy_for_whose_rewriting_there_is_no_room_is_named(small_disk: Path) -> None:
    copy = Path(shutil.copy(leo_database.BARE, small_disk / "dream.sqlite3.version-0-20260101T000000Z"))
    disk = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(disk.f_bavail * disk.f_frsize - 48 * 1024))
    with closing(sqlite3.connect(copy)) as connection:
        (number, at) = connection.execute("SELECT id, started_at FROM dream_dialogs").fetchone()
    dreams = [Dream(number, at, None)]
    assert forget_in(copy, partial(holds, dreams=dreams), partial(forget_in_copy, dreams=dreams, friend=True))
    with closing(sqlite3.connect(copy)) as connection:
        assert not holds(connection, dreams)


@pytest.mark.parametrize(
    "odd",
    [
        "dream_dialogs SET recalled = x'91FF'",
        "dream_turns SET seed = x'91FF'",
        "dream_turns SET text = x'91FF'",
        "dream_bootstrap_fragments SET text = x'91FF'",
        "dream_bootstrap_fragments SET added_at = ''",
        "dream_bootstrap_fragments SET dialog_id = 'x'",
        "dream_turns SET at = 1e308",
    ],
)
async def test_a_value_of_another_type_hinders_no_forgetting(store: Store, path: Path, odd: str) -> None:
    first, second = [await store.begin(new_dialog(f"dream-{number}")) for number in range(2)]
    for number in (first, second):
        await store.record(number, line(1), STARTED_AT)
        await store.recalled(number, ["a boat"])
    learned = [fragment(number, f"thing {number}", dialog=first) for number in (1, 2)]
    await store.finish(first, finish(change=change(added=tuple(learned))))
    await store.finish(second, finish())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE {odd}")
    asked = Asked(id=first, friend=True, everywhere=True)
    assert len(await store.shards_of(["dream-0", "dream-1"])) == 2
    gone, _ = await store.forget(await store.forgettable(asked), asked)
    assert gone.lines == 1
    assert await store.scrub()


class Compared(str):
    """A text that counts with how many others it was compared."""

    times = 0

    def __contains__(self, part: object) -> bool:
        self.times += 1
        return super().__contains__(part)

    def startswith(self, *about: Any) -> bool:
        self.times += 1
        return super().startswith(*about)


def test_a_text_is_compared_only_with_the_lines_that_begin_in_it() -> None:
    """A prune of years has 100,000 lines: compared one by one they kept the database for ten seconds."""
    lines = [f"{number} waves came to the shore" for number in range(10_000)]
    holds_one = quote_finder([*lines, "sea"])
    for text, expected in (
        (f"once {lines[77]} by", True),
        (f"once {lines[77][:-1]}", False),
        ("by the sea", True),
        ("se a", False),
        ("", False),
    ):
        compared = Compared(text)
        assert holds_one(compared) is expected, text
        assert compared.times <= 3, text
