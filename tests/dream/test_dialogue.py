"""The dialogue: the order of its effects, what it asks with, how it ends; all chance is the seed's."""

from collections.abc import Callable, Generator
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dreamd.dream import measures as pulse
from dreamd.dream.dialogue import (
    DialogueSettings,
    Effect,
    Ended,
    Generate,
    Observe,
    Recall,
    Record,
    Result,
    speak_dialogue,
)
from dreamd.dream.draws import Draws
from dreamd.dream.friend import Friend, FriendSettings
from dreamd.dream.model import TEXT_CHARS, Answer, Context, Fragment, Line, LineMetrics, Pulse, cut_text
from dreamd.dream.outcomes import OUTCOMES, Outcome

LINES = ["the sea was here", "no one came home", "a door stood open", "light on the water"]
CTX = Context(
    prompt="who are you",
    reply="leo is leo",
    pulse=Pulse(novelty=0.8, arousal=0.6, entropy=0.5),
    trauma_level=0.4,
    expert="structural",
)
FOUR = DialogueSettings(turns_min=4, candidates=1)
BORN = Friend(
    (Fragment(id=1, text="leo is a small organism", weight=1.0, origin=True, dialog=None, added_at=0.0),), 2
)

Answers = Callable[[Effect], Any]


def hooks(
    lines: list[str | Answer] = LINES,  # type: ignore[assignment]
    metrics: LineMetrics | None = None,
    recalled: list[str] | None = None,
) -> Answers:
    """Return a host that says these lines, reports these metrics of each, and remembers these snapshots."""

    def answer(effect: Effect) -> Any:
        match effect:
            case Generate(turn=turn):
                said = lines[turn - 1]
                return said if isinstance(said, Answer) else Answer(text=said)
            case Observe():
                return metrics
            case Recall(n=n):
                return (recalled or [])[:n]
            case _:
                return None

    return answer


def start(
    ctx: Context = CTX,
    friend: Friend = BORN,
    *,
    seed: int = 1,
    how: DialogueSettings = FOUR,
    can_recall: bool = False,
) -> Generator[Effect, Any, Result]:
    return speak_dialogue(ctx, friend, Draws(seed), how, can_recall=can_recall)


def drive(
    talk: Generator[Effect, Any, Result],
    answers: Answers,
    end_at: int | None = None,
    outcome: Outcome = "lost",
) -> tuple[list[Effect], Result]:
    """Run a dialogue to its end, throwing Ended in at the effect with the number `end_at`."""
    effects: list[Effect] = []
    try:
        effects.append(next(talk))
        while True:
            if len(effects) - 1 == end_at:
                effects.append(talk.throw(Ended(outcome)))
            else:
                effects.append(talk.send(answers(effects[-1])))
    except StopIteration as stop:
        return effects, stop.value


def asks(effects: list[Effect]) -> list[Generate]:
    return [effect for effect in effects if isinstance(effect, Generate)]


