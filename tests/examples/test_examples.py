"""Run each program of examples/ as a reader runs it, against a real daemon, and find it in the documents."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemons.process import DaemonProcess

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("examples") / "state") as running:
        yield running


def run(name: str, *arguments: object, **env: str) -> list[str]:
    """Run an example; return the lines that it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | env,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("name", ["minimal_host.py", "async_host.py", "plain_peer.py"])
def test_a_host_dreams_and_observes_each_line(daemon: DaemonProcess, name: str) -> None:
    lines = run(name, daemon.socket, DREAMD_SOCKET=str(daemon.socket))
    observed = [line.removeprefix("observed: ") for line in lines if line.startswith("observed: ")]
    [dialogue] = recent(daemon)
    assert dialogue["outcome"] == "complete"
    assert dialogue["client"] == name.partition("_")[0]
    assert dialogue["lines"] == len(observed) >= 3


def recent(daemon: DaemonProcess) -> list[dict[str, object]]:
    """Return the newest dialogue, as dreamctl shows it."""
    command = [sys.executable, "-m", "dreamd.ctl", "--socket", daemon.socket, "recent", "-n", "1", "--json"]
    found: list[dict[str, object]] = json.loads(subprocess.check_output(command, timeout=60))
    return found


def test_the_written_shard_is_read_once(tmp_path: Path) -> None:
    folder = tmp_path / "dreams"
    assert run("write_inbox.py", folder) == [f"1 written, 0 there already: {folder / 'visitor-1.json'}"]
    assert run("write_inbox.py", folder) == [f"0 written, 1 there already: {folder / 'visitor-1.json'}"]
    assert run("read_inbox.py", folder) == ["visitor: I dreamt of a lighthouse."]
    assert run("read_inbox.py", folder) == []
    (folder / "damaged.json").write_text("{")
    (folder / "odd.json").write_text('{"shards": [5, {"text": "no speaker"}]}')
    assert run("read_inbox.py", folder) == [
        "damaged stays: the file is no JSON",
        "5",
        "{'text': 'no speaker'}",
    ]
    assert [path.name for path in folder.glob("*.json")] == ["damaged.json"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_each_example_is_shown_in_the_documents(example: Path) -> None:
    """A page quotes it whole, so that the text that is read is the text that was run."""
    quoted = f"```python\n{example.read_text()}```\n"
    assert [page.name for page in (ROOT / "docs").rglob("*.md") if quoted in page.read_text()] != []


def test_the_minimal_host_is_small() -> None:
    code = [line for line in (ROOT / "examples/minimal_host.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 20
