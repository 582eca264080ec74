"""Check that docs/guides/troubleshooting.md explains each word of the status and each line of the log."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import dreamd
from dreamd.ctl.commands.doctor.daemon import CURES
from dreamd.housekeeping import RESOURCE_REASONS
from dreamd.inbox.errors import DamagedFile, InboxBusy, InboxUnavailable, ValidationError
from dreamd.store.file.health import CLOSED, UNAVAILABLE_REASONS

PACKAGE = Path(dreamd.__file__).parent
TEXT = (PACKAGE.parent / "docs/guides/troubleshooting.md").read_text()
GENERAL = {
    "%s",
    "%s: %s%s",
}  # a note, which is looked for by itself, and a fault of dreamd's, which is of level ERROR


def said() -> Iterator[str]:
    """Return the beginning, up to the first value, of each text that is logged as a warning or noted by the store."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="warning" | "error", value=ast.Name(id="log")), args=[text, *_]
                ):
                    pass
                case ast.Call(func=ast.Attribute(attr="append", value=ast.Name(id="notes")), args=[text]):
                    pass
                case ast.Call(
                    func=ast.Attribute(attr="append", value=ast.Attribute(attr="notes")), args=[text]
                ):
                    pass
                case _:
                    continue
            if isinstance(text, ast.JoinedStr):
                text = text.values[0]
            if isinstance(text, ast.Constant) and text.value not in GENERAL:
                yield text.value


def test_each_line_of_the_log_is_explained() -> None:
    lines = set(said())
    assert lines
    assert [text for text in lines if f"`{re.split('%s|:', text)[0].rstrip()}" not in TEXT] == []


@pytest.mark.parametrize(
    "word", [*sorted(set(UNAVAILABLE_REASONS) - {CLOSED}), *RESOURCE_REASONS, "starting", "stopping"]
)
def test_each_word_of_the_status_is_explained(word: str) -> None:
    assert f"`{word}`" in TEXT


@pytest.mark.parametrize("error", [DamagedFile, InboxBusy, InboxUnavailable, ValidationError])
def test_each_error_of_a_delivery_is_explained(error: type[Exception]) -> None:
    assert f"`{error.__name__}`" in TEXT  # as Delivery.undelivered_reason has it


@pytest.mark.parametrize("word", CURES)
def test_the_page_and_the_doctor_advise_in_one_text(word: str) -> None:
    assert f"| `{word}` | {CURES[word]} |" in TEXT