def kinds(effects: list[Effect]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


# --- the order of things


def test_each_line_is_recorded_and_then_observed() -> None:
    """P2: the dialogue asks to observe a line only when its record is answered."""
    effects, result = drive(start(can_recall=True), hooks())
    assert kinds(effects) == ["Recall", *["Generate", "Record", "Observe"] * 4]
    for generate, record, observe in zip(effects[1::3], effects[2::3], effects[3::3], strict=True):
        assert isinstance(record, Record)
        assert isinstance(observe, Observe)
        assert isinstance(generate, Generate)
        assert observe.line == record.line
        assert (record.line.turn, record.line.seed) == (generate.turn, generate.seed)
    assert (result.outcome, result.spoke) == ("complete", True)
    assert [line.text for line in result.lines] == LINES
    assert [line.turn for line in result.lines] == [1, 2, 3, 4]


def test_each_line_is_asked_for_as_often_as_there_are_candidates() -> None:
    effects, result = drive(start(how=DialogueSettings(turns_min=4, candidates=3)), hooks())
    assert kinds(effects) == [*["Generate"] * 3, "Record", "Observe"] * 4
    assert [ask.candidate for ask in asks(effects)] == [1, 2, 3] * 4
    first, *others = asks(effects)[:3]
    assert [replace(other, candidate=1) for other in others] == [first] * 2
    assert [line.candidates for line in result.lines] == [(text,) * 3 for text in LINES]


def test_speakers_alternate_and_leo_is_first() -> None:
    effects, result = drive(start(), hooks())
    assert [(ask.speaker, ask.role) for ask in asks(effects)] == [
        ("leo", "leo_dream"),
        ("friend", "friend"),
    ] * 2
    assert [line.speaker for line in result.lines] == ["leo", "friend", "leo", "friend"]


def test_a_dialogue_has_three_or_four_lines() -> None:
    lengths = [
        len(drive(start(seed=seed, how=DialogueSettings(candidates=1)), hooks())[1].lines)
        for seed in range(40)
    ]
    assert set(lengths) == {3, 4}
    assert 10 <= lengths.count(3) <= 30


def test_asks_a_host_with_recall_once() -> None:
    effects, _ = drive(start(can_recall=True), hooks())
    assert effects[0] == Recall("who are you leo is leo", 2)
    assert "Recall" not in kinds(drive(start(), hooks())[0])


# --- what is asked


def test_leo_begins_from_now_and_from_the_origin() -> None:
    effects, _ = drive(start(can_recall=True), hooks(recalled=["once", "twice"]))
    assert asks(effects)[0] == Generate(
        turn=1,
        speaker="leo",
        role="leo_dream",
        seed="who are you leo is leo once twice leo is a small organism",
        temperature=0.6 + 0.4 * 0.5,
        semantic_weight=0.3 + 0.1 * 0.8,
        expert="structural",
    )


def test_no_more_than_two_snapshots_are_taken() -> None:
    talk = start(can_recall=True)
    next(talk)
    ask = talk.send(["once", "twice", "thrice"])
    assert isinstance(ask, Generate)
    assert ask.seed == "who are you leo is leo once twice leo is a small organism"


def test_the_friend_answers_from_the_origin_and_the_last_lines() -> None:
    told = LineMetrics(arousal=0.5, trauma=0.3)
    second, fourth = asks(drive(start(), hooks(metrics=told))[0])[1::2]
    assert second == Generate(
        turn=2,
        speaker="friend",
        role="friend",
        seed="leo is a small organism the sea was here",
        temperature=0.7 + 0.3 * 0.5,
        semantic_weight=0.5 + 0.1 * 0.4,  # the context's trauma, the deeper of the two
        expert="structural",
    )
    assert fourth.seed == "leo is a small organism no one came home a door stood open"


def test_later_leo_lines_follow_the_local_pulse() -> None:
    third = asks(drive(start(), hooks(metrics=LineMetrics(entropy=0.25, novelty=0.125)))[0])[2]
    assert third == Generate(
        turn=3,
        speaker="leo",
        role="leo_dream",
        seed="leo is a small organism the sea was here no one came home",
        temperature=0.6 + 0.4 * 0.25,
        semantic_weight=0.3 + 0.1 * 0.125,
        expert="structural",
    )


@pytest.mark.parametrize(
    ("context_trauma", "line_trauma", "semantic_weight", "expert"),
    [
        (0.7, 0.0, 0.57, "structural"),
        (0.71, 0.0, 0.571, "wounded"),
        (0.0, 0.7, 0.57, "structural"),
        (None, 0.9, 0.59, "wounded"),
    ],
)
def test_the_friend_of_a_deep_trauma_is_wounded(
    context_trauma: float | None, line_trauma: float, semantic_weight: float, expert: str
) -> None:
    ctx = msgspec.structs.replace(CTX, trauma_level=context_trauma)
    leo, friend, later, _ = asks(drive(start(ctx), hooks(metrics=LineMetrics(trauma=line_trauma)))[0])
    assert friend.semantic_weight == pytest.approx(semantic_weight)
    assert friend.expert == expert
    assert leo.expert == later.expert == "structural"


@pytest.mark.parametrize("felt", [None, Pulse()])
def test_missing_measures_of_a_context_count_as_0(felt: Pulse | None) -> None:
    effects, result = drive(start(Context(pulse=felt), Friend()), hooks())
    first, second = asks(effects)[:2]
    assert (first.seed, first.temperature, first.semantic_weight, first.expert) == ("", 0.6, 0.3, "")
    assert (second.seed, second.semantic_weight) == (LINES[0], 0.5)
    assert result.lines[0].trauma == 0.0


def test_bounds_the_seed_of_a_line() -> None:
    much = "word " * 100_000
    effects, _ = drive(start(Context(prompt=much, reply=much), can_recall=True), hooks(recalled=[much, much]))
    assert len(effects[0].query) <= 2 * TEXT_CHARS + 1  # type: ignore[union-attr]
    assert len(asks(effects)[0].seed) <= 4 * TEXT_CHARS + 100


# --- the measures


def test_measures_a_line_if_the_hook_does_not() -> None:
    line = drive(start(), hooks(["Leo is a small door!", *LINES]))[1].lines[0]
    text = "Leo is a small door!"
    overlap = pulse.measure_overlap(text, BORN.origin_profile)
    assert overlap == pytest.approx(3 / 4)  # "leo is", "is a", "a small"
    assert line.novelty == pulse.measure_novelty(
        text, pulse.words_and_pairs("who are you") | pulse.words_and_pairs("leo is leo")
    )
    assert (line.arousal, line.entropy, line.overlap) == (
        pulse.measure_arousal(text),
        pulse.measure_entropy(text),
        overlap,
    )
    assert line.trauma == pytest.approx(0.5 * 0.4 + 0.5 * overlap)
    assert line.quality is None


@pytest.mark.parametrize("fragments", [4, 256])
def test_the_trauma_of_a_line_that_quotes_the_origin_does_not_depend_on_its_size(fragments: int) -> None:
    origin = [f"stone{n} keeps the river{n} and a light{n}" for n in range(fragments)]
    born = made_of([(text, 1.0, True) for text in origin])
    quoted, other = drive(start(friend=born), hooks([origin[0], *LINES]))[1].lines[:2]
    assert (quoted.overlap, quoted.trauma) == (1.0, pytest.approx(0.5 * 0.4 + 0.5))
    assert (other.overlap, other.trauma) == (0.0, pytest.approx(0.5 * 0.4))


def test_the_earlier_lines_are_no_longer_new() -> None:
    lines = drive(start(), hooks(["brave new world", "brave new thing", "who are you", "leo is world"]))[
        1
    ].lines
    assert lines[0].novelty == 1.0
    assert lines[1].novelty == pytest.approx(2 / 5)  # "thing", "new thing"
    assert lines[2].novelty == 0.0
    assert lines[3].novelty == pytest.approx(1 / 5)  # "is world"


def test_measures_of_hooks_replace_the_estimate_and_observe_wins() -> None:
    said: list[str | Answer] = [Answer(text="hello", novelty=0.1, overlap=0.9, quality=0.7), *LINES]
    effects, result = drive(start(), hooks(said, LineMetrics(novelty=0.2, trauma=0.3)))
    recorded = effects[1].line  # type: ignore[union-attr]
    assert (recorded.novelty, recorded.overlap, recorded.quality) == (0.1, 0.9, 0.7)
    assert recorded.trauma == pytest.approx(0.5 * 0.4 + 0.5 * 0.9)
    final = result.lines[0]
    assert (final.novelty, final.trauma, final.overlap, final.quality) == (0.2, 0.3, 0.9, 0.7)
    assert msgspec.structs.replace(final, novelty=0.1, trauma=recorded.trauma) == recorded


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({}, (30, 18)),
        ({"leo_words": 9, "friend_words": 12}, (9, 12)),
        ({"max_tokens": 6}, (6, 6)),
        ({"max_chars": 16}, (2, 2)),
        ({"candidates": 0}, (50, 50)),
    ],
)
def test_shortens_a_line_and_keeps_the_whole_text(how: dict[str, Any], words: tuple[int, int]) -> None:
    said = ["  " + "seven later rivers " * 20, "eight other stones " * 20, *LINES]
    leo, friend = drive(start(how=DialogueSettings(**{"candidates": 1} | how)), hooks(said))[1].lines[:2]
    assert (leo.text, leo.candidates) == (" ".join(said[0].split()[: words[0]]), (said[0],))
    assert (friend.text, friend.candidates) == (" ".join(said[1].split()[: words[1]]), (said[1],))


