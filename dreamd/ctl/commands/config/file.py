"""Changes of the settings file that leave its comments and its order as they are."""

import re
from pathlib import Path
from typing import Any

import click
import tomlkit
from tomlkit.exceptions import TOMLKitError

UTF8_BOM = "\ufeff"


def text_of(path: Path) -> str:
    """Return the text of the file, empty if there is none. Raise click.ClickException, OSError."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise click.ClickException(f"{path}: not UTF-8; `dreamctl config check` says more") from None


def with_value(text: str, key: str, value: Any) -> str:
    """Return the text with a value set, below its commented default if there is one."""
    group, _, name = key.partition(".")
    document = _parse_file(text)
    if name not in document.get(group, {}):
        written = f"{name} = {tomlkit.item(value).as_string()}"
        section = re.search(rf"^\[{group}\].*\n(?:(?!\[).*\n?)*", text, re.MULTILINE)
        changed, found = re.subn(
            rf"^#[ \t]*{name}[ \t]*=.*$",
            lambda default: f"{default[0]}\n{written}",
            section[0] if section else "",
            count=1,
            flags=re.MULTILINE,
        )
        if section and found:
            return text[: section.start()] + changed + text[section.end() :]
        if group not in document:
            document[group] = tomlkit.table()
    document[group][name] = value
    return tomlkit.dumps(document)


def remove_value(text: str, key: str) -> str:
    """Return the text without a value. Raise click.ClickException if it has none."""
    group, _, name = key.partition(".")
    document = _parse_file(text)
    if name not in document.get(group, {}):
        raise click.ClickException(
            f"{key} is not set in the file; `dreamctl config` says where each value comes from"
        )
    del document[group][name]
    return tomlkit.dumps(document)


def _parse_file(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text.removeprefix(UTF8_BOM))
    except TOMLKitError as error:
        raise click.ClickException(
            f"the file is not TOML: {error}; `dreamctl config check` says more"
        ) from None
