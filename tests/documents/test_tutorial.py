"""Follow docs/tutorial.md: run each of its commands in one shell, and compare what they print."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/tutorial.md").read_text()
SHOWN = re.findall(r"^```console\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
# What differs from run to run: numbers, names of dreams and files, bars, words that chance draws.
DIFFERS = r"\d+(\.\d+)?|dream-[\w-]+|/\S+|[█▉▊▋▌▍▎▏·]+"


def commands() -> list[str]:
    return [
        line.removeprefix("$ ") for block in SHOWN for line in block.splitlines() if line.startswith("$ ")
    ]


def shape(text: str) -> list[str]:
    """Return the lines of an output without what differs from run to run."""
    return [" ".join(re.sub(DIFFERS, "#", line).split()) for line in text.splitlines()]


def shown(command: str) -> str:
    """Return what the page shows below a command, at its last occurrence."""
    rest = "".join(SHOWN).rpartition(f"$ {command}\n")[2]
    return re.split(r"^\$ ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def followed(folder: Path) -> dict[str, str]:
    """Run `make run`'s demo and then each command, as one shell does; return what each printed."""
    tools = folder / ".venv/bin"
    tools.mkdir(parents=True)
    for name in ("dreamctl", "dreamd", "python"):
        module = {"dreamctl": "-m dreamd.ctl", "dreamd": "-m dreamd", "python": ""}[name]
        (tools / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module} "$@"\n')
        (tools / name).chmod(0o755)
    (folder / "examples").symlink_to(ROOT / "examples")
    end = "-- the end of a command --"
    script = ["set -eu", "exec 2>&1", ".venv/bin/dreamctl --state-dir state demo </dev/null", f"echo {end!r}"]
    for command in commands():
        script += [command, f"echo {end!r}"]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("DREAM", "XDG_"))}
    env["HOME"] = str(folder)
    stop = [folder / ".venv/bin/dreamctl", "--state-dir", folder / "state", "service", "stop"]
    try:
        done = _run(script, folder, env)
    finally:
        subprocess.run(stop, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(zip(commands(), done.stdout.split(f"{end}\n")[1:], strict=False))


def _run(script: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", "\n".join(script)],
        cwd=folder, env=env, capture_output=True, text=True, timeout=90,
    )  # fmt: skip


def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    printed = followed(tmp_path)
    for command in ("dreamctl why -n 2", "dreamctl service start", "dreamctl service stop"):
        assert shape(printed[command]) == shape(shown(command))
    table = shape(printed["dreamctl recent"])
    assert (table[:2], len(table)) == (shape(shown("dreamctl recent"))[:2], 6)
    assert [line.split(",")[0] for line in shape(printed["dreamctl show"])[:3]] == [
        line.split(",")[0] for line in shape(shown("dreamctl show"))[:3]
    ]
    assert printed["dreamctl inbox ls"].startswith("Nothing waits in ")
    assert len(printed["ls state/inbox/dreams/done"].split()) == 5
    assert "'dialog': 5, 'outcome': 'complete'" in printed["python examples/minimal_host.py"]
    assert "leo: I hear it under the house." in printed["python examples/read_inbox.py state/inbox/dreams"]
