"""The measures of a text: what they say of plain ones, and their range for any."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamd.dream import measures as pulse

# Any text a decoder or a careless caller can hand over, lone surrogates included; and texts of few words, so
# that repetition is common.
ANY = st.text(st.characters(codec=None, exclude_categories=()), max_size=200)
FEW_WORDS = st.lists(st.sampled_from(["Leo", "leo", "NO!", "é", "so", "...", "ß"]), max_size=40).map(" ".join)
TEXT = ANY | FEW_WORDS
EXTREMES = [
    "",
    " \n\t",
    "'",
    "...",
    "\x00",
    "\ud800",
    "\udfff\ud800",
    "İSTANBUL ß ﬁ",
    "日本語。すごい！",
    "👩‍👩‍👧‍👦 🇺🇦",
    "a\u0301" * 50,
    "\u202eabc",
    "A" * 1_000_000,
    "a " * 200_000,
    "!" * 1_000_000,
    " \n" * 200_000,
    "x\u0301!" * 100_000,
]
ORIGIN = pulse.blend_profiles(
    [(pulse.bigram_profile("leo is a small organism"), 1.0), (pulse.bigram_profile("he listens"), 1.0)]
)


def test_a_word_is_case_folded_with_its_digits_and_apostrophes() -> None:
    assert pulse.split_words("Don't STOP, 4 Straße—no_way 2x") == [
        "don't",
        "stop",
        "4",
        "strasse",
        "no_way",
        "2x",
    ]
    assert pulse.split_words("") == pulse.split_words("... \ud800 👍") == []
    assert pulse.split_words("İx") == ["i\u0307x"]


def test_ngrams_are_neighbours_in_order() -> None:
    assert pulse.join_ngrams(["a", "b", "c"], 2) == ["a b", "b c"]
    assert pulse.join_ngrams(["a", "b", "c"], 3) == ["a b c"]
    assert pulse.join_ngrams(["a", "b"], 3) == []


@pytest.mark.parametrize(
    ("text", "most_chars", "most_words", "kept"),
    [
        ("  one two  ", 400, 50, "one two"),
        ("one two three", 400, 2, "one two"),
        ('one "two." three', 400, 2, 'one "two."'),
        ("one two three", 400, None, "one two three"),
        ("one two three", 12, 50, "one two"),
        ("one two three", 13, 50, "one two three"),
        ("one two!!!!", 8, 50, "one two!"),
        ("one two!!!! three", 8, 50, "one two!"),
        ("one two ! ! ! ! ! !", 10, 50, "one two"),
        ("abcdefgh ij", 5, 50, "abcde"),
        ("...!!!...", 4, 50, "...!"),
        ("... abcdefgh", 5, 50, "... a"),
        ("", 5, 50, ""),
        (" \n ", 5, 50, ""),
        ("don't", 4, 50, "don'"),
    ],
)
def test_a_text_is_cut_at_a_word(text: str, most_chars: int, most_words: int | None, kept: str) -> None:
    assert pulse.clamp_text(text, most_chars=most_chars, most_words=most_words) == kept


@settings(derandomize=True, print_blob=True)
@given(text=TEXT, most_chars=st.integers(1, 60), most_words=st.integers(1, 9))
def test_clamps_hold_at_a_word_boundary(text: str, most_chars: int, most_words: int) -> None:
    kept = pulse.clamp_text(text, most_chars=most_chars, most_words=most_words)
    whole = text.strip()
    assert len(kept) <= most_chars
    assert len(pulse.split_words(kept)) <= most_words
    assert whole.startswith(kept)
    assert bool(kept) == bool(whole)
    assert kept == kept.strip()
    first = pulse.split_words(kept)[:1]
    if first and first == pulse.split_words(whole)[:1]:  # else the first word was itself too long
        assert pulse.split_words(whole)[: len(pulse.split_words(kept))] == pulse.split_words(kept)


@pytest.mark.parametrize("text", ["x" * 10**6, "." * 10**6, "x" + "!" * 10**6, "x " * 10**6])
def test_p11_of_a_text_only_as_much_as_is_kept_is_looked_at(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    class Looks:
        def __init__(self, pattern: re.Pattern[str]) -> None:
            self._pattern = pattern

        def __getattr__(self, method: str) -> Any:
            def look(text: str, pos: int = 0, endpos: int = 10**9) -> Any:
                looked.append(min(endpos, len(text)) - pos)
                return getattr(self._pattern, method)(text, pos, endpos)

            return look

    monkeypatch.setattr(pulse, "_WORD", Looks(pulse._WORD))
    monkeypatch.setattr(pulse, "_CLOSING", Looks(pulse._CLOSING))
    assert len(pulse.clamp_text(text, most_chars=400)) <= 400
    assert max(looked) <= 401


def test_novelty_is_the_share_of_phrases_not_said_lately() -> None:
    lately = pulse.words_and_pairs("leo is here")
    assert pulse.measure_novelty("Leo is here!", lately) == 0.0
    assert pulse.measure_novelty("quite another thing", lately) == 1.0
    # leo, is, gone, "leo is", "is gone": two of five are new
    assert pulse.measure_novelty("leo is gone", lately) == pytest.approx(2 / 5)
    assert pulse.measure_novelty("", lately) == pulse.measure_novelty("...", lately) == 0.0


def test_arousal_hears_capitals_exclamation_and_repetition() -> None:
    assert pulse.measure_arousal("the sea is quiet") == 0.0
    assert pulse.measure_arousal("THE SEA") == 1.0
    assert pulse.measure_arousal("the sea! the land") == pytest.approx(1 - 3 / 4 * 3 / 4)
    assert pulse.measure_arousal("wow!") == pulse.measure_arousal("！") == 1.0
    assert pulse.measure_arousal("no no no no") == pytest.approx(3 / 4)
    assert pulse.measure_arousal("never again never again") == pytest.approx(1 / 2)
    assert pulse.measure_arousal("The sea") == pytest.approx(1 / 6)
    assert pulse.measure_arousal("") == pulse.measure_arousal("日本語") == 0.0


def test_arousal_does_not_grow_with_length() -> None:
    said = "the old house by the sea where nobody came "
    assert pulse.measure_arousal(said * 50) == pytest.approx(pulse.measure_arousal(said))


def test_entropy_is_how_evenly_the_words_are_spread() -> None:
    assert pulse.measure_entropy("one two three four") == 1.0
    assert pulse.measure_entropy("one one one") == 0.0
    assert pulse.measure_entropy("a a b b") == pytest.approx(1 / 2)
    assert pulse.measure_entropy("one") == pulse.measure_entropy("") == 0.0


def test_overlap_is_the_share_of_word_pairs_that_the_origin_holds() -> None:
    assert (
        pulse.measure_overlap("Leo is a small organism.", ORIGIN)
        == pulse.measure_overlap("is a small", ORIGIN)
        == 1.0
    )
    # three pairs of five: "leo is", "is a", "a small"
    assert pulse.measure_overlap("Leo is a small, quiet house", ORIGIN) == pytest.approx(3 / 5)
    assert pulse.measure_overlap("he listens, he listens", ORIGIN) == pytest.approx(2 / 3)
    assert pulse.measure_overlap("organism small a", ORIGIN) == 0.0
    assert (
        pulse.measure_overlap("", ORIGIN)
        == pulse.measure_overlap("...", ORIGIN)
        == pulse.measure_overlap("leo", pulse.blend_profiles([]))
        == 0.0
    )
    assert pulse.measure_overlap("leo", pulse.bigram_profile("Leo!")) == 1.0


@given(TEXT, TEXT)
def test_a_context_overlaps_as_its_texts_in_one_do(prompt: str, reply: str) -> None:
    origin = pulse.bigram_profile(f"{prompt[:20]} {reply} leo")
    words = pulse.ContextWords(prompt, reply, lambda words: pulse.words_overlap(words, origin))
    assert words.reply == pulse.split_words(reply)
    assert words.overlap() == words.overlap() == pulse.measure_overlap(f"{prompt} {reply}", origin)
    assert words.reply == pulse.split_words(reply)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_split_as_any_text_is(text: str) -> None:
    with_an_accent = pulse.split_words(f"{text} é")  # so that the pattern splits it
    assert pulse.split_words(text) == with_an_accent[:-1]


@pytest.mark.parametrize("fragments", [1, 4, 64, 256])
def test_overlap_does_not_depend_on_the_size_of_the_origin(fragments: int) -> None:
    born = [f"stone{n} keeps the river{n} and a light{n}" for n in range(fragments)]
    origin = pulse.blend_profiles((pulse.bigram_profile(text), 1.0) for text in born)
    assert pulse.measure_overlap(born[0], origin) == pulse.measure_overlap(born[-1], origin) == 1.0
    assert pulse.measure_overlap(f"{born[0]} then some other words follow it", origin) == pytest.approx(1 / 2)
    assert pulse.measure_overlap("they never said such a thing here", origin) == 0.0


def test_a_blend_is_the_weighted_sum() -> None:
    blend = pulse.blend_profiles([(pulse.bigram_profile("a b c"), 0.5), (pulse.bigram_profile("a b"), 2.0)])
    assert blend.counts == {"a b": 2.5, "b c": 0.5}
    assert blend.square == 6.5


def test_likeness_tolerates_rounding_errors() -> None:
    assert pulse.cosine_of_products(1.0, -1e-18, 1.0) == 0.0
    assert pulse.cosine_of_products(-1e-18, 1.0, 1.0) == 0.0
    assert pulse.cosine_of_products(1.0000001, 1.0, 1.0) == 1.0


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Yes!", "yes", True),
        ("yes", "no", False),
        ("yes sir", "Yes, sir.", True),
        ("yes sir", "sir yes", False),
        ("yes", "yes yes yes yes", False),
        ("...", "...", True),
        ("...", "!!!", False),
        ("", "", True),
        ("one two three", "one two three.", True),
        ("one two three", "one two four", False),
        # 8 of 10 trigrams in common, then 7 of 10
        ("a b c d e f g h i j", "a b c d e f g h i j k l", True),
        ("a b c d e f g h i", "a b c d e f g h i j k l", False),
        ("la la la", "la la la la la la", True),
    ],
)
def test_a_text_repeats_another(a: str, b: str, same: bool) -> None:
    assert pulse.repeats_text(a, b) is pulse.repeats_text(b, a) is same


def cosine(a: str, b: str) -> float:
    one, other = pulse.bigram_profile(a), pulse.bigram_profile(b)
    return pulse.cosine_of_products(pulse.dot_product(one, other), one.square, other.square)


def check_measures(text: str) -> None:
    lately = pulse.words_and_pairs("so leo said")
    measures = [
        pulse.measure_novelty(text, lately),
        pulse.measure_novelty(text, set()),
        pulse.measure_arousal(text),
        pulse.measure_entropy(text),
        pulse.measure_overlap(text, ORIGIN),
        cosine(text, text),
    ]
    assert all(0.0 <= measure <= 1.0 for measure in measures), measures
    assert pulse.repeats_text(text, text)


@settings(derandomize=True, print_blob=True)
@given(text=TEXT)
def test_measures_are_in_range_for_any_text(text: str) -> None:
    check_measures(text)
    assert cosine(text, text) == bool(pulse.split_words(text))
    assert pulse.measure_novelty(text, pulse.words_and_pairs(text)) == 0.0


@pytest.mark.parametrize("text", EXTREMES, ids=range(len(EXTREMES)))
def test_measures_are_in_range_for_extreme_texts(text: str) -> None:
    check_measures(text)
    assert len(pulse.clamp_text(text, most_chars=400, most_words=50)) <= 400


@settings(derandomize=True, print_blob=True)
@given(a=TEXT, b=TEXT)
def test_cosine_and_repeats_are_symmetric(a: str, b: str) -> None:
    assert cosine(a, b) == pytest.approx(cosine(b, a))
    assert pulse.repeats_text(a, b) == pulse.repeats_text(b, a)
