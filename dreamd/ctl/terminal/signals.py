"""Signals while a command runs: deferred, or ending it as an exception does."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heeded_signals(numbers: Iterable[signal.Signals]) -> list[signal.Signals]:
    """Return these signals, without SIGHUP if `nohup` has this process ignore it."""
    kept = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [number for number in numbers if kept or number != signal.SIGHUP]


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer signals to the end of the block, because half a start could not be undone."""
    held: list[int] = []
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if held:
        signal.raise_signal(held[0])


ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_as_exit() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into SystemExit during the block, so that started commands are cleaned up."""

    def leave(number: int, _: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = [(number, signal.signal(number, leave)) for number in heeded_signals(ENDING)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
