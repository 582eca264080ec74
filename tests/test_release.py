"""Check what a release must agree on, and what the pages for maintainers say of the Makefile."""

import re
import subprocess
import tomllib
from pathlib import Path

from dreamclient.messages import CLIENT_VERSION

import dreamd

ROOT = Path(__file__).parents[1]


def project(path: str) -> dict[str, object]:
    found: dict[str, object] = tomllib.loads((ROOT / path).read_text())["project"]
    return found


def test_every_place_has_the_version_of_the_daemon() -> None:
    versions = [
        CLIENT_VERSION,
        project("pyproject.toml")["version"],
        project("client/pyproject.toml")["version"],
    ]
    assert versions == [dreamd.__version__] * 3


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert phony
    listed = subprocess.check_output(
        ["make", "--no-print-directory", "help"], cwd=ROOT, text=True, timeout=60
    )
    assert {line.split()[1] for line in listed.splitlines()} == set(phony[1].split())


def test_the_five_commands_are_targets() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    commands = re.findall(r"^\| `make (\w+)", text, re.MULTILINE)
    assert len(commands) == 5
    assert [name for name in commands if f"\n{name}:" not in (ROOT / "Makefile").read_text()] == []
