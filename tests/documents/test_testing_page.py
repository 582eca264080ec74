"""docs/testing.md names the files that prove each promise, and they are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "testing.md").read_text()
ROWS = re.findall(r"^\| P(\d+) [^|]+ \| `(\w+\.py)` \|([^|]+)\|$", TEXT, flags=re.MULTILINE)
PROMISES = [(number, name) for number, name, _ in ROWS]


def test_the_table_names_each_file_of_the_promises() -> None:
    assert [name for _, name in PROMISES] == sorted(
        f.name for f in (ROOT / "tests/promises").glob("test_*.py")
    )
    assert [int(number) for number, _ in PROMISES] == list(range(1, 15))


def test_each_file_proves_the_promise_of_its_number() -> None:
    for number, name in PROMISES:
        text = (ROOT / "tests" / "promises" / name).read_text()
        assert name.startswith(f"test_p{int(number):02}_")
        assert re.search(rf"def test_(p\d+_)*p{number}_", text), name


def test_each_file_for_a_part_of_a_promise_names_that_promise() -> None:
    for number, _, others in ROWS:
        for name in re.findall(r"`(tests/[\w/]+\.py)`", others):
            assert re.search(rf"p{number}_|P{number}\b", (ROOT / name).read_text()), (number, name)


def test_each_file_that_the_page_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", TEXT)
    assert [name for name in named if not (ROOT / name).exists()] == []
