"""The configuration of the suite. Several processes run it, each file in one of them, in a new order each time.
Properties have fixed examples in `make test`, and new ones in `make hunt`."""

import os
import random
import signal
import traceback
from itertools import islice
from pathlib import Path
from typing import Any

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
# And `nohup` leaves the end of the terminal ignored. A handler goes on ignoring it here, and is no child's.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# The suite starts hundreds of daemons: without compiled modules a start takes half as long again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# The debug mode of asyncio notes the stack at which each future, task and handle was made: sixty frames of pytest below
# a few of ours, which took half the time of the tests that send much. The innermost few say it.
whole_stack, FRAMES = traceback.walk_stack, 5
traceback.walk_stack = lambda frame: islice(whole_stack(frame), FRAMES)

TESTS = Path(__file__).parent
FIRST = {"systemd": 0, "test_install.py": 1, "promises": 2, "faults": 3, "ctl": 4, "daemon": 5, "engine": 6}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that repeats an order."""
    parser.addoption(
        "--order-seed", type=int, metavar="N", help="run the tests in the order of an earlier run"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose an order, unless one is given or this process runs tests for another one."""
    if hasattr(config, "workerinput"):
        config.option.order_seed = config.workerinput["order_seed"]
    elif config.option.order_seed is None:
        config.option.order_seed = random.randrange(1_000_000)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_configure_node(node: Any) -> None:
    """Hand the order on to a process that runs tests."""
    node.workerinput["order_seed"] = node.config.option.order_seed


def pytest_report_header(config: pytest.Config) -> str:
    """Say how to repeat this order."""
    return f"random order: --order-seed {config.option.order_seed}"


@pytest.hookimpl(tryfirst=True)  # pytest-xdist looks at the groups next
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group the tests of a file, which share a daemon, and all of tests/systemd, which share the one place of user
    managers on this machine. Shuffle the groups, and the tests in each. The groups that take long begin first, or one
    would run alone at the end."""
    order = random.Random(config.option.order_seed)
    order.shuffle(items)
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        group = group_of(item)
        item.add_marker(pytest.mark.xdist_group(group))
        groups.setdefault(group, []).append(item)
    begin_early = sorted(groups, key=lambda group: FIRST.get(group.split("/")[0], len(FIRST)))
    items[:] = [item for group in begin_early for item in groups[group]]


def group_of(item: pytest.Item) -> str:
    """Return the name of the group that one process runs: its file, or `systemd`."""
    place = item.path.relative_to(TESTS)
    return "systemd" if place.parts[0] == "systemd" else str(place)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a test of a long text by its beginning: half a megabyte is no name."""
    return f"{val[:40]!a}.." if isinstance(val, str | bytes) and len(val) > 60 else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write the figures that tests have recorded into the closing lines, and the order if a test has failed."""
    for report in terminalreporter.getreports("passed"):
        for name, figure in report.user_properties:
            terminalreporter.write_line(f"{name}: {figure}")
    if terminalreporter.getreports("failed") or terminalreporter.getreports("error"):
        terminalreporter.write_line(
            pytest_report_header(terminalreporter.config)
        )  # `-q` leaves out the first lines
