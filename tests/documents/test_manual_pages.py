"""The manual pages: complete, current, and valid roff."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dreamd.__main__ import make_parser
from dreamd.settings import KEYS
from man.write import pages
from tests.ctl.test_main import ALL, examples

PAGES = pages()
MACROS = {".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".nf", ".fi", ".RS", ".RE"}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_current(name: str) -> None:
    """If not, run `make man`."""
    assert (Path(__file__).parents[2] / "man" / name).read_text() == PAGES[name]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_roff(name: str) -> None:
    lines = PAGES[name].splitlines()
    assert {line.split()[0] for line in lines if line[:1] in ".'"} <= MACROS
    assert re.match(r'\.TH [A-Z]+ \d 20\d\d-\d\d-\d\d "dreamd ', lines[0])  # mandoc -Tlint wants a date
    assert [line for line in lines if line in (".nf", ".fi")] == [".nf", ".fi"] * lines.count(".nf")
    assert set(re.findall(r"\\.", PAGES[name])) <= {r"\-", r"\f", r"\(", r"\e", r"\&"}


def shown(name: str) -> str:
    """Return a page without its markup."""
    text = re.sub(r"^\.[A-Z][A-Z] ?|\\f.|\\&", "", PAGES[name], flags=re.MULTILINE)
    for sign, meant in ((r"\-", "-"), (r"\(aq", "'"), (r"\(ga", "`"), (r"\e", "\\")):
        text = text.replace(sign, meant)
    return text


def test_dreamctl_page_has_every_command_with_its_examples() -> None:
    lines = shown("dreamctl.1").splitlines()
    for name in ALL:
        assert any(f"{line} ".startswith(f"dreamctl {name} ") for line in lines)
        assert [each for each in examples(name) if not any(each in line for line in lines)] == []


def test_dreamd_page_has_every_argument_and_setting() -> None:
    text = shown("dreamd.8")
    said = dict(re.findall(r"^(\w+\.\w+) = .*\n(.+)$", text, re.MULTILINE))
    assert list(said) == list(KEYS)
    assert said["gate.chance"].startswith("Probability")
    assert said["dialogue.turns_max"] == said["dialogue.turns_min"] != ""
    assert "" not in said.values()
    assert set(re.findall(r"(?<=\s)--[a-z-]+", make_parser().format_help())) <= set(
        re.findall(r"--[a-z-]+", text)
    )


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_reports_nothing(name: str) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    page = Path(__file__).parents[2] / "man" / name
    ran = subprocess.run(["mandoc", "-Tlint", str(page)], capture_output=True, text=True, check=False)
    assert ran.stdout == ""
