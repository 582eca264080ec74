"""Check docs/reference/settings.md against the settings: their names, their order and their defaults."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from dreamd.settings import GROUPS

TEXT = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text()
FIELDS = [
    (f"{name}.{each.name}", each.default) for name in GROUPS for each in msgspec.structs.fields(GROUPS[name])
]


def rows(text: str = TEXT) -> list[tuple[str, str, str]]:
    return re.findall(r"^\| `(\w+\.\w+)` \| ([^`]+?) \| (.+) \|$", text, re.MULTILINE)


def written(default: Any) -> str:
    """Return a default as the page writes it."""
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return "not set" if default is None else msgspec.json.encode(default).decode()


def test_the_table_has_each_setting_in_the_order_of_the_code() -> None:
    names = [name for name, _, _ in rows()]
    assert names == [name for name, _ in FIELDS]


@pytest.mark.parametrize(("name", "default"), FIELDS, ids=[name for name, _ in FIELDS])
def test_the_default_is_that_of_the_code(name: str, default: Any) -> None:
    assert next(shown for key, shown, _ in rows() if key == name) == written(default)


def test_the_readme_shows_six_settings_with_their_defaults() -> None:
    shown = {
        name: default for name, default, _ in rows((Path(__file__).parents[2] / "README.md").read_text())
    }
    assert len(shown) == 6
    assert shown == {name: written(default) for name, default in FIELDS if name in shown}
