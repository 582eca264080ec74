"""The links that the diet takes as known to leo."""

from types import SimpleNamespace

import pytest
from dreamclient.leo.diet import Diet, KnownToLeo


@pytest.fixture
def leo():
    return SimpleNamespace(
        bigrams={"red": {"boat": 3, "house": 1}, "Red": {"sky": 1}},
        trigrams={("red", "boat"): {"sails": 2}, ("blue", "boat"): {"waits": 1}},
    )


def test_the_ways_on_from_a_word_and_from_a_pair(leo):
    known = KnownToLeo().now(leo)
    assert known.after("red") == {"boat": 3, "house": 1}
    assert known.after("Red") == {"sky": 1}
    assert known.after("red", "boat") == {"sails": 2}
    assert known.after("boat") == known.after("green") == known.after("green", "boat") == {}


def test_a_word_counts_as_often_as_something_followed_it(leo):
    known = KnownToLeo().now(leo)
    assert (known.count("red"), known.count("boat"), known.count("green")) == (4, 0, 0)


def test_knows_fed_links_before_leo_has_read_them(leo):
    known = KnownToLeo().now(leo)
    known.fed(["red", "boat", "sails", "far"])
    known.fed(["red", "boat", "sinks"])
    known = known.now(leo)
    assert known.after("red") == {"boat": 5, "house": 1}
    assert known.after("red", "boat") == {"sails": 3, "sinks": 1}
    assert known.after("boat", "sails") == {"far": 1}
    assert known.count("red") == 6
    assert leo.trigrams["red", "boat"] == {"sails": 2}, "leo's own tables are read only"


def test_counts_fed_links_once_when_leo_has_read_them(leo):
    known = KnownToLeo().now(leo)
    known.fed(["red", "boat", "sails"])
    leo.bigrams = {"red": {"boat": 4, "house": 1}}
    leo.trigrams = {("red", "boat"): {"sails": 3}}
    known = known.now(leo)
    assert known.after("red", "boat") == {"sails": 3}
    assert known.count("red") == 5


def test_counts_a_word_again_for_each_line(leo):
    known = KnownToLeo().now(leo)
    assert known.count("red") == 4
    leo.bigrams["red"]["hat"] = 5
    assert known.count("red") == 4
    assert known.now(leo).count("red") == 9


def test_feeds_a_leo_of_the_first_days_who_has_no_triples():
    early = SimpleNamespace(bigrams={"red": {"boat": 3}})
    known = KnownToLeo().now(early)
    known.fed(["red", "boat", "sails"])
    known = known.now(early)
    assert (known.after("red", "boat"), known.after("boat")) == ({"sails": 1}, {"sails": 1})
    early.bigrams = {"red": {"boat": 4}, "boat": {"sails": 1}}
    assert known.now(early).after("red", "boat") == {}  # he has read it
    assert Diet().portions(["red", "boat", "sails", "far"], known) == ["red boat sails far"]
