"""The words that dreams brought: what a line adds to the origin and to earlier replies, and what of it a reply says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dreamd.dream import dream_words
from dreamd.dream.dream_words import BroughtLine, DreamWords, WordNumbers
from dreamd.dream.measures import split_words

KEY = b"k" * 16


def words(**most: int) -> DreamWords:
    return DreamWords(WordNumbers(KEY), **most)


def triples(text: str) -> list[int]:
    return WordNumbers(KEY).triples_of(text)


def reply_of(known: DreamWords, field: str, text: str) -> tuple[int, list[int]]:
    return known.of_reply(field, split_words(text))


def test_a_line_brings_what_neither_origin_nor_reply_nor_line_had() -> None:
    known = words()
    origin = frozenset(triples("the sea is wide"))
    assert reply_of(known, "f", "a cat sat on the mat") == (4, [])
    line = "The sea is wide, a cat sat here now"  # tse sii siw iwa wac acs csh shn
    assert known.of_line("f", 7, line, origin) == [2, 3, 5, 6]
    assert known.of_line("f", 8, "is wide a cat; sat here now then", origin) == [5]
    assert reply_of(known, "f", "IS WIDE A and sat here now") == (5, [7, 7])
    assert reply_of(known, "g", "is wide a") == (1, [])


def test_what_a_dream_brought_stays_its_own_after_a_reply_said_it() -> None:
    known = words()
    known.of_line("f", 1, "one two three", frozenset())
    for _ in range(3):
        assert reply_of(known, "f", "one two three") == (1, [1])
    assert known.of_line("f", 2, "one two three four", frozenset()) == [1]


def test_a_reply_under_three_words_has_no_triples() -> None:
    assert [reply_of(words(), "f", text) for text in ("", "?!", "one two")] == [(0, [])] * 3


@given(st.text(), st.text())
def test_takes_any_text(reply: str, line: str) -> None:
    known = words()
    assert reply_of(known, "f", reply)[0] == len(triples(reply))
    places = known.of_line("f", 1, line, frozenset())
    assert {triples(line)[place] for place in places} == {*triples(line)} - {*triples(reply)}


def test_the_oldest_leave_and_fields_share_the_room() -> None:
    known = words(brought=10, said=10)
    for number in range(20):
        known.of_line("f", number, f"{number} a b", frozenset())
    assert [reply_of(known, "f", f"{number} a b")[1] for number in (9, 10, 19)] == [[], [10], [19]]
    reply_of(known, "g", "x y z")
    assert [reply_of(known, "f", f"{number} a b")[1] for number in (14, 15)] == [[], [15]]
    for number in range(40):
        reply_of(known, "f", f"{number} said once")
    assert known.of_line("f", 99, "3 said once", frozenset()) == [0]  # long gone
    assert known.of_line("f", 99, "39 said once", frozenset()) == []


def test_memory_is_bounded_whatever_is_said_and_by_whom(monkeypatch) -> None:
    monkeypatch.setattr(dream_words, "FIELDS", 8)
    monkeypatch.setattr(dream_words, "KNOWN_WORDS", 100)
    known = words(brought=64, said=64)
    for number in range(500):
        name, text = f"f{number % 20}", " ".join(f"w{number}x{place}" for place in range(9))
        reply_of(known, name, text + " " + "y" * 4000)
        known.of_line(name, number, text + " z", frozenset())
    held = known._fields.values()
    assert len(held) == 8
    assert sum(len(own.brought) for own in held) <= 64
    assert sum(len(own.said) for own in held) <= 80  # trimmed when a quarter is too much
    assert len(known.numbers) <= 100
    assert max(map(len, known.numbers)) <= dream_words.WORD_CHARS


@given(st.lists(st.tuples(st.lists(st.integers(0, 99)), st.integers(1, 40)), max_size=8))
def test_knows_each_triple_of_earlier_replies(steps: list[tuple[list[int], int]]) -> None:
    """Blocks of them are sorted at once, and the oldest leave by blocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dream_words, "BLOCK", 8)
        own, all_said = dream_words._FieldWords(), list[int]()
        for said, room in steps:
            own.said.extend(said)
            all_said += said
            assert own.said_among(range(100)) == {*own.said}
            own.trim(0, room)
            assert own.said_among(range(100)) == {*own.said}
            assert list(own.said) == all_said[len(all_said) - len(own.said) :]
            assert min(room, len(all_said)) <= len(own.said) <= room + 7
            all_said = list(own.said)


def test_takes_back_what_a_dialogue_brought() -> None:
    known = words()
    known.of_line("f", 1, "one two three", frozenset())
    known.of_line("f", 2, "four five six", frozenset())
    known.take_back({1})
    assert reply_of(known, "f", "one two three four five six") == (4, [2])


def test_numbers_are_the_same_with_the_same_key_alone() -> None:
    # Python's own hash of a text differs in each process: these numbers may not depend on it.
    assert triples("the sea is wide") == [-5864629462801110186, 5364269127643672162]
    assert WordNumbers(b"other").triples_of("the sea is wide") != triples("the sea is wide")


def test_restores_what_was_stored() -> None:
    known, origin = words(), frozenset(triples("the sea is"))
    known.restore(
        [
            BroughtLine(1, "f", triples("the sea is wide"), None),  # of an older version: not known
            BroughtLine(2, "f", triples("sea is wide open"), [1, 99]),
            BroughtLine(3, "f", triples("is wide open wide"), [0, 1]),  # the first of them came before
        ],
        origin,
    )
    assert reply_of(known, "f", "the sea is wide open wide") == (4, [1, 2, 3])
    said = words()
    reply_of(said, "f", "one two three")
    reply_of(said, "g", "four five six")
    taken = said.take_said()
    assert taken == [("f", taken[0][1]), ("g", taken[1][1])]
    assert said.take_said() == []
    said.give_back(taken)
    reply_of(said, "f", "seven eight nine")
    taken = said.take_said()
    known.restore_said(taken)
    assert known.of_line("f", 9, "one two three seven eight nine new", origin) == [1, 2, 4]
    assert known.of_line("g", 9, "one two three four five six", origin) == [0, 1, 2]
