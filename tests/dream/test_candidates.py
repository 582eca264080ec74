"""Which run of sentences becomes the line: whole, short, and an answer; in any language, and for any text."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dreamd.dream import measures
from dreamd.dream.candidates import Choice, Length, Usage, choose_sentences

LENGTH = Length(14, 30, 400)
ORIGIN = [
    "The river keeps the stones.", "A child sits by the river and waits for you.", "The light is on the water.",
    "You know it.", "The stones are old and the water is young.", "It is a night of the long rain.",
]  # fmt: skip


def usage(*fragments: str) -> Usage:
    return Usage(measures.split_words(text) for text in fragments or ORIGIN)


def chosen(
    *candidates: str,
    before: str = "",
    earlier: tuple[str, ...] = (),
    length: Length = LENGTH,
    max_tokens: int = 50,
    known: Usage | None = None,
) -> str | None:
    choice = choose_sentences(
        candidates,
        before=before,
        earlier=earlier,
        usage=known or usage(),
        length=length,
        max_tokens=max_tokens,
    )
    return choice and choice.text


def filled(words: int, end: str = ".") -> str:
    return " ".join(f"word{chr(97 + n % 26)}{n}" for n in range(words)) + end


# --- whole sentences


def test_chooses_the_line_that_shares_words_with_the_one_before() -> None:
    said = f"{filled(20)} An old child keeps silent. {filled(22)} Other things were seen there."
    other = "Nothing was heard in here since the long rain of that night ended."
    for candidates in ((said, other), (other, said)):
        assert chosen(*candidates, before="Where is the child?") == "An old child keeps silent."
        assert chosen(*candidates, before="Where is he?") == other


def test_a_rare_word_in_common_counts_for_more_than_a_frequent_one() -> None:
    said = ("Some river flows there.", "Some child flows there.")
    assert chosen(*said, before="The river and the child") == said[1]  # river: twice in the fragments
    assert chosen(*said, before="The river and the rivers") == said[0]


def test_function_words_do_not_count_as_an_answer() -> None:
    """Short words and words of most lines do not count: the language is not known."""
    known = usage(*(f"{word}sten zwischen {word}chen" for word in ("stein", "wasser", "regen", "licht")))
    said = ("Blumen zwischen Blumen.", "Etwas Regenchen kommt.")
    assert chosen(*said, before="zwischen dem Regenchen", known=known) == said[1]
    assert (
        chosen("Es war so da.", "Gehen wir heim.", before="es war so da", length=Length(3, 30, 400))
        == "Gehen wir heim."
    )


def test_runs_grow_towards_the_wanted_length_and_stay_below_the_most() -> None:
    said = f"{filled(6)} {filled(7)} {filled(8)}"
    assert chosen(said) == f"{filled(6)} {filled(7)}"  # 13 of 14
    assert chosen(said, length=Length(14, 12, 400)) == filled(8)
    assert chosen(said, length=Length(30, 30, 400)) == said
    assert chosen(said, length=Length(30, 30, 120)) == f"{filled(7)} {filled(8)}"


def test_prefers_a_run_that_repeats_less() -> None:
    said = ("The old river keeps its stones and sleeps.", "The young moon forgets all about boats.")
    assert chosen(*said, before="a river", earlier=("The old river keeps its stones and talks.",)) == said[1]
    assert chosen(*said, before="a river") == said[0]


def test_no_run_says_a_sentence_twice() -> None:
    said = "The old child waits. The Old Child waits! Some rain falls. The old child waits."
    assert chosen(said) == "The Old Child waits! Some rain falls."


def test_a_run_that_repeats_a_line_is_never_chosen() -> None:
    assert chosen("The sea was here.", "A boat came.", earlier=("the SEA was here",)) == "A boat came."
    assert chosen("The sea was here.", earlier=("the SEA was here",)) is None


def test_a_broken_sentence_is_in_no_run() -> None:
    assert chosen("The river sleeps. And the. Stones are falling.", before="the and") == "The river sleeps."
    assert chosen("And so it is of the. Stones are falling.") == "Stones are falling."


def test_a_text_ends_on_a_function_word_only_if_a_fragment_does() -> None:
    """Each first sentence is near to the question. `of` is short, and no fragment ends on it. One ends on `it`."""
    assert chosen("What are dreams made of. Rain falls.", before="dreams") == "Rain falls."
    assert chosen("All dreams know it. Rain falls.", before="dreams") == "All dreams know it. Rain falls."


def test_the_last_sentence_of_a_text_that_was_stopped_is_left_out() -> None:
    whole, stopped = "We hear the quiet rain tonight.", "Dreams are something from"
    assert chosen(f"{whole} {filled(40)} {stopped}.", before="dreams") == whole
    assert chosen(f"{whole} {stopped}.", before="dreams") == f"{whole} {stopped}."  # far from 50 tokens
    assert chosen(f"{whole} {stopped}.", before="dreams", max_tokens=12) == whole


@pytest.mark.parametrize(
    ("said", "first"),
    [
        ("Who is there? A child.", "Who is there?"),
        ("Wait! A child.", "Wait!"),
        ("And then… A child.", "And then…"),
        ("“Come here.” A child.", "“Come here.”"),
        ('(He said "sleep here.") A child.', '(He said "sleep here.")'),
        ("It was 3.5 and www.leo.example again... A child.", "It was 3.5 and www.leo.example again..."),
        ("川は流れる。石は眠る。", "川は流れる。"),
        ("«Иди сюда.» Ребёнок.", "«Иди сюда.»"),
    ],
)
def test_finds_the_ends_of_sentences(said: str, first: str) -> None:
    assert chosen(said, length=Length(1, len(measures.split_words(first)), 400), before=first) == first


# --- texts without whole sentences


def test_a_text_without_an_end_is_the_line_as_it_is() -> None:
    assert chosen("the light on the") == "the light on the"
    assert chosen("  who are you ") == "who are you"
    assert chosen("...") == "..."


def test_a_text_that_is_too_long_is_cut_at_no_function_word() -> None:
    said = "slowly the river carries stones to the end of the world and beyond all that was"
    for most in range(4, 16):
        line = chosen(said, length=Length(9, most, 400)) or ""
        assert said.startswith(line)
        assert len(line.split()) <= most
        assert line.split()[-1] in ("river", "carries", "stones", "world", "beyond", "that"), line
    assert chosen(said, length=Length(9, 5, 400)) == "slowly the river carries stones"
    assert chosen(said, length=Length(9, 7, 400)) == "slowly the river carries stones"
    assert chosen(said, length=Length(9, 30, 30)) == "slowly the river carries"
    assert chosen("slowly the river carries stones to the", max_tokens=7) == "slowly the river carries stones"
    assert chosen("it is in an of to", length=Length(9, 3, 400)) == "it"  # a fragment has ended on it
    assert chosen("we go on by an of", length=Length(9, 3, 400)) == "we go on"


def test_a_sentence_that_is_too_long_is_cut_too() -> None:
    said = f"{filled(25)} {filled(40)}"
    assert chosen(said, length=Length(9, 18, 400)) == filled(18, "")


# --- any text


def test_an_empty_text_gives_no_line() -> None:
    assert chosen() is chosen("") is chosen(" \n", "") is None


def test_chooses_the_first_of_equal_runs() -> None:
    assert choose_sentences(
        ["Rain falls.", "Rain falls."], before="", earlier=(), usage=usage(), length=LENGTH, max_tokens=50
    ) == Choice("Rain falls.", 0)


PIECES = st.sampled_from(
    [
        "Leo. ",
        "the ",
        "rain ",
        "falls",
        "! ",
        "... ",
        "of. ",
        "…",
        "。",
        "石",
        "\n\n",
        "\ud800",
        "“",
        "”",
        "'",
        "x" * 500,
    ]
)
ANY = st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=80)


@settings(derandomize=True, print_blob=True)
@given(
    texts=st.lists(ANY, min_size=1, max_size=3),
    before=ANY,
    earlier=st.lists(ANY, max_size=2),
    most=st.integers(1, 40),
    chars=st.integers(1, 400),
)
def test_a_line_is_a_part_of_a_candidate_within_the_bounds(
    texts: list[str], before: str, earlier: list[str], most: int, chars: int
) -> None:
    line = chosen(*texts, before=before, earlier=tuple(earlier), length=Length(min(most, 14), most, chars))
    if line is None:
        assert earlier or not any(map(str.strip, texts))
        return
    assert line == line.strip() != ""
    assert any(line in text for text in texts)
    assert len(measures.split_words(line)) <= most
    assert len(line) <= chars
    assert not any(measures.repeats_text(line, other) for other in earlier)


@pytest.mark.parametrize(
    "text",
    ["A. " * 9_000, "." * 100_000, '."' * 50_000, "the " * 50_000, "!\n" * 50_000],
    ids=range(5),
)
def test_bounds_the_sentences_that_are_compared(text: str) -> None:
    """Two candidates, each of the worst kind: so many runs of so many words are compared, and no more."""
    compared: list[int] = []

    class Counting(Usage):
        def shared(self, tokens, others):  # type: ignore[no-untyped-def]
            compared.append(1)
            return super().shared(tokens, others)

    line = chosen(text, text, known=Counting([]))
    assert line is not None
    assert re.sub(r"\s", "", line) in re.sub(r"\s", "", text)
    assert len(compared) <= 2 * 64 * LENGTH.most_words
