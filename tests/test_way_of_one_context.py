"""Follow one context through the daemon, and hold docs/architecture.md to the files that it passes."""

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import dreamclient
import pytest
from dreamclient.messages import Method

import dreamd
from dreamd.wire.session import Session
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import ORIGIN, STIRRED, leo, settled
from tests.helpers.waiting import until_on_loop

ROOTS = {Path(package.__file__).parent: package.__name__ for package in (dreamd, dreamclient)}
PAGE = Path(dreamd.__file__).parents[1] / "docs" / "architecture.md"
MOST_STEPS = 12  # from the socket to the gate
GATE = "dreamd/dream/gate.py"
# A class and its base, which call each other: no step between them.
PEER = {"dreamd/wire/guarded.py", "dreamclient/protocol/rpc.py"}


def file_of(frame: FrameType) -> str:
    """Return the file of a frame as docs/architecture.md names it; empty if it is none of ours."""
    path = Path(frame.f_code.co_filename)
    for root, package in ROOTS.items():
        if path.is_relative_to(root):
            return f"{package}/{path.relative_to(root).as_posix()}"
    return ""


class Walk:
    """The calls from one file into another, on all threads, while `on`."""

    def __init__(self) -> None:
        self.on = False
        self.steps: list[tuple[str, str]] = []
        self.files: list[str] = []

    def see(self, frame: FrameType, event: str, _: Any) -> None:
        """Note the calls between files: this is a profile function."""
        if not self.on or event != "call" or not (entered := file_of(frame)):
            return
        caller = file_of(frame.f_back) if frame.f_back else ""
        if entered not in self.files:
            self.files.append(entered)
        step = ("peer" if caller in PEER else caller, "peer" if entered in PEER else entered)
        if step[0] != step[1] and (not self.steps or self.steps[-1] != step):
            self.steps.append(step)


@contextmanager
def watched() -> Iterator[Walk]:
    walk, before = Walk(), sys.getprofile()
    threading.setprofile(walk.see)
    sys.setprofile(walk.see)
    try:
        yield walk
    finally:
        sys.setprofile(before)
        threading.setprofile(None)  # type: ignore[arg-type]


def told() -> list[str]:
    """Return the files of the daemon that the section on the way of one context lists, in its order."""
    section = PAGE.read_text().split("## The way of one context")[1].split("\n## ")[0]
    return re.findall(r"^- `(dreamd/[\w/]+\.py)`", section, re.MULTILINE)


async def test_the_way_of_a_context_is_the_one_that_the_page_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched() as walk:
        async with serving(tmp_path, gate__chance=1) as service, await leo(service) as peer:
            await peer.call(Method.SEED, ORIGIN)
            original = Session.data_received

            def received(session: Session, data: bytes) -> None:
                walk.on = True
                original(session, data)

            monkeypatch.setattr(Session, "data_received", received)
            peer.send([2, "dream.context", [STIRRED]])
            await until_on_loop(lambda: service.engine.reasons["dream"] == 1)
            decided = [entered for _, entered in walk.steps]
            await settled(service)
            walk.on = False
    gate = decided.index(GATE)
    assert gate < MOST_STEPS, decided[: gate + 1]
    assert sum(entered == "dreamd/engine/engine.py" for entered in decided) <= 2
    passed, page = [file for file in walk.files if file.startswith("dreamd/")], told()
    assert page[: page.index(GATE) + 1] == passed[: passed.index(GATE) + 1]
    assert sorted(page) == sorted(passed)  # from here on in the order of threads
