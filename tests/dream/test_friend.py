"""The friend: what is drawn, what enters, what fades, what leaves, and that the origin never does."""

import math
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamd.dream import measures
from dreamd.dream.draws import Draws
from dreamd.dream.friend import (
    LEAST_WEIGHT,
    ORIGIN_CHARS,
    Change,
    Friend,
    FriendSettings,
    Ranks,
    split_origin,
)
from dreamd.dream.model import Fragment, Line

PLAIN = FriendSettings()
ORIGIN = ("leo is a small organism", "he listens to the sea", "nobody taught him to speak")


def fragment(id_: int, text: str, weight: float = 1.0, *, origin: bool = False) -> Fragment:
    return Fragment(
        id=id_, text=text, weight=weight, origin=origin, dialog=None if origin else 1, added_at=0.0
    )


def friend_of(*learned: Fragment, origin: tuple[str, ...] = ORIGIN, weight: float = 1.0) -> Friend:
    born = [fragment(i, text, weight, origin=True) for i, text in enumerate(origin, start=1)]
    return Friend((*born, *learned), max((f.id for f in [*born, *learned]), default=0) + 1)


def said(
    text: str, *, arousal: float = 0.0, overlap: float = 0.0, trauma: float = 0.0, turn: int = 2
) -> Line:
    return Line(
        turn=turn,
        speaker="friend",
        text=text,
        novelty=0.0,
        arousal=arousal,
        entropy=0.0,
        trauma=trauma,
        overlap=overlap,
        seed="",
        temperature=0.7,
        semantic_weight=0.5,
        expert="",
        candidates=(text,),
    )


def after(friend: Friend, *lines: Line, how: FriendSettings = PLAIN) -> tuple[Friend, Change]:
    return friend.after(lines, dialog=7, at=123.0, settings=how)


def texts(friend: Friend) -> list[str]:
    return [fragment.text for fragment in friend.fragments]


def weight_of(friend: Friend, text: str) -> float:
    return next(fragment.weight for fragment in friend.fragments if fragment.text == text)


# --- sampling


def test_one_to_three_fragments_are_drawn_and_none_twice() -> None:
    friend = friend_of(*(fragment(i, f"line {i}", 0.05) for i in range(4, 30)))
    rng = Draws(1)
    draws = [[f.id for f in friend.sample(rng)] for _ in range(300)]
    assert {len(draw) for draw in draws} == {1, 2, 3}
    assert all(len(set(draw)) == len(draw) for draw in draws)


def test_the_heavier_is_drawn_the_more_often() -> None:
    friend = friend_of(fragment(2, "faint", 0.1), origin=("loud",))
    rng = Draws(1)
    firsts = [friend.sample(rng)[0].text for _ in range(2000)]
    assert firsts.count("faint") / len(firsts) == pytest.approx(1 / 11, abs=0.03)


def test_the_same_seed_draws_the_same_fragments() -> None:
    """P13: the friend draws only from the generator."""
    friend = friend_of(*(fragment(i, f"line {i}", 0.3) for i in range(4, 30)))
    one, two = Draws(5), Draws(5)
    assert [friend.sample(one) for _ in range(20)] == [friend.sample(two) for _ in range(20)]


def test_a_small_friend_returns_all_its_fragments() -> None:
    rng = Draws(1)
    assert Friend().sample(rng) == []
    assert {f.text for _ in range(50) for f in friend_of(origin=("one", "two")).sample(rng)} == {"one", "two"}


def test_no_weight_in_a_database_makes_sampling_fail() -> None:
    weights = [0.0, -1.0, math.nan, math.inf, 1e-320]
    friend = Friend(tuple(fragment(i, f"line {i}", weight) for i, weight in enumerate(weights)), 9)
    rng = Draws(1)
    assert {f.id for _ in range(50) for f in friend.sample(rng)} >= {3}
    weightless = Friend(tuple(fragment(i, f"line {i}", 0.0) for i in range(5)), 9)
    assert {f.id for _ in range(50) for f in weightless.sample(rng)} == set(range(5))
    assert LEAST_WEIGHT > 0.0


