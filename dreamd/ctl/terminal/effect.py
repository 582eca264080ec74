"""The effect of dreams in words: one sentence first, then how it was found."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dreamd.ctl.terminal.dialogues import count_of
from dreamd.ctl.terminal.layout import format_moment, format_span
from dreamd.ctl.terminal.output import command_to_copy
from dreamd.dream.trial import FED_S

Figures = Mapping[str, Any]

LEAST_MEAN = 0.01  # of a smaller one a difference is no meaningful percentage

COUNTED = (
    f"A reply counts if it comes at least {FED_S:.0f} s after one for which chance alone decided: after one in the "
    "cooldown, or with calm gates, it does not."
)

HEAD = ("measure", "change", "95 % interval", "after a dream", "without", "p")
_NAMES = {
    "novelty": "novelty",
    "quality": "quality",
    "distinct_pairs": "distinct pairs",
    "origin": "origin",
    "from_dreams": "from dreams",
}
# What a reply is or holds, if a measure is higher, and if it is lower.
_MORE_OR_LESS = {
    "novelty": ("held {} more words and pairs that were new", "held {} fewer words and pairs that were new"),
    "quality": ("were {} better by his own measure", "were {} worse by his own measure"),
    "distinct_pairs": ("held {} more distinct word pairs", "held {} fewer distinct word pairs"),
    "origin": ("held {} more of his origin", "held {} less of his origin"),
    "from_dreams": ("held {} more words from dreams", "held {} fewer words from dreams"),
}


def effect_in_words(effect: Figures) -> str:
    """Return the answer in one sentence, or one for each measure that differs."""
    if not effect["replies"] and (hindrance := _hindrance(effect)):
        return hindrance
    if not effect["enough"]:
        return f"Too few to judge: {effect['replies']} of about {effect['needed']} replies."
    if not effect["fed"]:
        return (
            f"Of {count_of(effect['dreamt'], 'dream')} none fed a line to leo, so there is nothing to judge."
        )
    found = [_difference_in_words(each) for each in effect["differences"] if each["differs"]]
    if not found:
        return f"Over {effect['replies']} replies, dreams changed nothing that can be told from chance."
    return " ".join(found)


def about_the_trial(effect: Figures, now: float) -> Iterator[str]:
    """Yield how many replies were compared, and what a reader must know of them, a sentence each."""
    hindrance = _hindrance(effect)
    if not (effect["enough"] or hindrance):
        yield COUNTED
    if not effect["replies"]:
        return
    replies, dreamt = effect["replies"], effect["dreamt"]
    since, until = effect["since"], effect["until"]
    yield (
        f"Compared: replies of {effect['client']}, {dreamt} after a dream and {replies - dreamt} without one,"
        f" {format_moment(since, now)} to {format_moment(until, now)}."
    )
    if not (effect["enough"] or hindrance) and until > since:
        left_s = (until - since) / (replies - 1) * (effect["needed"] - replies)
        yield f"If he goes on like this, there are enough in {format_span(left_s)}."
    if dreamt > effect["fed"]:
        yield f"Of the dreams {dreamt - effect['fed']} fed nothing in time. They count as dreams."
    if others := [f"{name} {count}" for name, count in effect["clients"].items() if name != effect["client"]]:
        yield f"Others have replies too: {', '.join(others)}. `{command_to_copy('effect --client NAME')}` shows them."
    if hindrance:
        yield f"No reply is added now. {hindrance}"
    if effect["enough"]:
        yield "p is for all measures together: with 0.05 or less a change counts as a difference."


def effect_rows(effect: Figures) -> list[Sequence[str]]:
    """Return a row for each measure, under HEAD."""
    return [_row(each) for each in effect["differences"]]


def _row(each: Figures) -> Sequence[str]:
    name = _NAMES[each["measure"]]
    if each["difference"] is None:
        return (name, "-", "not known", "-", "-", "-")
    judged = each["p"] is not None
    return (
        name,
        _signed(each["difference"]),
        f"{_signed(each['low'])} to {_signed(each['high'])}" if judged else f"too few: {each['replies']}",
        f"{each['dreamt']:.3f}",
        f"{each['without']:.3f}",
        f"{each['p_holm']:.3f}" if judged else "-",
    )


def _signed(value: float) -> str:
    return f"{value:+.3f}" if abs(value) >= 0.0005 else "0.000"


def _difference_in_words(each: Figures) -> str:
    """Return a sentence such as "Replies after a dream held 8 % more distinct word pairs (3 to 13 %)"."""
    whole, unit = (each["without"], " %") if each["without"] >= LEAST_MEAN else (1.0, " percentage points")
    sign = 1 if each["difference"] > 0 else -1
    size, *ends = (100 * sign * value / whole for value in (each["difference"], each["low"], each["high"]))
    low, high = sorted(ends)
    words = _MORE_OR_LESS[each["measure"]][sign < 0].format(f"{_plain(size)}{unit}")
    return f"Replies after a dream {words} ({_plain(low)} to {_plain(high)}{unit})."


def _plain(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 9.5 else f"{value:.1f}".removesuffix(".0")


def _hindrance(effect: Figures) -> str:
    """Return why no reply can be compared now and what to do, or an empty text."""
    if effect["feed"] is False:
        cure = command_to_copy("config set dialogue.feed true")
        return f"Dreams are not fed to leo, so there is nothing to compare. `{cure}` feeds them."
    chance = effect["chance"]
    if chance is None or 0 < chance < 1:
        return ""
    cure = command_to_copy("config set gate.chance 0.5")
    return f"gate.chance is {chance:g}, so there is nothing to compare with. `{cure}` lets chance decide."
