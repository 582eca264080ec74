"""Which dream lines hold the longest runs of words: compared with a plain search through all lines."""

import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from dreamclient.messages import LINE_CHARS, LINES, MESSAGE_BYTES

from dreamd.errors import Refusal
from dreamd.store import search
from dreamd.store.schema import upgrade_in_place
from dreamd.store.store import Store
from tests.helpers.store_rows import STARTED_AT, line, new_dialog
from tests.store.conftest import OpenStore

SEED = 15
WORDS = [f"w{number}" for number in range(60)]


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Lines of few words, so that runs of all lengths stand in several of them."""
    rng = random.Random(SEED)
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 20))) for _ in range(600)]


@pytest.fixture(scope="module")
def indexed(said: list[str]) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        upgrade_in_place(connection, 0)
        for number, text in enumerate(said, 1):
            connection.execute(
                "INSERT INTO dream_turns (id, dialog_id, speaker, text) VALUES (?, ?, 'leo', ?)",
                (number, number, text),
            )
            search.index_line(connection, number, text)
        yield connection


def find_sources(connection: sqlite3.Connection, asked: str, n: int) -> list[dict[str, Any]]:
    """Return what is found if no time passes."""
    return search.find_sources(connection, asked, n, lambda: 0.0)


def holding(said: list[str], phrase: str) -> list[int]:
    return [number for number, text in enumerate(said, 1) if f" {phrase} " in f" {text} "]


def runs_of(said: list[str], asked: list[str]) -> list[str]:
    """Return the runs of two words and more that are part of no longer one, the longest first."""
    all_runs = [
        (start, end)
        for start in range(len(asked))
        for end in range(start + 2, len(asked) + 1)
        if holding(said, " ".join(asked[start:end]))
    ]
    whole = [
        run
        for run in all_runs
        if not any(other[0] <= run[0] and run[1] <= other[1] and other != run for other in all_runs)
    ]
    return [" ".join(asked[slice(*run)]) for run in sorted(whole, key=lambda run: run[0] - run[1])]


def test_finds_each_of_200_phrases_of_3_to_6_words(indexed: sqlite3.Connection, said: list[str]) -> None:
    rng = random.Random(SEED)
    for _ in range(200):
        words = rng.choice(said).split()
        size = min(len(words), rng.randint(3, 6))
        start = rng.randint(0, len(words) - size)
        phrase = " ".join(words[start : start + size])
        found = find_sources(indexed, phrase, 1000)
        assert {each["run"] for each in found} == {phrase}
        assert [each["id"] for each in found] == holding(said, phrase)[::-1]
        assert found[0]["text"] == said[found[0]["id"] - 1]


def test_finds_the_longest_runs_of_any_words(indexed: sqlite3.Connection, said: list[str]) -> None:
    rng = random.Random(SEED)
    for number in range(60):
        asked = rng.choices([*WORDS, "never", "said"], k=rng.randint(2, 8))
        for _ in range(number % 4):
            asked += rng.choice(said).split()[:4]
        runs = runs_of(said, asked)
        found = find_sources(indexed, " ".join(asked), 1000)
        assert list(dict.fromkeys(each["run"] for each in found)) == list(dict.fromkeys(runs)) or (
            {each["id"] for each in found} == {each for run in runs for each in holding(said, run)}
        )
        assert [len(each["run"].split()) for each in found] == sorted(
            (len(each["run"].split()) for each in found), reverse=True
        )
        assert len(find_sources(indexed, " ".join(asked), 3)) == min(3, len(found))


def test_a_run_has_two_words_unless_one_was_asked_for(indexed: sqlite3.Connection, said: list[str]) -> None:
    assert [each["id"] for each in find_sources(indexed, "w7", 1000)] == holding(said, "w7")[::-1]
    assert find_sources(indexed, "never w7 said", 10) == []
    assert find_sources(indexed, "never", 10) == []


def test_stops_after_its_time_with_what_it_has(indexed: sqlite3.Connection, said: list[str]) -> None:
    moments = itertools.count(0.0, search.RUNS_S / 3.5)
    first = said[0].split()[:3]
    asked = " ".join([*first, "never", *said[1].split()])
    found = search.find_sources(indexed, asked, 1000, lambda: next(moments))
    assert {each["run"] for each in found} == {" ".join(first)}


@pytest.mark.parametrize("asked", ["", "?!", '""'])
def test_refuses_a_question_without_a_word(indexed: sqlite3.Connection, asked: str) -> None:
    with pytest.raises(Refusal, match="no word"):
        find_sources(indexed, asked, 10)


@pytest.mark.parametrize("asked", ['w1 "w2', "w1 NOT w2", "w1* AND (w2", 'w1" OR "w2'])
def test_takes_any_words(indexed: sqlite3.Connection, asked: str) -> None:
    for each in find_sources(indexed, asked, 10):
        assert each["run"] in search.words_of(asked)


async def test_answers_not_kept_without_diagnostics(path: Path, open_store: OpenStore):
    store = await open_store(path)
    number = await store.begin(new_dialog())
    await store.record(number, line(1, "Who keeps the roof?"), STARTED_AT)
    for asked in ("KEEPS the roof", "keeps the roof, tonight"):
        found = await store.whence(asked, 5)
        assert [(each["text"], each["run"]) for each in found] == [("Who keeps the roof?", "keeps the roof")]
    await store.close()
    store = await open_store(path, diagnostics=False)
    for find in (store.whence, store.search):
        with pytest.raises(Refusal, match=r"not kept: store\.diagnostics"):
            await find("roof", 1)
    await store.tidy()
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM dream_search")
        for find_in in (find_sources, search.find_lines):
            with pytest.raises(Refusal, match=r"not kept"):
                find_in(connection, "roof", 1)


async def test_an_empty_store_holds_no_run(store: Store):
    assert await store.whence("keeps the roof", 5) == []


def long_lines(connection: sqlite3.Connection, count: int) -> None:
    for number in range(1, count + 1):
        text = f"the roof {chr(0x1F600) * 5000}"  # four bytes each, as another program may have stored it
        connection.execute(
            "INSERT INTO dream_turns (id, dialog_id, speaker, text) VALUES (?, ?, 'leo', ?)",
            (number, number, text),
        )
        search.index_line(connection, number, text)


def test_long_lines_fit_into_one_message_and_the_next_page_goes_on() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        upgrade_in_place(connection, 0)
        long_lines(connection, 400)
        whence, found = list[dict[str, Any]](), list[dict[str, Any]]()
        for _ in range(3):
            first = search.find_sources(connection, "the roof", 400, lambda: 0.0, len(whence))
            found_first = search.find_lines(connection, "roof", 400, found[-1]["id"] if found else None)
            for page in (first, found_first):
                assert len(msgspec.msgpack.encode(page)) < MESSAGE_BYTES
                assert {len(each["text"]) for each in page} <= {LINE_CHARS}
            assert len(first) >= LINES or len(whence) + len(first) == 400
            whence += first
            found += found_first
        assert [each["id"] for each in whence] == [each["id"] for each in found] == [*range(400, 0, -1)]
