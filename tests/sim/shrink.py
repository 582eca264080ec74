"""Make a failing history short: leave out events and leos while it fails in the same way."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.sim.history import History

MOST_RUNS = 300


def shrink(history: "History", promise: str, run: Callable[["History"], Any]) -> "History":
    """Return a shorter history in which the same promise does not hold."""
    left = MOST_RUNS

    def fails(candidate: "History") -> bool:
        nonlocal left
        left -= 1
        failure = run(candidate).failure if left >= 0 else None
        return failure is not None and failure.promise == promise

    size = max(1, len(history.events) // 2)
    while left > 0:
        at, before = 0, len(history.events)
        while at < len(history.events) and left > 0:
            events = history.events[:at] + history.events[at + size :]
            candidate = replace(history, events=events)
            if fails(candidate):
                history = candidate
            else:
                at += size
        if size == 1 and len(history.events) == before:
            break
        size = max(1, size // 2)
    while len(history.leos) > 1 and fails(candidate := replace(history, leos=history.leos[:-1])):
        history = candidate
    return history


def report(outcome: Any, run: Callable[["History"], Any]) -> str:
    """Return a failure in words: the short history, and the last steps of its run."""
    short = shrink(outcome.history, outcome.failure.promise, run)
    again = run(short)
    return "\n".join(
        [
            f"{len(outcome.history.events)} events, {len(short.events)} are needed:",
            f"settings {short.settings}",
            *(f"leo {number}: {leo}" for number, leo in enumerate(short.leos)),
            *map(str, short.events),
            "the last steps:",
            *again.told,
            f"{again.failure}",
        ]
    )
