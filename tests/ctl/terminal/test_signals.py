"""Signals are deferred to the end of a block."""

import os
import signal

import pytest

from dreamd.ctl.terminal.signals import SIGNALS, signals_as_exit, signals_deferred


def test_defers_a_signal_to_the_end_of_the_block() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    done = []

    def interrupted() -> None:
        with signals_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert done
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_a_command_unless_nohup_has_it_ignored(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    ended = []
    try:
        with signals_as_exit():
            signal.raise_signal(signal.SIGHUP)
    except SystemExit as exit_:
        ended.append(exit_.code)
    finally:
        after = signal.signal(signal.SIGHUP, before)
    assert ended == ([] if ignored else [129])
    assert after == (signal.SIG_IGN if ignored else signal.SIG_DFL)


def test_restores_the_handlers_after_an_error() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    def failing() -> None:
        with signals_deferred():
            raise ValueError

    with pytest.raises(ValueError):
        failing()
    assert [signal.getsignal(number) for number in SIGNALS] == before