# --- what enters


def test_the_best_line_enters_even_if_it_is_weak() -> None:
    friend, change = after(friend_of(), said("a quiet thing", arousal=0.01), said("quieter still"))
    entered = fragment(4, "a quiet thing", 0.3)
    assert change.added == [msgspec.structs.replace(entered, dialog=7, added_at=123.0)]
    assert friend.fragments[-1] == change.added[0]
    assert friend.next_id == 5


@pytest.mark.parametrize("measure", ["arousal", "overlap", "trauma"])
def test_the_second_enters_when_any_of_its_measures_reaches_the_threshold(measure: str) -> None:
    best = said("the best of all", arousal=0.9)
    second, below = said("second to none"), said("second to some")
    second = msgspec.structs.replace(second, **{measure: 0.5})
    below = msgspec.structs.replace(below, **{measure: 0.499})
    assert texts(after(friend_of(), second, best)[0])[3:] == ["the best of all", "second to none"]
    assert texts(after(friend_of(), below, best)[0])[3:] == ["the best of all"]


def test_of_equals_the_earlier_is_the_best_and_a_third_never_enters() -> None:
    lines = [said(f"{word} of the house", trauma=0.6) for word in ("dreams", "doors", "stones")]
    assert texts(after(friend_of(), *lines)[0])[3:] == ["dreams of the house", "doors of the house"]


# --- ranks among the last lines


def lines_with(**columns: list[float]) -> Ranks:
    count = max(map(len, columns.values()))
    same = [0.99] * count
    return Ranks(zip(*(columns.get(name, same) for name in ("arousal", "overlap", "trauma")), strict=True))


RISING = [n / 100 for n in range(100)]


def kept_of(*lines: Line, ranks: Ranks) -> list[str]:
    friend, _ = friend_of().after(lines, dialog=7, at=123.0, settings=PLAIN, ranks=ranks)
    return texts(friend)[3:]


@pytest.mark.parametrize("measure", ["arousal", "overlap", "trauma"])
def test_a_saturated_measure_decides_nothing(measure: str) -> None:
    """Two measures are 0.99 for every line; by the third alone the second line is the best one."""
    ranks = lines_with(**{measure: RISING})
    others = {name: 0.99 for name in ("arousal", "overlap", "trauma") if name != measure}
    low = said("it is so loud in here", **others, **{measure: 0.3})
    high = said("the old song of the sea", **dict.fromkeys(others, 0.98), **{measure: 0.6})
    assert kept_of(low, high, ranks=ranks)[0] == high.text
    assert kept_of(low, high, ranks=Ranks())[0] == low.text  # until it is known, 0.99 is more than 0.98


def test_the_second_line_enters_if_it_is_in_the_upper_half_of_the_last_lines() -> None:
    ranks = lines_with(arousal=[n / 1000 for n in range(0, 500, 5)])
    best = said("the best of all", arousal=0.4)
    second, below = said("second to none", arousal=0.251), said("second to some", arousal=0.24)
    assert kept_of(second, best, ranks=ranks) == ["the best of all", "second to none"]
    assert kept_of(below, best, ranks=ranks) == ["the best of all"]


def test_one_line_enters_if_no_measure_varies() -> None:
    ranks = lines_with(arousal=[0.99] * 100)
    first, second = said("the best of all", arousal=1.0), said("second to none", arousal=0.99)
    assert kept_of(first, second, ranks=ranks) == ["the best of all"]


def test_a_measure_that_is_not_known_of_old_lines_is_ranked_among_the_others() -> None:
    ranks = Ranks([(None, 0.5, n / 100) for n in range(50)] + [(n / 100, None, 0.5) for n in range(50)])
    assert ranks.strength(said("x", arousal=0.49)) == pytest.approx(0.99)


def test_two_lines_that_say_nearly_the_same_are_never_both_kept() -> None:
    _, change = after(
        friend_of(),
        said("the rain is near the old house", arousal=0.9),
        said("the rain is near the old door", arousal=0.8),
    )
    assert [f.text for f in change.added] == ["the rain is near the old house"]
    _, change = after(
        friend_of(fragment(9, "the rain is near the old house")), said("the rain is near the old door")
    )
    assert [f.text for f in change.added] == ["the rain is near the old door"]  # said in another dream


