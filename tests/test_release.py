"""Check what a release must agree on, and what the pages for maintainers say of the Makefile."""

import re
import subprocess
import tomllib
from pathlib import Path

import dreamclient.messages

import dreamd

ROOT = Path(__file__).parents[1]


def test_the_version_stands_in_one_place() -> None:
    """Both builds read it from dreamclient. A second copy would differ one day."""
    version = dreamclient.__version__
    assert dreamd.__version__ == dreamclient.messages.CLIENT_VERSION == version
    for path in ("pyproject.toml", "client/pyproject.toml"):
        settings = tomllib.loads((ROOT / path).read_text())
        source = (ROOT / path).parent / settings["tool"]["hatch"]["version"]["path"]
        assert settings["project"]["dynamic"] == ["version"]
        assert f'__version__ = "{version}"' in source.read_text()
    sources = [*(ROOT / "dreamd").rglob("*.py"), *(ROOT / "client").rglob("*.py")]
    assert [path.parent.name for path in sources if f'"{version}"' in path.read_text()] == ["dreamclient"]


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
