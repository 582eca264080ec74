"""What leo does not tell his dreams: how new a prompt was, how good a reply will be, and whose voice spoke."""

from contextlib import closing
from types import SimpleNamespace

import msgpack
import pytest
from dreamclient.leo.measures import PROMPT_CHARS, REMEMBERED, Senses, foresight, novelty
from dreamclient.messages import MESSAGE_BYTES, DreamContext, PulseSnapshot

from tests.helpers import leo_double


@pytest.fixture
def leo(tmp_path):
    with closing(leo_double.settle(tmp_path)) as connection:
        yield leo_double.LeoField(connection)


def senses_of(leo) -> Senses:
    return Senses(leo, vars(leo_double))


def context(prompt="p", novelty=0.0, **more) -> DreamContext:
    return DreamContext(prompt=prompt, reply="r", pulse=PulseSnapshot(novelty, 0.2, 0.3), **more)


NEW = "seventeen unheard penguins waltz"


def test_novelty_is_measured_before_leo_has_heard_the_prompt(leo):
    senses = senses_of(leo)
    senses.prompt(leo, NEW)
    leo.observe(NEW)
    senses.prompt(leo, NEW)  # as he is asked to reply: it is known by now, and was measured
    assert senses.sharpened(context(NEW)).pulse == PulseSnapshot(1.0, 0.2, 0.3)
    senses.answered(NEW)
    senses.prompt(leo, NEW)  # said again
    assert senses.sharpened(context(NEW)).pulse.novelty == 0.0


def test_leos_own_novelty_is_kept_where_he_has_one(leo):
    senses = senses_of(leo)
    senses.prompt(leo, NEW)
    assert senses.sharpened(context(NEW, novelty=0.4)).pulse.novelty == 0.4
    assert senses.sharpened(context("never heard")).pulse.novelty == 0.0
    assert senses.sharpened(DreamContext(NEW, "r")).pulse == PulseSnapshot(novelty=1.0)
    assert senses.sharpened(DreamContext("never heard", "r")).pulse is None


def test_what_is_no_prompt_is_not_measured_and_few_are_remembered(leo):
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


def test_quality_is_as_mathbrain_predicts_it(leo):
    state = leo_double.MathState(novelty=0.3, quality=0.7)
    told = senses_of(leo).sharpened(context(math_state=state, quality=0.9))
    assert told.quality == pytest.approx(leo._math_brain.predict(state), abs=1e-12)
    assert senses_of(leo).sharpened(context(quality=0.9)).quality == 0.9
    leo._math_brain = None
    assert senses_of(leo).sharpened(context(math_state=state, quality=0.9)).quality == 0.9


def test_plain_arithmetic_is_used_only_where_it_is_seen_to_be_right(leo):
    class Asked(leo_double.MathBrain):
        asked = 0

        def predict(self, state):
            self.asked += 1
            return super().predict(state)

    class Other(Asked):
        def predict(self, state):
            return 1 - super().predict(state)

    names, state = vars(leo_double), leo_double.MathState(quality=0.2)
    brain = Asked()
    brain.__class__.__module__ = leo_double.__name__  # where its features are looked for
    predict = foresight(brain, names)
    assert predict(state) == pytest.approx(leo_double.MathBrain().predict(state), abs=1e-12)
    assert brain.asked == 1
    other = Other()
    assert foresight(other, names)(state) == other.predict(state)
    assert foresight(leo_double.MathBrain(), {})(state) == leo_double.MathBrain().predict(state)
    assert foresight(object(), names) is None


def test_a_brain_that_cannot_tell_keeps_its_gate_shut(leo):
    def fails(state):
        raise ZeroDivisionError

    assert foresight(SimpleNamespace(predict=fails), vars(leo_double))(None) is None
    assert foresight(SimpleNamespace(predict=lambda state: float("nan")), vars(leo_double))(None) is None


def test_the_expert_has_his_plain_name(leo):
    assert senses_of(leo).sharpened(context(expert="blend:wounded")).expert == "wounded"


def test_the_context_given_is_not_changed(leo):
    senses = senses_of(leo)
    senses.prompt(leo, NEW)
    ctx = context(NEW, expert="blend:wounded", quality=0.9, math_state=leo_double.MathState())
    before = (ctx.pulse, ctx.pulse.novelty, ctx.expert, ctx.quality)
    senses.sharpened(ctx)
    assert (ctx.pulse, ctx.pulse.novelty, ctx.expert, ctx.quality) == before


def test_a_context_is_made_of_what_a_reply_left_behind(leo):
    reply = leo.reply("where is the rain")
    told = senses_of(leo).context(leo, "where is the rain", reply)
    assert (told.prompt, told.reply, told.themes, told.trauma_level) == (
        "where is the rain",
        reply,
        [1, 2],
        0.98,
    )
    assert (told.pulse.entropy, told.quality, told.expert) == (0.4, 0.8, "blend:wounded")
    assert (told.math_state.entropy, told.math_state.trauma_level) == (0.4, 0.98)


def test_a_leo_without_state_of_his_own_has_a_context_all_the_same(leo):
    bare = {"tokenize": leo_double.tokenize}
    told = Senses(leo, bare).context(leo, "p", "r")
    assert (told.math_state, told.pulse, told.trauma_level, told.quality) == (
        None,
        PulseSnapshot(),
        0.0,
        None,
    )


def test_texts_that_no_message_could_hold_are_cut(leo):
    long = "\N{CRAB}" * 1_000_000
    told = senses_of(leo).sharpened(DreamContext(long, long))
    assert (len(told.prompt), len(told.reply)) == (100_000, 100_000)
    assert len(msgpack.packb(vars(told) | {"pulse": None})) < MESSAGE_BYTES
