"""Measure what grows with the past: a dialogue, a search, lists, a report, and an inbox without a consumer."""

import os
import subprocess
import sys
import tempfile
import time
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.bench.calls.program import busy_ns
from tests.bench.daemon import ask, connected, dreamd, greet, running
from tests.bench.harness import Bench, Bound, Figures
from tests.bench.leo import dream
from tests.bench.past import with_files, with_lines

FEW, MANY, REPORTED, FILES = 1_000, 1_000_000, 40_000, 50_000
DIALOGUES, WARM = 100, 20  # that are timed, and those before them
NEW = ("--set", "inbox.enabled=false")


def bench(quick: bool) -> Bench:
    """Return the comparison."""
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # of all rounds
    root = Path(folder.name)
    systems = {
        "10^3 lines": partial(once, root, FEW, folder),
        "10^6 lines": partial(once, root, MANY, folder),
        "10,000 dialogues": partial(report, root, folder),
        "50,000 files": partial(waiting, root, folder),
    }
    bounds = [
        Bound(
            "10^6 lines",
            "dialogue_busy_ms",
            most=1.05,
            over="10^3 lines",
            what="a dialogue at 10⁶ lines, busy",
        ),
        Bound("10^6 lines", "search_s", most=0.3, what="search in 10⁶ lines"),
        Bound("10^6 lines", "recent_s", most=0.15, what="`dialogs.recent` in 10⁶ lines"),
        Bound("10^6 lines", "show_s", most=0.15, what="`dialogs.get` in 10⁶ lines"),
    ]
    return Bench("growth", systems, bounds)


@cache
def _lines(root: Path, lines: int) -> Path:
    return with_lines(root / f"lines-{lines}", lines)


@cache
def _files(root: Path) -> Path:
    return with_files(root / "files", FILES)


def once(root: Path, lines: int, _folder: object) -> Figures:
    """Measure a daemon on a database of so many lines."""
    state = _lines(root, lines)
    with running(dreamd(state, *NEW), state / "dreamd.sock") as server:
        found = {"dialogue_busy_ms": _dialogue_ms(server.pid, state)}
        with connected(state / "dreamd.sock") as sock:
            greet(sock)
            found["search_s"] = _timed(sock, "dialogs.search", "quiet river", 10)
            found["recent_s"] = _timed(sock, "dialogs.recent", 10)
            found["show_s"] = _timed(sock, "dialogs.get", lines // 8)
    return found


def _dialogue_ms(pid: int, state: Path) -> float:
    """Return the processor time of the daemon for a dialogue."""
    dream(state / "dreamd.sock", WARM)
    before = busy_ns(pid)
    dream(state / "dreamd.sock", DIALOGUES)
    return (busy_ns(pid) - before) / DIALOGUES / 1e6


def _timed(sock: Any, method: str, *params: Any) -> float:
    before = time.perf_counter()
    ask(sock, method, *params)
    return time.perf_counter() - before


def report(root: Path, _folder: object) -> Figures:
    """Time `dreamctl report` on 10,000 dialogues, without a daemon."""
    state = _lines(root, REPORTED)
    script = str(Path(sys.executable).with_name("dreamctl"))
    before = time.perf_counter()
    out = ["--out", str(root / "report.html"), "--force"]
    subprocess.run(
        [script, "--state-dir", str(state), "report", *out], check=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "BROWSER": "true"},
    )  # fmt: skip
    return {"report_s": time.perf_counter() - before}


def waiting(root: Path, _folder: object) -> Figures:
    """Measure a daemon whose inbox holds 50,000 waiting files."""
    state = _files(root)
    with running(dreamd(state), state / "dreamd.sock") as server:
        found = {"dialogue_busy_ms": _dialogue_ms(server.pid, state)}
        with connected(state / "dreamd.sock") as sock:
            greet(sock)
            found["inbox_list_s"] = _timed(sock, "inbox.list", 10)
    return found
