"""A decision in words: why leo dreamt, or did not, with the numbers that decided."""

from collections.abc import Callable, Mapping
from typing import Any

from dreamd.ctl.terminal.layout import format_moment, format_share
from dreamd.ctl.terminal.output import command_to_copy


def in_words(decision: Mapping[str, Any]) -> str:
    """Return a decision of `why` as a line. What a daemon of another version leaves out is left out here too."""
    reason = str(decision.get("reason", "?"))
    words = _WORDS.get(reason)
    share = decision.get("from_dreams")
    brought = f"; {format_share(share)} of the reply came from dreams" if share else ""
    return (f"{reason}: {words(decision)}" if words else reason) + brought


def _cooldown_words(decision: Mapping[str, Any]) -> str:
    whole = _gate_of(decision).get("cooldown_s")
    left = f"{decision.get('wait_s', 0):.0f} s"
    return f"{left} left" if whole is None else f"{left} of {whole:g} left"


def _mute_words(decision: Mapping[str, Any]) -> str:
    wait_s = decision.get("wait_s", 0)
    return f"the last dialogue said nothing (`{command_to_copy('doctor')}` says why); asked again in {wait_s:.0f} s"


def _calm_words(decision: Mapping[str, Any]) -> str:
    seen = ", ".join(text for _, text in _measure_words(decision))
    return f"nothing called for a dream, since {seen or 'no measures were given'}"


def _chance_words(decision: Mapping[str, Any]) -> str:
    return (
        f"{_stirred_words(decision)} opened the gate, but the dice said no: {_draw_words(decision, 'needed')}"
    )


def _dream_words(decision: Mapping[str, Any]) -> str:
    return f"{_stirred_words(decision)} opened the gate, and the dice said yes: {_draw_words(decision, 'which is')}"


def _paused_words(decision: Mapping[str, Any]) -> str:
    at, wait_s = decision["at"], decision.get("wait_s")
    until = "" if wait_s is None else f"{format_moment(at + wait_s, at)}, or "
    return f"until {until}`{command_to_copy('resume')}`"


_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "disabled": lambda _: "gate.enabled is false",
    "paused": _paused_words,
    "degraded": lambda _: f"no dream can be kept now; `{command_to_copy('status')}` says why",
    "no_hooks": lambda _: "this session provides no generate or no observe",
    "busy": lambda _: "a dialogue of this name was running, or the friend was being changed",
    "mute": _mute_words,
    "cooldown": _cooldown_words,
    "calm": _calm_words,
    "chance": _chance_words,
    "dream": _dream_words,
    "asked": lambda _: "a dream was asked for, past all gates",
    "resumed": lambda _: "a dream that was interrupted goes on",
}


def _gate_of(decision: Mapping[str, Any]) -> Mapping[str, Any]:
    return decision.get("gate") or {}


def _draw_words(decision: Mapping[str, Any], below: str) -> str:
    chance = _gate_of(decision).get("chance")
    drawn = decision.get("drawn", 0.0)
    return f"{drawn:.2f}" if chance is None else f"{drawn:.2f}, {below} below {chance:g}"


def _stirred_words(decision: Mapping[str, Any]) -> str:
    return ", ".join(text for stirs, text in _measure_words(decision) if stirs) or "a measure"


# How a reply with more, or less, of a signal compares with others.
_MORE = {
    "trauma": ("more wounded", "less wounded"),
    "overlap": ("nearer to the origin", "farther from the origin"),
    "novelty": ("newer", "less new"),
    "quality": ("better", "worse"),
    "measured": ("better", "worse"),
}


def _measure_words(decision: Mapping[str, Any]) -> list[tuple[bool, str]]:
    """Return each measure against its threshold, or among the last ones, and whether it calls for a dream."""
    gate = _gate_of(decision)
    places = decision.get("places") or {}
    found = []
    for name in ("trauma", "novelty", "quality"):
        value = decision.get(name)
        if name in places:
            found.append(_rank_words(name, places[name]))
        elif value is not None and name == "quality":
            low, high = gate.get("quality_low") or 0.0, gate.get("quality_high") or 0.0
            stirs = low <= value <= high
            words = f"quality {value:.2g} {'within' if stirs else 'outside'} {low:g}-{high:g}"
            found.append((stirs, words))
        elif value is not None:
            above = gate.get(f"{name}_above") or 0.0
            stirs = value > above
            found.append((stirs, f"{name} {value:.2g} {'>' if stirs else '≤'} {above:g}"))
    return found


def _rank_words(name: str, place: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether the gate is open, and in words where a value stands among the last ones."""
    signal, value, among = place["signal"], place["value"], place["among"]
    instead = "" if signal == name else f" (in place of {name}, which does not vary)"
    if not place.get("varies", True):
        return False, f"{signal} {value:.2g} does not vary, so it decides nothing"
    more, less = _MORE.get(signal, ("higher", "lower"))
    below, above = place["below"], place["above"]
    beaten = f"{more} than after {below}" if below >= above else f"{less} than after {above}"
    return bool(place.get("open")), f"{signal} {value:.2g}: {beaten} of his last {among} replies{instead}"
