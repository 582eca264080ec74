"""What is kept of replies: counts, numbers of triples within their bound, and the places that lines brought."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dreamd.dream.dream_words import DreamWords, WordNumbers
from dreamd.store import reply_shares
from dreamd.store.records import ReplyShare
from dreamd.store.store import Store
from tests.helpers.store_rows import STARTED_AT, finish, line, new_dialog
from tests.store.conftest import OpenStore


async def taken(
    store: Store, text: str, brought: list[int] | None, *, trace: str = "t", **fields: str
) -> int:
    number = await store.begin(new_dialog(trace, **fields))
    said = line(1, text)
    await store.record(number, said, STARTED_AT)
    await store.observed(number, said, "answered", brought)
    await store.finish(number, finish(said))
    return number


def share(**fields: object) -> ReplyShare:
    return ReplyShare(**{"days": {}, "spoken": {}, "said": []} | fields)  # type: ignore[arg-type]


async def test_returns_the_lines_that_fields_took(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reply_shares, "PAGE_LINES", 2)
    numbers = await store.word_numbers()
    for place in range(5):
        await taken(store, f"one two three {place}", [place], trace=f"t{place}", field="F" if place else None)
    refused = await store.begin(new_dialog("refused"))
    await store.record(refused, line(1), STARTED_AT)
    await store.observed(refused, line(1), "refused")
    found = await store.brought_lines(numbers, 100)
    assert [(each.dialog, each.field, each.new) for each in found] == [
        (1, "leo", [0]), (2, "F", [1]), (3, "F", [2]), (4, "F", [3]), (5, "F", [4]),
    ]  # fmt: skip
    assert found[4].triples == numbers.triples_of("one two three 4")
    assert [each.dialog for each in await store.brought_lines(numbers, 3)] == [3, 4, 5]


async def test_reads_lines_of_an_older_version_and_spoilt_ones(store: Store, path: Path):
    await taken(store, "one two three", None)
    await taken(store, "four five six", [0], trace="spoilt")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE dream_turns SET brought = x'ff', text = CAST(x'ff20' AS TEXT) WHERE id = 2")
        database.execute("INSERT INTO dream_said (field, triples) VALUES (7, x'ff'), ('leo', 'text')")
        database.execute("UPDATE dream_meta SET value = NULL WHERE key = ?", (reply_shares.WORDS_KEY,))
    numbers = await store.word_numbers()
    found = await store.brought_lines(numbers, 10)
    assert [each.new for each in found] == [None, None]
    words = DreamWords(numbers)
    words.restore(found, frozenset())
    words.restore_said(await store.said_triples())
    assert words.of_reply("leo", ["one", "two", "three"]) == (1, [1])


async def test_the_key_is_of_the_database(store: Store, path: Path, open_store: OpenStore, tmp_path: Path):
    numbers = (await store.word_numbers()).triples_of("one two three")
    await store.close()
    again = await open_store(path)
    assert (await again.word_numbers()).triples_of("one two three") == numbers
    other = await open_store(tmp_path / "other.sqlite3")
    assert (await other.word_numbers()).triples_of("one two three") != numbers


async def test_adds_counts_up(store: Store):
    first, second = await taken(store, "one two three", [0]), await taken(store, "four", [], trace="u")
    for _ in range(2):
        await store.keep_share(
            share(
                days={"2026-11-29": (1, 10, 0), "2026-11-30": (2, 50, 5)}, spoken={first: 1, second: 4, 99: 7}
            )
        )
    stats = await store.stats()
    assert stats["replies"] == {"replies": 6, "triples": 120, "from_dreams": 10}
    assert stats["reply_days"] == {
        "2026-11-29": {"replies": 2, "triples": 20, "from_dreams": 0},
        "2026-11-30": {"replies": 4, "triples": 100, "from_dreams": 10},
    }
    assert stats["speakers"] == [{"dialog": second, "triples": 8}, {"dialog": first, "triples": 2}]


async def test_keeps_the_triples_of_the_last_replies(store: Store, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reply_shares, "SAID", 4)
    for number in range(9):
        await store.keep_share(share(said=[("leo", bytes([number]) * 8)]))
    assert [triples[0] for _, triples in await store.said_triples()] == [5, 6, 7, 8]


async def test_keeps_no_triples_without_diagnostics(path: Path, open_store: OpenStore):
    store = await open_store(path)
    await store.keep_share(share(said=[("leo", b"12345678")]))
    await store.close()
    store = await open_store(path, diagnostics=False)
    await store.keep_share(share(days={"2026-11-30": (1, 1, 0)}, said=[("leo", b"12345678")]))
    await store.tidy()
    assert await store.said_triples() == []
    assert (await store.stats())["replies"]["replies"] == 1


async def test_a_dialogue_that_was_taken_back_brought_nothing(store: Store, path: Path):
    for number in (1, 2):
        await taken(store, "one two three", [0], trace=f"t{number}")
    with closing(sqlite3.connect(path)) as database, database:
        reply_shares.take_back_words(database, [1])
    found = await store.brought_lines(WordNumbers(b""), 10)
    assert [each.new for each in found] == [[], [0]]
