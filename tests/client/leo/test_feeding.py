"""Feeding a line into leo's tables, and taking it out again: row for row, once, and never below zero."""

import sqlite3
from contextlib import closing

import msgpack
import pytest
from dreamclient.leo import feeding
from dreamclient.leo.feeding import drop_marks, ingest, undo_line

from tests.helpers.leo_field import counts_of, forget_some, ingest_text, make_field, rows_of, talk

META = {"trace_id": "dream-1", "turn": 1, "field": "a field"}
LINE = "the stones remember the lamp and the river remembers"


@pytest.fixture
def field(tmp_path):
    return make_field(tmp_path / "leo.sqlite3")


def fed(field, *texts):
    """Feed texts, and return what they added as it comes back over the wire."""
    return msgpack.unpackb(msgpack.packb(ingest(field, texts, ingest_text)))


def meta(turn=1, trace="dream-1"):
    return META | {"turn": turn, "trace_id": trace}


def test_undone_line_leaves_the_rows_that_were_there_before(field):
    before = rows_of(field)
    added = fed(field, LINE, "the river keeps the lamp")
    assert len(rows_of(field)["tokens"]) == len(before["tokens"]) + 2
    assert undo_line(field, added, META) == 0
    drop_marks(field, META)
    assert rows_of(field) == before


def test_says_what_was_added_in_leo_s_own_numbers(tmp_path):
    field = make_field(tmp_path / "leo.sqlite3", "a b")
    assert fed(field, "a b c") == {
        "keys": [1, 2, 3],
        "bigrams": [0, 1, 1, 1, 2, 1],
        "co_occurrence": [0, 1, 1, 0, 2, 2, 1, 0, 1, 1, 2, 2, 2, 0, 2, 2, 1, 2],
        "tokens": [2],
        "trigrams": [0, 1, 2, 1],
    }


def test_p3_repeated_call_changes_nothing_until_the_marks_are_dropped(field):
    added = fed(field, LINE)
    fed(field, LINE)
    assert undo_line(field, added, META) == 0
    once = rows_of(field)
    assert undo_line(field, added, META) == 0
    assert rows_of(field) == once
    assert ("dreamd.undone:dream-1:1", "0") in once["meta"]
    drop_marks(field, meta(trace="dream-2"))
    assert rows_of(field) == once
    drop_marks(field, META)
    assert {key for key, _ in rows_of(field)["meta"]} == {"dreamd_field", feeding.KEPT}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_lines_are_undone_in_any_order(field, order):
    """A word that the first line brought is used by the others: it goes with the last of them."""
    before = rows_of(field)
    lines = [fed(field, text) for text in (LINE, "a whale remembers the stones", "a whale and a whale")]
    for number in order:
        assert undo_line(field, lines[number], meta(number + 1)) == 0
    drop_marks(field, META)
    assert rows_of(field) == before


def test_talk_in_between_stays(tmp_path, field):
    added = fed(field, LINE)
    said = "the stones remember a whale, and the whale remembers the river"
    talk(field, said)
    undo_line(field, added, META)
    twin = make_field(tmp_path / "twin.sqlite3")
    talk(twin, said)
    left, expected = counts_of(field), counts_of(twin)
    assert left["bigrams"] == expected["bigrams"]
    assert left["trigrams"] == expected["trigrams"]
    assert {row[1] for row in rows_of(field)["tokens"]} == {row[1] for row in rows_of(twin)["tokens"]}


def test_decay_in_between_is_said_and_nothing_falls_below_zero(field):
    added = fed(field, LINE)
    with closing(sqlite3.connect(field)) as connection:
        forget_some(connection)
    missing = undo_line(field, added, META)
    assert missing > 0
    assert undo_line(field, added, META) == missing
    assert all(count > 0 for counts in counts_of(field).values() for count in counts.values())


def test_another_field_is_not_touched(field):
    added, before = fed(field, LINE), rows_of(field)
    for call in (lambda about: undo_line(field, added, about), lambda about: drop_marks(field, about)):
        with pytest.raises(LookupError, match="another field"):
            call(META | {"field": "of another"})
    assert rows_of(field) == before


@pytest.mark.parametrize("step", ["_subtract", "_delete_words"])
def test_p3_nothing_is_subtracted_when_it_fails_in_the_middle(field, monkeypatch, step):
    added, before = fed(field, LINE), rows_of(field)
    real = getattr(feeding, step)

    def breaks(*arguments):
        real(*arguments)
        raise OSError

    with monkeypatch.context() as patched:
        patched.setattr(feeding, step, breaks)
        with pytest.raises(OSError):
            undo_line(field, added, META)
    assert rows_of(field) == before
    assert undo_line(field, added, META) == 0


def test_unknown_tables_are_fed_and_nothing_is_said_to_be_added(tmp_path):
    path = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE words (word)")
    assert ingest(path, ["a"], lambda to, text: to.execute("INSERT INTO words VALUES (?)", (text,))) == {}
