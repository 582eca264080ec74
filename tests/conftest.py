"""The configuration of the suite. Several processes run it, each file in one of them. Properties have fixed examples in
`make test`, and new ones in `make hunt`."""

import os
import signal
import traceback
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("suite", max_examples=50, derandomize=True, deadline=None, print_blob=True)
settings.register_profile(
    "hunt", max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

# A shell that starts the suite in the background leaves Ctrl-C ignored, and every child would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The suite starts hundreds of daemons: without compiled modules a start takes half as long again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The debug mode of asyncio notes the stack at which each future, task and handle was made: sixty frames of pytest below
# a few of ours, which took half the time of the tests that send much. The innermost few say it.
whole_stack, FRAMES = traceback.walk_stack, 5
traceback.walk_stack = lambda frame: islice(whole_stack(frame), FRAMES)

TESTS = Path(__file__).parent
FIRST = {"systemd": 0, "test_install.py": 1, "promises": 2, "faults": 3, "ctl": 4, "daemon": 5, "engine": 6}


@pytest.hookimpl(tryfirst=True)  # pytest-xdist looks at the groups next
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests of a file, which share a daemon, and all of tests/systemd, which share the one place of user
    managers on this machine. The groups that take long begin first, or one would run alone at the end."""
    items.sort(key=lambda item: FIRST.get(item.path.relative_to(TESTS).parts[0], len(FIRST)))
    for item in items:
        shared = TESTS / "systemd" if item.path.is_relative_to(TESTS / "systemd") else item.path
        item.add_marker(pytest.mark.xdist_group(str(shared.relative_to(TESTS))))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the figures that tests have recorded into the closing lines."""
    for report in terminalreporter.getreports("passed"):
        for name, figure in report.user_properties:
            terminalreporter.write_line(f"{name}: {figure}")
