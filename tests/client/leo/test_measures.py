"""The measures that leo does not tell: how new a prompt was, how good a reply will be, and whose voice spoke."""

from types import SimpleNamespace

import pytest
from dreamclient.leo.measures import PROMPT_CHARS, REMEMBERED, Senses, novelty
from dreamclient.messages import DreamContext, PulseSnapshot

from tests.helpers import leo_double


def senses_of(leo) -> Senses:
    return Senses(vars(leo_double))


def context(prompt="p", novelty=0.0, **more) -> DreamContext:
    return DreamContext(prompt=prompt, reply="r", pulse=PulseSnapshot(novelty, 0.2, 0.3), **more)


NEW = "seventeen unheard penguins waltz"


def test_novelty_is_measured_before_leo_has_heard_the_prompt(leo):
    senses = senses_of(leo)
    senses.prompt(leo, NEW)
    leo.observe(NEW)
    senses.prompt(leo, NEW)  # as he is asked to reply: it is known by now, and was measured
    assert senses.sharpened(leo, context(NEW)).pulse == PulseSnapshot(1.0, 0.2, 0.3)
    senses.answered(NEW)
    senses.prompt(leo, NEW)  # said again
    assert senses.sharpened(leo, context(NEW)).pulse.novelty == 0.0


def test_keeps_leos_own_novelty_if_he_has_one(leo):
    senses = senses_of(leo)
    senses.prompt(leo, NEW)
    assert senses.sharpened(leo, context(NEW, novelty=0.4)).pulse.novelty == 0.4
    assert senses.sharpened(leo, context("never heard")).pulse.novelty == 0.0
    assert senses.sharpened(leo, DreamContext(NEW, "r")).pulse == PulseSnapshot(novelty=1.0)
    assert senses.sharpened(leo, DreamContext("never heard", "r")).pulse is None


def test_measures_only_prompts_and_remembers_few(leo):
    senses = senses_of(leo)
    senses.prompt(leo, "word " * PROMPT_CHARS)
    assert not senses._novelty
    for n in range(2 * REMEMBERED):
        senses.prompt(leo, f"prompt {n}")
    assert len(senses._novelty) == REMEMBERED
    assert f"prompt {2 * REMEMBERED - 1}" in senses._novelty


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0.0),
        ("?!", 0.0),
        ("rain", 0.0),
        ("Rain", 0.0),
        ("penguin", 1.0),
        ("the rain remember the", 0.5),  # known words, in an order that is new
        ("remember the rain penguin", (0.25 + 0.5) / 2),
        ("remember the rain", 0.0),
        (NEW, 1.0),
    ],
)
def test_novelty_is_the_mean_of_unknown_words_and_unknown_triples(leo, text, expected):
    assert novelty(text, leo_double.tokenize(text), leo.vocab, leo.trigrams) == expected


def test_takes_the_quality_that_mathbrain_predicts(leo):
    state = leo_double.MathState(novelty=0.3, quality=0.7)
    told = senses_of(leo).sharpened(leo, context(math_state=state, quality=0.9))
    assert told.quality == pytest.approx(leo._math_brain.predict(state), abs=1e-12)
    assert senses_of(leo).sharpened(leo, context(quality=0.9)).quality == 0.9
    leo._math_brain = None
    assert senses_of(leo).sharpened(leo, context(math_state=state, quality=0.9)).quality == 0.9


@pytest.mark.parametrize("predict", [lambda state: 1 / 0, lambda state: float("nan"), lambda state: "much"])
def test_a_brain_that_cannot_tell_keeps_its_gate_shut(leo, predict):
    leo._math_brain = SimpleNamespace(predict=predict)
    state = leo_double.MathState()
    assert senses_of(leo).sharpened(leo, context(math_state=state, quality=0.9)).quality is None


def test_themes_are_those_that_the_prompt_touches(leo):
    """Leo's own dream layer reports all of his themes."""
    for prompt, themes in (("the grass at the door", [2, 1]), ("rain", [1]), ("nothing of them", [])):
        assert senses_of(leo).sharpened(leo, context(prompt, themes=[1, 2, 3])).themes == themes


def test_the_expert_has_his_plain_name(leo):
    assert senses_of(leo).sharpened(leo, context(expert="blend:wounded")).expert == "wounded"


def test_the_context_given_is_not_changed(leo):
    senses = senses_of(leo)
    senses.prompt(leo, NEW)
    ctx = context(NEW, expert="blend:wounded", quality=0.9, math_state=leo_double.MathState())
    before = (ctx.pulse, ctx.pulse.novelty, ctx.expert, ctx.quality)
    senses.sharpened(leo, ctx)
    assert (ctx.pulse, ctx.pulse.novelty, ctx.expert, ctx.quality) == before


def test_makes_a_context_of_the_state_after_a_reply(leo):
    reply = leo.reply("where is the rain")
    told = senses_of(leo).context(leo, "where is the rain", reply)
    assert (told.prompt, told.reply, told.trauma_level) == ("where is the rain", reply, 0.98)
    assert (told.pulse.entropy, told.quality, told.expert) == (0.4, 0.8, "blend:wounded")
    assert (told.math_state.entropy, told.math_state.trauma_level) == (0.4, 0.98)


def test_makes_a_context_for_a_leo_without_state(leo):
    bare = {"tokenize": leo_double.tokenize}
    told = Senses(bare).context(leo, "p", "r")
    assert (told.math_state, told.pulse, told.trauma_level, told.quality) == (
        None,
        PulseSnapshot(),
        0.0,
        None,
    )


def test_a_leo_of_an_earlier_version_is_measured_as_far_as_he_goes():
    class Early:
        vocab = ("rain",)

    senses = Senses({"tokenize": str.split})
    senses.prompt(Early(), "rain")
    told = senses.sharpened(Early(), senses.context(Early(), "rain", "r"))
    assert (told.pulse.novelty, told.themes, told.expert, told.quality) == (0.0, [], "", None)
