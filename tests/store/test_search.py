"""The search index: words as the measures split them, and always in step with the lines."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamd.dream.measures import split_words
from dreamd.errors import Refusal
from dreamd.store import search
from dreamd.store.file.files import read_contents
from dreamd.store.schema import MIGRATIONS, check_contents, is_dreamds, upgrade_in_place
from dreamd.store.store import Store
from tests.helpers.frozen import unpack
from tests.helpers.store_rows import STARTED_AT, finish, line, new_dialog, one_dream
from tests.store.conftest import OpenStore


async def say(store: Store, *texts: str) -> int:
    number = await store.begin(new_dialog(f"dream-{len(texts)}"))
    said = [line(turn, text) for turn, text in enumerate(texts, 1)]
    for each in said:
        await store.record(number, each, STARTED_AT + each.turn)
    await store.finish(number, finish(*said))
    return number


SAID = (
    "Who keeps the roof?",
    "THE ROOF keeps nothing, don't ask",
    "snake_case dreams of 1984",
    "Straße und Café",
    "roofs and lighthouses",
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("roof", [2, 1]),
        ("ROOF keeps", [2, 1]),
        ('"keeps the roof"', [1]),
        ('"the roof keeps"', [2]),
        ("roof*", [5, 2, 1]),
        ("light*", [5]),
        ("light", []),
        ("don't", [2]),
        ("don t", []),
        ("snake_case", [3]),
        ("snake", []),
        ("1984", [3]),
        ("STRASSE", [4]),
        ("cafe", [4]),
        ("cafe\u0301", [4]),  # the same letter in two characters
        ("roof AND keeps", []),  # no operator: `and` is a word
        ("words:roof", []),
        ("roof NOT", []),
        ("who? keeps!", [1]),
    ],
)
async def test_finds_words_as_the_measures_split_them(store: Store, asked: str, found: list[int]):
    dialog = await say(store, *SAID)
    lines = await store.search(asked, 20)
    assert [each["turn"] for each in lines] == found
    assert all(each["text"] == SAID[each["turn"] - 1] and each["dialog"] == dialog for each in lines)


@pytest.mark.parametrize("asked", ["", " ", "?!", '""', '"*"', "*"])
async def test_refuses_a_search_without_a_word(store: Store, asked: str):
    with pytest.raises(Refusal, match="no word"):
        await store.search(asked, 20)


async def test_pages_go_backwards(store: Store):
    await say(store, "roof one", "roof two", "no", "roof three")
    first = await store.search("roof", 2)
    rest = await store.search("roof", 2, first[-1]["id"])
    assert [each["turn"] for each in first + rest] == [4, 2, 1]


@given(st.text(min_size=1), st.text())
def test_finds_each_word_of_any_text(text: str, other: str):
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        upgrade_in_place(connection, 0)
        for number, said in enumerate((text, other), 1):
            try:
                connection.execute(
                    "INSERT INTO dream_turns (id, speaker, text) VALUES (?, 'leo', ?)", (number, said)
                )
            except UnicodeEncodeError:  # half a surrogate pair: no line can hold it
                return
            search.index_line(connection, number, said)
        for word in {*split_words(text)}:
            if search.words_of(word):
                assert 1 in [each["id"] for each in search.find_lines(connection, f'"{word}"', 10)]


async def test_stores_a_line_and_its_entry_in_one_transaction(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
):
    number = await store.begin(new_dialog())

    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("no room")

    monkeypatch.setattr(search, "index_line", broken)
    with pytest.raises(Exception, match="refused"):
        await store.record(number, line(1, "roof"), STARTED_AT)
    assert (await store.get(number))["turns"] == []


@pytest.mark.parametrize("forgotten", [1, 40, 80])
def test_no_segment_holds_a_word_of_a_forgotten_line(forgotten: int):
    """The index has segments of every age, since each line was a transaction."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        upgrade_in_place(connection, 0)
        for number in range(1, 81):
            said = "quokka zeppelin" if number == forgotten else f"the roof {number} keeps"
            connection.execute(
                "INSERT INTO dream_turns (id, dialog_id, speaker, text) VALUES (?, ?, 'leo', ?)",
                (number, number, said),
            )
            search.index_line(connection, number, said)
        search.forget_lines(connection, f"[{forgotten}]")
        segments = b"".join(block for (block,) in connection.execute("SELECT block FROM dream_search_data"))
        assert b"roof" in segments
        assert b"uokka" not in segments
        assert b"eppelin" not in segments
        assert len(search.find_lines(connection, "roof", 100)) == 79
        connection.execute("INSERT INTO dream_search (dream_search) VALUES ('integrity-check')")


async def test_makes_no_index_without_diagnostics(path: Path, open_store: OpenStore):
    store = await open_store(path)
    await say(store, "lighthouse")
    await store.close()
    store = await open_store(path, diagnostics=False)
    await one_dream(store, "dream-x")
    with pytest.raises(Refusal, match=r"not kept: store\.diagnostics"):
        await store.search("lighthouse", 1)
    for number in (1, 2):
        await store.shard_written(number, STARTED_AT)
    await store.tidy()
    await store.close()
    assert b"lighthouse" not in path.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM dream_search").fetchone() == (0,)


async def test_recognises_the_search_tables_as_dreamds(store: Store, path: Path):
    await say(store, "roof")
    await store.close()
    contents = read_contents(path)
    assert {name for name in contents.tables if name.startswith("dream_search")} > {"dream_search"}
    check_contents(contents)
    assert is_dreamds(contents)


@pytest.mark.parametrize(
    ("data", "asked", "count"),
    [("state_0_1", "leo", None), ("state_schema_3", "STRASSE", 2), ("state_schema_4", "STRASSE", 19)],
)
async def test_finds_the_lines_of_an_older_database(
    tmp_path: Path, open_store: OpenStore, data: str, asked: str, count: int | None
):
    path = unpack(tmp_path, data) / "dream.sqlite3"
    assert read_contents(path).version < len(MIGRATIONS)
    store = await open_store(path)
    assert any("migrated" in note for note in store.notes)
    with closing(sqlite3.connect(path)) as connection:
        indexed = connection.execute("SELECT rowid FROM dream_search ORDER BY rowid").fetchall()
        lines = connection.execute("SELECT id FROM dream_turns WHERE text <> '' ORDER BY id").fetchall()
    assert indexed == lines != []
    if count is not None:
        assert len(await store.search(asked, 20)) == count