def test_cuts_an_answer_beyond_ten_lines() -> None:
    said = "stone " * 1000 + "Here it ends."
    line = drive(start(), hooks([said, *LINES]))[1].lines[0]
    assert (line.text, line.candidates) == (" ".join(["stone"] * 30), (cut_text(said),))


class Talk:
    """A host whose answers differ by turn and candidate."""

    def __init__(self, *lines: tuple[str | Answer, ...]) -> None:
        self.lines = lines

    def __call__(self, effect: Effect) -> Any:
        if not isinstance(effect, Generate):
            return None
        said = self.lines[effect.turn - 1][effect.candidate - 1]
        return said if isinstance(said, Answer) else Answer(text=said)


TWO = DialogueSettings(turns_min=4)


def test_the_line_is_of_the_candidate_that_answers_the_line_before() -> None:
    """The first one answers the prompt and the fragments that were drawn."""
    talk = Talk(
        ("A wall is high. The garden waits.", "Organism means: something small grows. And then some more of"),
        (Answer(text="We go home now.", novelty=0.9), Answer(text="Something grows in me.", novelty=0.1)),
        ("My garden grows slowly. The wall is far.", "You are late today."),
        ("It rains on the garden.", "They went out."),
    )
    effects, result = drive(start(how=TWO), talk)
    assert [line.text for line in result.lines] == [
        "Organism means: something small grows.",
        "Something grows in me.",
        "My garden grows slowly.",
        "It rains on the garden.",
    ]
    assert result.lines[1].novelty == 0.1  # as told of that candidate
    assert [effect.candidate for effect in effects if isinstance(effect, Observe)] == [2, 2, 1, 1]


