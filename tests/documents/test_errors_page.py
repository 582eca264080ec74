"""Check docs/reference/errors.md against the exceptions and the kinds of failures that the code has."""

import ast
import re
from pathlib import Path

import dreamclient.errors
import pytest

import dreamd.errors
import dreamd.inbox.errors

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/reference/errors.md").read_text()


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize(
    "module", [dreamclient.errors, dreamd.errors, dreamd.inbox.errors], ids=lambda each: each.__name__
)
def test_the_page_shows_the_tree_of_the_module(module: object) -> None:
    """The page quotes the tree in the docstring of the module."""
    tree = (module.__doc__ or "").split("\n\n", 1)[1].strip()
    assert f"```\n{tree}\n```" in TEXT


def table(text: str, below: str) -> list[str]:
    """Return the rows of the first table below a line, without its head."""
    rest = text.split(below, 1)[1].split("\n|---|---|\n", 1)[1]
    return rest.split("\n\n", 1)[0].splitlines()


def test_the_exit_codes_of_dreamctl_are_those_of_its_page() -> None:
    ours = table(TEXT, "## Exit codes of `dreamctl`")
    theirs = table((ROOT / "docs/reference/dreamctl.md").read_text(), "| exit code ")
    assert [row.split("|")[1] for row in ours] == [row.split("|")[1] for row in theirs]


def counted() -> set[str]:
    """Return each kind of failure that the client counts by a constant."""
    found = set()
    for path in (ROOT / "client/dreamclient").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                if name in ("count", "_count") and isinstance(node.args[0].value, str):
                    found.add(node.args[0].value)
    return found


def test_each_kind_of_failure_is_explained() -> None:
    explained = set(re.findall(r"`([\w:. ]+)`", section("Failures in the host's process")))
    assert len(counted()) > 8
    assert counted() - explained == set()