def test_a_line_that_repeats_a_fragment_does_not_enter() -> None:
    long = "a b c d e f g h i j"
    friend, change = after(friend_of(fragment(9, long, 0.5)), said(long + " k l", arousal=1.0))
    assert (change.added, texts(friend)[3:]) == ([], [long])
    assert weight_of(friend, long) == pytest.approx(0.5 * 0.99)


def test_a_line_that_repeats_the_one_before_it_does_not_enter() -> None:
    _, change = after(
        friend_of(), said("a b c d e f g h i j", arousal=1.0), said("a b c d e f g h i j k", trauma=0.9)
    )
    assert [f.text for f in change.added] == ["a b c d e f g h i j"]


@pytest.mark.parametrize(("before", "strengthened"), [(0.5, 0.5 * 0.99 + 0.3), (0.9, 1.0)])
def test_a_text_already_there_is_strengthened_and_not_added(before: float, strengthened: float) -> None:
    friend, change = after(friend_of(fragment(9, "Come home!", before)), said("come, HOME"))
    assert change.added == []
    assert weight_of(friend, "Come home!") == pytest.approx(strengthened)
    assert (9, weight_of(friend, "Come home!")) in change.weights


def test_the_origin_is_strengthened_too() -> None:
    friend, change = after(friend_of(weight=0.4), said(ORIGIN[0].upper()))
    assert weight_of(friend, ORIGIN[0]) == pytest.approx(0.4 * 0.99 + 0.3)
    assert change.added == []


# --- what fades, and what leaves


def test_older_weights_fade_to_their_floor_and_the_change_reports_it() -> None:
    friend = friend_of(
        fragment(9, "older", 0.5), fragment(10, "faint", 0.05), origin=("one", "two"), weight=0.201
    )
    faded, change = after(friend)
    assert [f.weight for f in faded.fragments] == pytest.approx([0.2, 0.2, 0.495, 0.05])
    assert [id_ for id_, _ in change.weights] == [1, 2, 9]
    assert dict(change.weights)[9] == weight_of(faded, "older")
    assert (change.added, change.left) == ([], [])


@pytest.mark.parametrize(("wrong", "mended"), [(7.0, 1.0), (math.inf, 1.0), (math.nan, 0.05), (-1.0, 0.05)])
def test_a_weight_out_of_range_is_back_in_it_after_one_dialogue(wrong: float, mended: float) -> None:
    friend, _ = after(friend_of(fragment(9, "strange", wrong)))
    assert weight_of(friend, "strange") == mended


def test_the_lightest_leaves_of_equals_the_oldest_never_the_one_just_added() -> None:
    few = FriendSettings(buffer=3, admit_weight=0.01)
    full = friend_of(
        fragment(7, "seven", 0.2), fragment(8, "eight", 0.2), fragment(9, "nine", 0.3), weight=0.2
    )
    friend, change = after(full, said("new here"), how=few)
    assert (change.left, texts(friend)[3:]) == ([7], ["eight", "nine", "new here"])
    assert 7 not in dict(change.weights)
    assert texts(friend)[:3] == list(ORIGIN)


def test_a_buffer_of_one_keeps_the_last_and_its_change_still_adds_up() -> None:
    friend, change = after(
        friend_of(fragment(9, "old", 1.0)),
        said("first thing", arousal=0.9),
        said("second thing", arousal=0.8),
        how=FriendSettings(buffer=1),
    )
    assert (texts(friend)[3:], change.left) == (["second thing"], [9])
    assert [f.id for f in change.added] == [11]
    assert friend.next_id == 12


def test_an_overfull_buffer_from_another_time_is_brought_back_to_its_bound() -> None:
    friend, change = after(
        friend_of(*(fragment(i, f"line {i}", i / 100) for i in range(10, 20))), how=FriendSettings(buffer=4)
    )
    assert change.left == list(range(10, 16))
    assert len(friend.fragments) == 7


