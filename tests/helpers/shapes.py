"""Use to hold an answer against docs/reference/dreamctl.md: the JSON shapes that the page shows.

`{key, key?, <word>: shape, ..}` is a map: `key?` may be absent, `<word>` is any key, `..` any more of them. `[shape]`
is a list. Words, such as `text or null`, are anything; a map before ` or null` may be null.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEXT = (Path(__file__).parents[2] / "docs/reference/dreamctl.md").read_text()

_TOKEN = re.compile(r"\s*([{}\[\],:]|[^{}\[\],:]+)")


def shape_of(command: str) -> Any:
    """Return the shape of `command`: below its own heading, `### friend restore NAME` for `friend restore`."""
    about, *parts = _section(command.partition(" ")[0]).split("\n### ")
    if " " in command:
        about = next(part for part in parts if part.replace("\n", "`\n", 1).startswith(command))
    if other := re.search(r"JSON as of `([^`]+)`", about):
        return shape_of(other[1])
    found = re.search(r"JSON[^`:]*: `([^`]+)`", " ".join(about.split()))
    assert found, f"docs/reference/dreamctl.md gives no shape for {command}"
    return parsed(found[1])


def events_of(command: str) -> dict[str, Any]:
    """Return the shapes of a command that prints one event on each line, by type."""
    text = " ".join(_section(command).split())
    return {name: parsed(shape) for name, shape in re.findall(r"`([\w.]+)` \(`(\{[^`]*\})`\)", text)}


def parsed(text: str) -> Any:
    """Parse a shape: a dict of key to shape, a list of one shape, or a text."""
    tokens = [token.strip() for token in _TOKEN.findall(text)]
    found = _value(tokens)
    assert not tokens, f"{text}: {tokens} are left"
    return found


def differences(shape: Any, answer: Any, where: str = "") -> list[str]:
    """Return each place at which an answer differs from its shape."""
    return list(_differences(shape, answer, where))


def _section(verb: str) -> str:
    _, found, rest = TEXT.partition(f"\n## {verb}\n")
    assert found, f"docs/reference/dreamctl.md has no section {verb}"
    return rest.partition("\n## ")[0]


def _value(tokens: list[str]) -> Any:
    first = tokens.pop(0)
    if first == "[":
        inner = _value(tokens)
        assert tokens.pop(0) == "]"
        return [inner]
    if first != "{":
        return first
    found: dict[str, Any] = {}
    while tokens[0] != "}":
        key = tokens.pop(0)
        found[key] = ".."
        if tokens[0] == ":":
            tokens.pop(0)
            found[key] = _value(tokens)
        if tokens[0] == ",":
            tokens.pop(0)
    tokens.pop(0)
    if tokens and tokens[0] == "or null":
        found[tokens.pop(0)] = ".."
    return found


def _differences(shape: Any, answer: Any, where: str) -> Iterator[str]:
    if isinstance(shape, str) or (answer is None and "or null" in shape):
        return
    if isinstance(shape, list) and isinstance(answer, list):
        for place, each in enumerate(answer):
            yield from _differences(shape[0], each, f"{where}[{place}]")
    elif isinstance(shape, dict) and isinstance(answer, dict):
        yield from _keys(shape, answer, where)
    else:
        yield f"{where}: {type(answer).__name__} is not {shape}"


def _keys(shape: dict[str, Any], answer: dict[str, Any], where: str) -> Iterator[str]:
    known = {key.rstrip("?"): inner for key, inner in shape.items()}
    wild = next(
        (inner for key, inner in shape.items() if key.startswith("<")), ".." if ".." in shape else None
    )
    for key, inner in shape.items():
        if key not in answer and key[0] not in "<." and key[-1] != "?" and key != "or null":
            yield f"{where}.{key} is documented, and not there: {inner}"
    for key, value in answer.items():
        inner = known.get(key, wild)
        if inner is None:
            yield f"{where}.{key} is there, and not documented"
        else:
            yield from _differences(inner, value, f"{where}.{key}")
