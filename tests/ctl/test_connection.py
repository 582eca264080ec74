"""Signals wait while something is started that could not be undone half way."""

import os
import signal

import pytest

from dreamd.ctl.connection import SIGNALS, undisturbed


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    done = []

    def interrupted() -> None:
        with undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_an_error_in_the_block_leaves_the_handlers_as_they_were() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    def failing() -> None:
        with undisturbed():
            raise ValueError

    with pytest.raises(ValueError):
        failing()
    assert [signal.getsignal(number) for number in SIGNALS] == before