def test_a_friend_is_a_value() -> None:
    friend = friend_of(fragment(9, "older", 0.5))
    before = msgspec.json.encode(friend.fragments)
    after(friend, said("something new"), said("come home", arousal=1.0))
    assert msgspec.json.encode(friend.fragments) == before
    assert friend == friend_of(fragment(9, "older", 0.5))


# --- drift


def naive_drift(friend: Friend) -> float:
    now = measures.blend_profiles((measures.bigram_profile(f.text), f.weight) for f in friend.fragments)
    born = measures.blend_profiles(
        (measures.bigram_profile(f.text), 1.0) for f in friend.fragments if f.origin
    )
    product = measures.dot_product(now, born)
    return 1.0 - measures.cosine_of_products(product, now.square, born.square) if born.counts else 0.0


def test_a_friend_just_born_has_not_drifted() -> None:
    assert friend_of().drift() == 0.0
    assert Friend().drift() == friend_of(fragment(9, "no origin at all"), origin=()).drift() == 0.0


def test_drift_is_the_distance_of_the_weighted_friend_from_its_origin() -> None:
    # one origin pair at 0.6, one other pair at 0.8: the cosine is 0.6
    friend = friend_of(fragment(9, "other words", 0.8), origin=("own words",), weight=0.6)
    assert friend.drift() == pytest.approx(0.4)
    assert friend_of(origin=("own words",), weight=0.2).drift() == pytest.approx(0.0)
    # of three origin pairs one was strengthened: (0.2 + 0.2 + 0.5) / sqrt(3 (0.04 + 0.04 + 0.25))
    uneven, _ = after(friend_of(origin=("a b", "c d", "e f"), weight=0.2), said("e f"))
    assert uneven.drift() == pytest.approx(1 - 0.9 / math.sqrt(3 * 0.33))


ANY = st.text(st.characters(codec=None, exclude_categories=()))  # lone surrogates, too
WORDS = st.sampled_from(["sea", "Leo", "door", "no", "home", "light", "!", "é"])
# Often the same, so that the origin is said again, too.
SAID = st.sampled_from(["sea", "leo home", "the door is no door"]) | st.lists(
    WORDS, min_size=1, max_size=12
).map(" ".join)
UNIT = st.integers(0, 100).map(lambda percent: percent / 100)
LINES = st.lists(st.builds(said, SAID, arousal=UNIT, overlap=UNIT, trauma=UNIT), max_size=3)
SETTINGS = st.builds(
    FriendSettings,
    buffer=st.integers(1, 6),
    admit_weight=UNIT,
    strengthen=UNIT,
    decay=UNIT,
    floor=UNIT,
    origin_floor=UNIT,
)


@settings(derandomize=True, print_blob=True)
@given(dialogues=st.lists(LINES, max_size=6), how=SETTINGS, origin=st.lists(SAID, max_size=5, unique=True))
def test_after_any_dialogues_the_friend_is_bounded_and_in_range(
    dialogues: list[list[Line]], how: FriendSettings, origin: list[str]
) -> None:
    """P4: under any settings the origin is there, in its order, with each weight at or above the floor."""
    friend = friend_of(origin=tuple(origin))
    for lines in dialogues:
        older = {f.id: f for f in friend.fragments}
        friend, change = after(friend, *lines, how=how)
        # the change, applied to what was before, gives what is now
        for id_, weight in change.weights:
            older[id_] = msgspec.structs.replace(older[id_], weight=weight)
        for id_ in change.left:
            del older[id_]
        assert [*older.values(), *change.added] == list(friend.fragments)
        assert len(change.added) <= 2
        born = [f for f in friend.fragments if f.origin]
        learned = [f for f in friend.fragments if not f.origin]
        assert [f.text for f in born] == origin
        assert all(how.origin_floor <= f.weight <= 1.0 for f in born)
        assert all(min(how.floor, how.admit_weight) <= f.weight <= 1.0 for f in learned)
        assert len(learned) <= how.buffer
        assert len({f.id for f in friend.fragments}) == len(friend.fragments)
        assert all(f.id < friend.next_id for f in friend.fragments)
        assert 0.0 <= friend.drift() <= 1.0
        assert friend.drift() == pytest.approx(naive_drift(friend), abs=1e-6)
        # what was worked out before is what would be worked out afresh
        afresh = Friend(friend.fragments, friend.next_id)
        assert friend.drift() == afresh.drift()
        assert after(friend, *lines, how=how) == after(afresh, *lines, how=how)