def test_a_candidate_that_repeats_a_line_gives_way_to_another() -> None:
    talk = Talk(
        ("The sea was here.", "The SEA was here."),
        ("The sea was here!", "A boat came."),
        ("", "It went."),
        ("A boat came.", "It went."),
    )
    _, result = drive(start(how=TWO), talk)
    assert (result.outcome, [line.text for line in result.lines]) == (
        "repeat",
        ["The sea was here.", "A boat came.", "It went."],
    )
    silent = Talk(*talk.lines[:3], ("", " \n"))
    assert drive(start(how=TWO), silent)[1].outcome == "empty"


# --- how it ends


@pytest.mark.parametrize("silence", ["", "  \n"])
@pytest.mark.parametrize("turn", [1, 2, 3, 4])
def test_an_empty_line_ends_it_and_leaves_no_trace(silence: str, turn: int) -> None:
    effects, result = drive(start(), hooks([*LINES[: turn - 1], silence, *LINES]))
    assert kinds(effects) == [*["Generate", "Record", "Observe"] * (turn - 1), "Generate"]
    assert result.outcome == "empty"
    assert [line.text for line in result.lines] == LINES[: turn - 1]
    assert result.spoke == (turn > 1)


@pytest.mark.parametrize(
    ("again", "turn"), [("The sea was here!", 2), ("The sea was here!", 3), (LINES[1], 4)]
)
def test_a_repeated_line_ends_it_and_leaves_no_trace(again: str, turn: int) -> None:
    effects, result = drive(start(), hooks([*LINES[: turn - 1], again, *LINES]))
    assert kinds(effects)[-1] == "Generate"
    assert (result.outcome, len(result.lines)) == ("repeat", turn - 1)


def test_the_outcomes_are_a_closed_list() -> None:
    assert get_args(Outcome) == OUTCOMES
    assert {drive(start(), hooks(), 0, outcome)[1].outcome for outcome in OUTCOMES} == set(OUTCOMES)


@pytest.mark.parametrize("end_at", range(13))
def test_p2_keeps_recorded_lines_when_it_is_ended_at_any_effect(end_at: int) -> None:
    """If the dialogue ends at Record, the line is not there. If it ends at Observe, the line is there (P2)."""
    effects, result = drive(
        start(can_recall=True), hooks(metrics=LineMetrics(novelty=0.5)), end_at, "deadline"
    )
    assert len(effects) == end_at + 1
    assert result.outcome == "deadline"
    recorded = kinds(effects).count("Record") - (kinds(effects)[-1] == "Record")
    assert [line.text for line in result.lines] == LINES[:recorded]
    observed = kinds(effects).count("Observe") - (kinds(effects)[-1] == "Observe")
    assert [line.novelty == 0.5 for line in result.lines] == [True] * observed + [False] * (
        recorded - observed
    )


def test_passes_on_other_exceptions() -> None:
    talk = start()
    next(talk)
    with pytest.raises(KeyError):
        talk.throw(KeyError("a bug of the driver"))


