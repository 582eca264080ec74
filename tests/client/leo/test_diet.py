"""The diet chooses the parts of a dream that reach leo's field."""

import re
from collections import Counter

import pytest
from dreamclient.leo.diet import Diet, KnownToLeo


class Heard:
    """A field in memory, told apart like leo's own: words and marks, their pairs and triples."""

    def __init__(self, *texts: str, origin: str = "") -> None:
        self.ways: dict[tuple[str, ...], Counter[str]] = {}
        self.origin = KnownToLeo(tokens(origin)).origin
        for text in texts:
            self.hear(text)

    def hear(self, text: str) -> None:
        words = tokens(text)
        for reach in (2, 3):
            for link in zip(*(words[start:] for start in range(reach)), strict=False):
                self.ways.setdefault(link[:-1], Counter())[link[-1]] += 1

    def after(self, *words: str) -> Counter[str]:
        return self.ways.get(words, Counter())

    def count(self, word: str) -> int:
        return self.after(word).total()

    def links(self) -> Counter[tuple[str, ...]]:
        return Counter({(*way, word): n for way, row in self.ways.items() for word, n in row.items()})


def tokens(text: str) -> list[str]:
    return re.findall(r"[a-z']+|[.,]", text)


def portions(line: str, field: Heard, diet: Diet | None = None) -> list[str]:
    return (diet or Diet()).portions(tokens(line), field)


def test_nothing_that_is_known_is_fed_again():
    field = Heard("the old house stands by the river .")
    assert portions("the old house stands by the river .", field) == []


def test_a_line_that_was_fed_is_refused_when_it_is_said_again():
    field = Heard("the old house stands by the river .")
    line = "the old house sleeps under snow ."
    assert portions(line, field)
    for portion in portions(line, field):
        field.hear(portion)
    assert portions(line, field) == []


def test_only_the_pieces_that_are_new_are_fed_and_apart_from_each_other():
    field = Heard("a small bird sings at dawn and then the long day begins .")
    assert portions("a small bird waits at dawn and then the long day ends .", field) == [
        "small bird waits at dawn",  # each link that holds the new word
        "long day ends .",
    ]


def test_feeding_a_line_strengthens_no_link_of_three_words():
    field = Heard("one two three four five six seven .", "three four nine ten .")
    before = field.links()
    for portion in portions("one two three four nine six seven .", field):
        field.hear(portion)
    assert all(field.links()[link] == times for link, times in before.items() if len(link) == 3)
    assert len(field.links()) > len(before)


@pytest.mark.parametrize(("times", "taken"), [(1, True), (4, True), (5, False), (9, False)])
def test_a_way_that_was_gone_once_is_joined_by_none_to_a_word_over_twice_as_common(times, taken):
    field = Heard("red boat sails .", "sails far .", *["gold falls ."] * times)
    assert field.count("sails") == 2
    assert portions("red boat gold", field) == (["red boat gold"] if taken else [])


@pytest.mark.parametrize(
    ("gone", "times", "taken"), [(3, 9, True), (3, 10, False), (9, 54, True), (9, 55, False)]
)
def test_the_more_often_the_ways_were_gone_the_more_common_a_word_may_join_them(gone, times, taken):
    field = Heard(*["red boat sails ."] * gone, *["gold falls ."] * times)
    assert field.count("sails") == gone  # he comes to words 1.5 times as common: (3 * 3 + 9) / 4 over 3
    assert portions("red boat gold", field) == (["red boat gold"] if taken else [])


def test_the_ways_there_are_weighed_by_how_often_they_are_taken():
    # now and then to a common word, mostly to a rare one: the mean is near the rare one
    field = Heard(
        *["red boat sails ."] * 1, *["red boat waits ."] * 9, *["sails on ."] * 99, *["gold falls ."] * 120
    )
    assert field.count("sails") == 100
    assert field.count("waits") == 9
    assert portions("red boat gold", field) == []  # 120 is over 6.5 times 18.1, and under that of 54.5


def test_a_pair_that_leads_nowhere_yet_goes_to_no_more_common_word_than_its_second_alone():
    field = Heard(
        *[f"boat {way} on ." for way in ("sails", "waits", "sinks", "lies")] * 3, *["gold falls ."] * 4
    )
    assert field.after("green", "boat") == {}
    assert field.count("sails") == 3
    assert portions("green boat gold", field) == []
    assert portions("green boat sails", field) == ["green boat sails"]