def test_the_origin_outlives_ten_thousand_dialogues() -> None:
    """P4: after each change the whole origin is there, at or above the floor, and the buffer is bounded."""
    print("seed", seed := 20240)
    rng = random.Random(seed)
    words = [f"word{i}" for i in range(300)]
    friend = friend_of()
    for _ in range(10_000):
        lines = [
            said(" ".join(rng.choices(words, k=6)), arousal=rng.random()) for _ in range(rng.randint(0, 2))
        ]
        friend, _ = after(friend, *lines)
        born = friend.fragments[:3]
        assert tuple(f.text for f in born) == ORIGIN
        assert min(f.weight for f in born) >= PLAIN.origin_floor
        assert len(friend.fragments) <= len(ORIGIN) + PLAIN.buffer
    assert [f.weight for f in friend.fragments[:3]] == [PLAIN.origin_floor] * 3
    assert 0.5 < friend.drift() < 1.0
    assert len(friend._readings) <= len(ORIGIN) + PLAIN.buffer, (
        "what is worked out must not outlive its fragment"
    )


# --- the origin


def test_splits_the_origin_into_short_paragraphs_and_sentences() -> None:
    short = "I am leo.\nI am small."
    long = "A long paragraph begins here. " + "It goes on, and on, and on! " * 5 + "Does it end…\nIt does?"
    assert split_origin([f"{short}\n \n{long}"], ["# README\n\n\n"], 256) == [
        "I am leo. I am small.",
        "A long paragraph begins here.",
        "It goes on, and on, and on!",
        "Does it end…",
        "It does?",
        "# README",
    ]


def test_the_origin_has_each_fragment_once_and_none_blank() -> None:
    assert split_origin(["Hello, you.\n\n---\n\n \n\nhello YOU"], ["", "Hello you!", "bye"], 256) == [
        "Hello, you.",
        "bye",
    ]


def test_his_own_text_comes_before_the_readme_up_to_the_most() -> None:
    assert split_origin(["one\n\ntwo"], ["three\n\nfour"], 3) == ["one", "two", "three"]
    assert split_origin(["one"], [], 0) == []


def test_p11_reads_no_more_of_an_origin_than_its_fragments_can_need() -> None:
    """Else a MiB of one-word sentences holds up all sessions for half a second."""
    short = "Stop. " * (ORIGIN_CHARS // 6 - 10)
    assert split_origin([short, "The last word."], ["Nothing of this. "], 256) == [
        "Stop.", "The last word.", "Nothing of this."
    ]  # fmt: skip
    assert split_origin([short + short, "The last word."], [], 256) == ["Stop."]
    assert split_origin(["日本語。" * ORIGIN_CHARS], [], 256) == ["日本語。"]


def test_a_sentence_without_end_is_cut_at_a_word() -> None:
    [cut] = split_origin(["word " * 200], [], 256)
    assert cut == ("word " * 80).strip()
    assert split_origin(["日本語。" * 60], [], 256) == ["日本語。"]


@settings(derandomize=True, print_blob=True)
@given(
    origin=st.lists(ANY | SAID, max_size=4),
    readme=st.lists(SAID.map(lambda text: text + ".\n\n" + text * 30), max_size=3),
    most=st.integers(0, 6),
)
def test_any_origin_gives_few_short_distinct_fragments(
    origin: list[str], readme: list[str], most: int
) -> None:
    found = split_origin(origin, readme, most)
    assert len(found) <= most
    assert all(0 < len(text) <= 400 for text in found)
    assert len({tuple(measures.split_words(text)) for text in found}) == len(found)
    assert all(measures.split_words(text) for text in found)