@pytest.mark.parametrize(
    "wrong", [{"turns_min": 5}, {"turns_min": 0}, {"max_chars": 0}, {"call_deadline_s": 0}, {"turn_min": 3}]
)
def test_settings_refuse_values_that_allow_no_dialogue(wrong: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, DialogueSettings)


# --- any answers


TEXT = st.sampled_from(
    [
        *LINES,
        "no",
        "NO! NO! NO!",
        "...",
        "",
        "İ ß \x00",
        "👩‍👩‍👧 日本語",
        "\ud800 lone",
        "word " * 99,
        "x" * 999,
    ]
) | st.text(max_size=30)
UNIT = st.none() | st.floats(0, 1)
METRICS = st.builds(LineMetrics, UNIT, UNIT, UNIT, UNIT, UNIT, UNIT)
ANSWER = st.builds(Answer, UNIT, UNIT, UNIT, UNIT, UNIT, UNIT, text=TEXT)
CONTEXT = st.builds(
    Context,
    prompt=TEXT,
    reply=TEXT,
    pulse=st.none() | st.builds(Pulse, UNIT, UNIT, UNIT),
    trauma_level=UNIT,
    expert=st.sampled_from(["", "semantic"]),
)
FRAGMENTS = st.lists(st.tuples(TEXT, st.floats(0.05, 1), st.booleans()), max_size=6)


def made_of(parts: list[tuple[str, float, bool]]) -> Friend:
    return Friend(
        tuple(
            Fragment(id=i, text=text, weight=weight, origin=origin, dialog=None, added_at=0.0)
            for i, (text, weight, origin) in enumerate(parts)
        ),
        len(parts),
    )


def traced(effects: list[Effect], result: Result) -> list[str]:
    return [repr(effect) for effect in effects] + [repr(result)]  # floats and lone surrogates to the last bit


@settings(derandomize=True, print_blob=True)
@given(
    ctx=CONTEXT,
    parts=FRAGMENTS,
    said=st.lists(ANSWER, min_size=4, max_size=4),
    metrics=st.none() | METRICS,
    recalled=st.lists(TEXT, max_size=2),
    seed=st.integers(0, 2**63),
    end_at=st.none() | st.integers(0, 16),
    candidates=st.integers(0, 3),
)
def test_any_answers_give_a_dialogue_in_range_and_the_same_one_again(
    ctx: Context,
    parts: list[tuple[str, float, bool]],
    said: list[str | Answer],
    metrics: LineMetrics | None,
    recalled: list[str],
    seed: int,
    end_at: int | None,
    candidates: int,
) -> None:
    """P13: an equal seed and equal answers give equal effects to the byte, whatever was computed before."""
    how = DialogueSettings(candidates=candidates)
    friend = made_of(parts)
    warm, _ = friend.after(
        [], dialog=1, at=0.0, settings=FriendSettings(decay=1.0, floor=0.0, origin_floor=0.0)
    )
    runs = [
        drive(start(ctx, one, seed=seed, how=how, can_recall=True), hooks(said, metrics, recalled), end_at)
        for one in (friend, friend, made_of(parts), warm)
    ]
    assert all(traced(*run) == traced(*runs[0]) for run in runs)

    effects, result = runs[0]
    assert len(result.lines) <= 4
    assert result.outcome in ("complete", "empty", "repeat", "lost")
    assert result.outcome != "complete" or 3 <= len(result.lines) <= 4
    for line in [
        *result.lines,
        *(effect.line for effect in effects if isinstance(effect, (Record, Observe))),
    ]:
        check_line(line, how)
    for ask in asks(effects):
        assert 0.6 <= ask.temperature <= 1.0
        assert 0.3 <= ask.semantic_weight <= 0.6
    texts = [line.text for line in result.lines]
    assert not any(pulse.repeats_text(a, b) for i, a in enumerate(texts) for b in texts[:i])


def check_line(line: Line, how: DialogueSettings) -> None:
    measures = [line.novelty, line.arousal, line.entropy, line.trauma, line.overlap]
    assert all(0.0 <= measure <= 1.0 for measure in measures)
    assert line.text == line.text.strip() != ""
    assert len(line.text) <= how.max_chars
    assert len(pulse.split_words(line.text)) <= (30 if how.candidates else how.max_tokens)
    assert any(line.text in said for said in line.candidates)
