"""The trial: which next replies are compared, and how they are measured."""

from functools import partial

import pytest

from dreamd.dream.gate import Decision, GateSettings, Reason
from dreamd.dream.measures import bigram_profile, words_overlap
from dreamd.dream.model import Context
from dreamd.dream.trial import FED_S, LATELY, LATELY_BYTES, ComparedReply, Trial

ORIGIN = bigram_profile("the boat waits behind the garden")


def drawn(reason: Reason = "dream", chance: float = 0.5) -> Decision:
    return Decision(at=0.0, dream=reason == "dream", reason=reason, gate=GateSettings(chance=chance))


def told(trial: Trial, reply: str = "a reply", now_s: float = 0.0, **more: object) -> ComparedReply | None:
    ctx = Context(prompt="p", reply=reply, **more)  # type: ignore[arg-type]
    overlap = partial(words_overlap, origin=ORIGIN)
    return trial.next_reply(ctx, client="leo", at=1e9 + now_s, now_s=now_s, overlap=overlap, from_dreams=0.25)


def test_measures_the_next_reply_by_the_last_ones_and_the_origin() -> None:
    trial = Trial()
    assert told(trial, "the boat is here") is None
    trial.draw(drawn(), 0.0, {1: "answered", 2: "refused"})
    state = {"quality": 0.75}
    assert told(trial, "the boat the boat waits", 30.0, quality=0.5, math_state=state) == ComparedReply(
        at=1e9 + 30, client="leo", chance=0.5, dreamt=True, fed=True,
        novelty=pytest.approx(3 / 6),  # waits, boat the, boat waits; of these and: the, boat, the boat
        quality=0.75, distinct_pairs=pytest.approx(3 / 4), origin=pytest.approx(3 / 4), from_dreams=0.25,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "fed"), [({}, False), ({1: "refused", 2: "failed"}, False), ({1: "answered"}, True)]
)
def test_a_dream_has_been_fed_if_a_line_was_taken_by_the_time_of_the_reply(
    said: dict[int, str], fed: bool
) -> None:
    trial, observed = Trial(), dict[int, str]()
    trial.draw(drawn(), 0.0, observed)
    observed |= said  # while it runs
    compared = told(trial, now_s=FED_S)
    assert compared is not None
    assert (compared.dreamt, compared.fed) == (True, fed)


@pytest.mark.parametrize("reason", ["dream", "chance"])
def test_both_arms_need_the_time_in_which_a_dream_is_fed(reason: Reason) -> None:
    for seconds, kept in ((FED_S - 0.1, False), (FED_S, True), (1e6, True)):
        trial = Trial()
        trial.draw(drawn(reason), 0.0, {})
        compared = told(trial, now_s=seconds)
        assert (compared is not None) is kept
        if compared:
            assert compared.dreamt is (reason == "dream")
        assert told(trial, now_s=seconds + FED_S) is None  # only the next one


@pytest.mark.parametrize(
    "decision",
    [
        drawn("calm"),
        drawn("cooldown"),
        drawn("asked"),
        drawn("dream", 1.0),
        drawn("chance", 0.0),
        drawn("dream", 2),
    ],
)
def test_compares_nothing_that_chance_did_not_decide(decision: Decision) -> None:
    trial = Trial()
    trial.draw(decision, 0.0, {})
    assert told(trial, now_s=60.0) is None


def test_a_dream_by_hand_spoils_the_next_reply() -> None:
    trial = Trial()
    trial.draw(drawn(), 0.0, {})
    trial.spoil()
    assert told(trial, now_s=60.0) is None


def test_leaves_out_measures_that_are_not_known() -> None:
    for reply, quality, none in (("", None, 4), ("...", 0.5, 3), ("one", 0.5, 2)):
        trial = Trial()
        trial.draw(drawn(), 0.0, {})
        compared = told(trial, reply, 60.0, quality=quality)
        assert compared is not None
        values = (
            compared.novelty,
            compared.quality,
            compared.distinct_pairs,
            compared.origin,
            compared.from_dreams,
        )
        assert values.count(None) == none, reply


def test_knows_only_the_beginnings_of_the_last_replies() -> None:
    trial = Trial()
    told(trial, "an old word")
    for number in range(LATELY):
        told(trial, f"🜂{'🜁' * 4000} {number}")
    assert sum(map(len, trial._lately)) <= LATELY * LATELY_BYTES
    trial.draw(drawn(), 0.0, {})
    compared = told(trial, "an old word", 60.0)
    assert compared is not None
    assert compared.novelty == 1.0
