"""The file of an exported friend."""

import json
from pathlib import Path
from typing import Any

import click

KIND, VERSION = "dreamd.friend", 1  # written into an exported file


def read_text_file(file: Path) -> str:
    """Return the text of a file. Raise UsageError if it cannot be read as UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}") from None


def parse_exported(text: str) -> list[dict[str, Any]] | None:
    """Return the fragments of an exported file, None for another text. Raise UsageError if its version is unknown or
    its fragments are malformed."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        return None
    version = found.get("version", VERSION)
    if version != VERSION:
        raise click.UsageError(f"the file is of version {version!r}, and this dreamctl knows {VERSION}")
    fragments = found.get("fragments")
    if not isinstance(fragments, list) or not all(map(_has_text, fragments)):
        raise click.UsageError("a fragment of the file is no map with a text")
    return fragments


def _has_text(fragment: Any) -> bool:
    return isinstance(fragment, dict) and isinstance(fragment.get("text"), str)