@pytest.mark.parametrize(("ways", "taken"), [(0, True), (3, True), (4, False)])
def test_takes_any_new_way_if_there_are_few(ways, taken):
    names = ("sails", "waits", "sinks", "lies")[:ways]
    field = Heard(*(f"boat {way} on ." for way in names), *["gold falls ."] * 50)
    assert portions("green boat gold", field) == (["green boat gold"] if taken else [])


@pytest.mark.parametrize(("ways", "taken"), [(64, True), (65, False)])
def test_a_word_that_may_go_on_in_many_ways_is_not_tied_to_one(ways, taken):
    field = Heard(*(f"boat way{'s' * n} on ." for n in range(ways)))
    assert portions("green boat way", field) == (["green boat way"] if taken else [])


def test_words_that_nothing_ever_followed_count_as_heard_once():
    field = Heard("red boat")
    field.ways["red", "boat"] = Counter({"end": 1})
    field.hear("gold falls")
    assert field.count("end") == 0
    assert portions("red boat gold", field) == ["red boat gold"]
    field.hear("gold falls down gold falls")
    assert portions("red boat gold", field) == []


def test_a_line_under_three_words_has_no_link():
    assert portions("", Heard()) == portions("green boat", Heard()) == []


def test_an_empty_field_takes_all():
    assert portions("green boat sails .", Heard()) == ["green boat sails ."]


def test_each_bound_can_be_set():
    field = Heard("red boat sails .", *["gold falls ."] * 9)
    assert portions("red boat gold", field) == []
    assert portions("red boat gold", field, Diet(common=9)) == ["red boat gold"]
    field = Heard(*(f"boat {way} on ." for way in ("sails", "waits", "sinks", "lies")), *["gold falls ."] * 9)
    assert portions("green boat gold", field) == []
    assert portions("green boat gold", field, Diet(common_alone=9)) == ["green boat gold"]
    assert portions("green boat gold", field, Diet(few=4)) == ["green boat gold"]
    field = Heard(*(f"boat {way} on ." for way in ("sails", "waits", "sinks", "lies")))
    assert portions("green boat sails", field, Diet(many=4)) == ["green boat sails"]
    assert portions("green boat sails", field, Diet(many=3)) == []


# --- his origin

BORN = "leo listens to you ."


@pytest.mark.parametrize(("others", "told"), [(2, False), (3, True), (9, True)])
def test_tells_him_his_origin_once_if_he_says_it_too_rarely(others, told):
    field = Heard(BORN, *["she listens to him ."] * others, origin=BORN)
    for line in ("leo listens to you", "she listens to him", "she listens to"):
        assert portions(line, field) == ["listens to you"] * told
    assert portions("she listens to him and she listens to him", field).count("listens to you") == told
    field.origin = {}
    assert portions("leo listens to you", field) == []


def test_stops_telling_his_origin_at_its_share():
    field = Heard(BORN, *["she listens to him ."] * 50, origin=BORN)
    told = []
    while fed := portions("she listens to him", field):
        told += fed
        for portion in fed:
            field.hear(portion)
    assert told == ["listens to you"] * 21
    assert field.after("listens", "to") == {"you": 22, "him": 50}  # 0.306


def test_all_the_ways_of_his_origin_on_from_two_words_count_together():
    born = "the field grew . the field speaks . the field grew ."
    field = Heard(born, *["the field waits ."] * 7, origin=born)
    assert portions("the field waits", field) == []
    field.hear("the field waits .")
    assert portions("the field waits", field) == ["the field grew", "the field speaks"]


def test_his_origin_follows_what_is_new_in_the_line():
    field = Heard(BORN, *["she listens to him ."] * 3, origin=BORN)
    assert portions("snow listens to him", field) == ["snow listens to", "listens to you"]
    assert portions("snow listens to him", field, Diet(origin_share=0)) == ["snow listens to"]
    assert portions("snow listens to him", field, Diet(origin_share=0.25)) == ["snow listens to"]


def test_a_leo_who_never_heard_his_origin_is_not_told_it():
    field = Heard("she goes to him .", origin=BORN)
    assert portions("she goes to him .", field) == []
    assert "listens to you" not in portions("leo listens to him", field)
