"""The demo's field: counts, walks, and the manners of a host."""

import random
from itertools import pairwise
from random import Random

import pytest

from dreamd.ctl.stand_in.field import MOST_WORDS, TrigramField, read_story, split_sentences
from dreamd.dream import measures


def told(*texts: str, seed: int = 1) -> TrigramField:
    field = TrigramField(Random(seed))
    for text in texts:
        field.observe(text)
    return field


def test_story_is_shipped_and_long_enough_to_walk_in() -> None:
    assert 1200 <= len(read_story().split()) <= 2000
    assert all(len(sentence) <= 400 for sentence in split_sentences(read_story()))


def test_sentences_end_at_marks_and_blank_lines() -> None:
    assert split_sentences("One.  Two\nlines!\n\n a title \n \n Three? four") == [
        "One.",
        "Two lines!",
        "a title",
        "Three?",
        "four",
    ]
    assert split_sentences(" \n\n ") == []


def test_p13_equal_seeds_give_equal_lines() -> None:
    """P13 in the host: equal texts and equal random numbers give equal lines."""
    lines = [told(read_story(), seed=seed).generate("the water", 0.9, 0.5) for seed in (7, 7, 8)]
    assert lines[0] == lines[1] != lines[2]


def test_prints_nothing_and_leaves_global_random_alone(capfd: pytest.CaptureFixture[str]) -> None:
    random.seed(4)
    state = random.getstate()
    field = told(read_story())
    field.observe(field.reply("Are you afraid?"))
    field.pulse("Are you?")
    assert random.getstate() == state
    assert capfd.readouterr() == ("", "")


def test_says_only_words_it_heard_in_steps_it_heard() -> None:
    field = told(read_story())
    heard = set(measures.split_words(read_story()))
    after = {
        pair
        for sentence in split_sentences(read_story())
        for pair in measures.join_ngrams(measures.split_words(sentence), 2)
    }
    for number in range(20):
        line = field.generate(f"river {number}", 0.9, 0.5)
        assert set(measures.split_words(line)) <= heard
        for sentence in split_sentences(line):
            assert set(measures.join_ngrams(measures.split_words(sentence), 2)) <= after


def test_lines_are_short_whole_and_start_with_a_capital() -> None:
    field = told(read_story())
    for number in range(30):
        line = field.generate("the house by the river", 0.6 + number / 75, 0.5)
        assert 3 <= len(measures.split_words(line)) <= MOST_WORDS + 1
        assert line[-1] in ".!?"
        assert line[0].isupper()


def test_rarely_recites_and_does_not_say_the_same_twice() -> None:
    field = told(read_story())
    lines = [field.generate("water and bread", 0.8, 0.5) for _ in range(60)]
    recited = sum(
        any(measures.repeats_text(line, sentence) for sentence in split_sentences(read_story()))
        for line in lines
    )
    assert recited < 6
    assert not any(measures.repeats_text(line, other) for line, other in pairwise(lines))


def test_leaps_between_sentences_that_share_a_word() -> None:
    field = told("Red rain falls here. Blue rain sings there.")
    assert "Red rain sings there." in {field.generate("", 2.0, 0.0) for _ in range(40)}


def test_does_not_quote_if_anything_else_can_be_said() -> None:
    heard = ["The goat ate the red hat.", "The man saw the red goat.", "A hat is what the man saw."]
    for seed in range(10):
        assert told(*heard, *["Nothing new came in."] * 12, seed=seed).generate("", 1.5, 0.0) not in heard


def test_semantic_weight_draws_towards_the_company_of_the_seed() -> None:
    def with_moon(weight: float) -> int:
        fields = [told(read_story(), seed=seed) for seed in range(16)]
        return sum("moon" in field.generate("the moon in the pond", 0.8, weight) for field in fields)

    assert with_moon(0.5) > with_moon(0.0) + 5


def test_does_not_repeat_itself_if_it_can_go_on() -> None:
    text = "I came without asking, without asking, by night. I came home by day. I sat by day and night."
    for seed in range(10):
        said = measures.split_words(told(text, seed=seed).generate("asking by night", 0.9, 0.9))
        assert said.count("asking") <= 3


def test_temperature_decides_how_rare_a_word_may_be() -> None:
    text = "The cat sat down here. " * 8 + "The cat ran away there."

    def rare(temperature: float) -> int:
        return sum("ran" in told(text, seed=n).generate("", temperature, 0.0) for n in range(30))

    assert rare(0.0) < rare(3.0)


def test_an_empty_field_says_nothing() -> None:
    field = told("", "...", "\n\n")
    assert field.generate("hello", 0.8, 0.5) == ""
    assert field.vocabulary == 0
    assert field.pulse("") == {"novelty": 0.0, "arousal": 0.0, "entropy": 0.0}


@pytest.mark.parametrize(
    "text", ["hi", ", , , , , , , , word", "a " * 400, "?! so it goes", "\ud800 lone", "ß ﬁ İ x", "x’y 'z"]
)
def test_any_text_ends_in_a_line(text: str) -> None:
    field = told(text)
    for temperature in (0.0, 0.7, 5.0):
        assert 0 < len(field.generate(text, temperature, 0.5)) < 1000


def test_keeps_the_spelling_of_words() -> None:
    field = told("Yesterday Anna met the old moon near Paris. ANNA LAUGHED. The moon laughed too!")
    said = " ".join(field.generate("Anna", 1.0, 0.3) for _ in range(20))
    assert "Anna" in said
    assert "Paris" in said
    assert "ANNA" not in said
    assert " The " not in said.replace(". The", ".").replace("! The", "!")


def test_novelty_is_the_share_of_unheard_steps() -> None:
    field = told("The river is long.")
    assert field.pulse("The river is long.")["novelty"] == 0.0
    assert field.pulse("Stones dream slowly!")["novelty"] == 1.0
    assert 0.0 < field.pulse("The river is deep.")["novelty"] < 1.0
    field.observe("Stones dream slowly!")
    assert field.pulse("Stones dream slowly!")["novelty"] == 0.0


def test_reply_observes_nothing() -> None:
    field = told(read_story())
    before = field.vocabulary
    assert field.reply("Zanzibar?")
    assert field.vocabulary == before
    field.observe("Zanzibar?")
    assert field.vocabulary == before + 1


def test_a_field_of_many_beginnings_speaks_in_one_pass_over_them() -> None:
    """Once it took one for each of them: minutes for one line."""
    field = told(". ".join(f"a{number} b{number} c" for number in range(20_000)))
    assert field.generate("a1 b1").endswith(" c.")
