"""A commented settings file, made of the comments beside the definitions."""

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from dreamd.settings import GROUPS

COLUMNS = 100
HEAD = """\
# Settings of dreamd. A line that begins with # is a default: remove the # to change it.
# `dreamctl config check` finds mistakes. `dreamctl service restart` makes a running daemon read this file.
"""


def sample_file() -> str:
    """Return a settings file that lists each setting with its default, commented out."""
    return "\n".join(
        [HEAD, *(f"[{name}]\n{''.join(_sample_entries(group))}" for name, group in GROUPS.items())]
    )


def _sample_entries(group: type[msgspec.Struct]) -> Iterator[str]:
    about, before = setting_comments(group), ""
    for field in msgspec.structs.fields(group):
        if (text := about[field.name]) != before:
            yield textwrap.fill(text, COLUMNS, initial_indent="# ", subsequent_indent="# ") + "\n"
        before = text
        yield f"#{field.name} = {as_toml(field.default)}".rstrip() + "\n"


def as_toml(value: Any) -> str:
    """Return a value in TOML, or an empty string if it is not set."""
    return "" if value is None else msgspec.json.encode(value).decode()


def setting_comments(group: type[msgspec.Struct]) -> dict[str, str]:
    """Return the comment of each setting: the one beside it, or the one above it and the settings that follow."""
    found, above, ended = dict[str, str](), list[str](), False
    for line in inspect.getsource(group).splitlines():
        if comment := re.fullmatch(r" {4}# (.*)", line):
            above = [*([] if ended else above), comment[1]]
            ended = False
        elif field := re.match(r" {4}(\w+): [^#]*(?:# (.*))?$", line):
            found[field[1]] = field[2] or " ".join(above)
            ended = True
    return found
