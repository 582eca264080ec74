"""Check what all pages have in common: links that lead somewhere, words that are read once, one sentence a line."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from dreamd.ctl.__main__ import COMMANDS
from dreamd.settings import GROUPS, KEYS
from dreamd.wire.handlers import TABLE

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), ROOT / "tests/README.md", *(ROOT / "docs").rglob("*.md")])
PROSE = [page for page in PAGES if page.name not in ("CHANGELOG.md", "LICENSE.md")]
# Spelt so that a search for these words finds pages, not this line.
RIDDLES = (
    r"\b(k[n]ock\w*|(no|some)b[o]dy|who[e]ver|an[e]w|there[o]f|ow(ed|ing)|for ever|no wo[r]d of|like[w]ise)\b"
)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def headings(page: Path) -> set[str]:
    """Return the anchors of a page, as GitHub makes them of its headings."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


def prose(page: Path) -> list[str]:
    """Return the lines outside of code blocks, tables and headings, without the marks of lists."""
    text = re.sub(r"^( *)```.*?^ *```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [line.lstrip() for line in text.splitlines()]
    return [re.sub(r"^(?:[-*]|\d+\.) ", "- ", line) for line in lines if line[:1] not in ("|", "#")]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in headings(file)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_riddle_is_on_the_page(page: Path) -> None:
    """CONTRIBUTING.md lists the words to write in their place."""
    assert [found[0] for found in re.finditer(RIDDLES, page.read_text(), re.IGNORECASE)] == []


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_one_sentence_stands_on_one_line(page: Path) -> None:
    """So that a change of one sentence is a change of one line."""
    assert [line for line in prose(page) if re.search(r"[^.\s][.?!] (?=[A-Za-z0-9`\[*])", line)] == []


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_no_line_goes_on_in_the_next(page: Path) -> None:
    """A line of prose that ends without a stop, before another line of the paragraph, was wrapped."""
    lines = prose(page)
    wrapped = [
        line
        for line, after in pairwise(lines)
        if line
        and after
        and line[-1] not in ".:?!"
        and not line.startswith("- ")
        and not after.startswith("- ")
    ]
    assert wrapped == []


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text()
    pages = [
        page.relative_to(ROOT / "docs") for page in (ROOT / "docs").rglob("*.md") if page.name != "index.md"
    ]
    assert [str(page) for page in pages if f"({page})" not in index] == []


@pytest.mark.parametrize("page", [page for page in PROSE if page.name != "CONTRIBUTING.md"], ids=name_of)
def test_each_path_of_the_repository_is_there(page: Path) -> None:
    named = re.findall(r"`((?:client|docs|dreamd|examples|requirements|tests)/[\w./*-]+)`", page.read_text())
    assert [
        path for path in named if not list(ROOT.glob(path)) and not list((ROOT / "client").glob(path))
    ] == []


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_each_command_is_one_of_dreamctl(page: Path) -> None:
    named = re.findall(r"(?:`|\$ )dreamctl (?:--[\w-]+ [\w./~$]+ )*([a-z]+)", page.read_text(), re.MULTILINE)
    assert sorted(set(named) - {*COMMANDS}) == []


@pytest.mark.parametrize("page", PROSE, ids=name_of)
def test_each_setting_is_one_of_dreamd(page: Path) -> None:
    """A word such as `inbox.list` is a method; `inbox.written` and `friend.changed` are events."""
    named = re.findall(rf"`((?:{'|'.join(GROUPS)})\.\w+)", page.read_text())
    assert sorted(set(named) - {*KEYS, *TABLE, "inbox.written", "friend.changed"}) == []


def test_no_source_cites_a_page_outside_the_repository() -> None:
    """The facts are written in docs/ and beside the code."""
    folders = (ROOT / name for name in ("client", "docs", "dreamd", "examples", "tests"))
    sources = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".md")]
    assert [
        name_of(path) for path in sources if re.search(r"\bDES[I]GN\b|\bST[Y]LE\b|\u00a7", path.read_text())
    ] == []


def test_the_tree_of_the_readme_is_there() -> None:
    """A line without indent names folders of the repository, an indented one folders of the last of these."""
    tree = (ROOT / "README.md").read_text().split("## The tree")[1].split("```")[1].strip().splitlines()
    above = ROOT
    for line in tree:
        folders = [
            (above if line[0] == " " else ROOT) / name for name in re.findall(r"\w[\w./]*/", line[:22])
        ]
        assert [folder for folder in folders if not folder.is_dir()] == []
        above = above if line[0] == " " else folders[-1]
