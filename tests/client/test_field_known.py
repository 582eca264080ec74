"""What leo's database tells his diet, on tables as leo makes them."""

import sqlite3

import pytest

from dreamclient.field_known import WAYS, KnownToLeo

_TABLES = """
    CREATE TABLE tokens (id INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT UNIQUE);
    CREATE TABLE bigrams (src_id INTEGER, dst_id INTEGER, count INTEGER, PRIMARY KEY (src_id, dst_id));
    CREATE TABLE trigrams (first_id INTEGER, second_id INTEGER, third_id INTEGER, count INTEGER,
                           PRIMARY KEY (first_id, second_id, third_id));
"""


@pytest.fixture
def database():
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.executescript(_TABLES)
    yield connection
    connection.close()


def put(database, *words, times=1):
    for word in words:
        database.execute("INSERT OR IGNORE INTO tokens (token) VALUES (?)", (word,))
    ids = [database.execute("SELECT id FROM tokens WHERE token = ?", (word,)).fetchone()[0] for word in words]
    table = "bigrams" if len(ids) == 2 else "trigrams"
    database.execute(f"INSERT INTO {table} VALUES ({'?, ' * len(ids)}?)", (*ids, times))


def test_the_ways_on_from_a_word_and_from_a_pair(database):
    put(database, "red", "boat", times=3)
    put(database, "red", "house")
    put(database, "red", "boat", "sails", times=2)
    put(database, "blue", "boat", "waits")
    known = KnownToLeo(database)
    assert known.after("red") == {"boat": 3, "house": 1}
    assert known.after("red", "boat") == {"sails": 2}
    assert known.after("boat") == known.after("green") == known.after("green", "boat") == {}


def test_case_is_told_apart_as_leo_does(database):
    put(database, "Red", "boat")
    assert KnownToLeo(database).after("red") == {}


def test_a_word_counts_as_often_as_something_followed_it(database):
    put(database, "red", "boat", times=3)
    put(database, "red", "house")
    known = KnownToLeo(database)
    assert (known.count("red"), known.count("boat"), known.count("green")) == (4, 0, 0)


def test_the_most_trodden_of_many_ways(database):
    for way in range(WAYS + 10):
        put(database, ".", f"word{way}", times=way + 1)
        put(database, "end", ".", f"word{way}", times=way + 1)
    known = KnownToLeo(database)
    for ways in (known.after("."), known.after("end", ".")):
        assert len(ways) == WAYS
        assert min(ways.values()) == 11


def test_it_sees_what_was_fed_since(database):
    known = KnownToLeo(database)
    assert known.after("red", "boat") == {}
    put(database, "red", "boat", "sails")
    assert known.after("red", "boat") == {"sails": 1}


def test_a_word_is_counted_once_for_a_line(database):
    asked = []
    database.set_trace_callback(asked.append)
    known = KnownToLeo(database)
    assert [known.count("red") for _ in range(3)] == [0, 0, 0]
    assert len(asked) == 1
