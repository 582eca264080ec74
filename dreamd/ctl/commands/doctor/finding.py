"""One line of the doctor's."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

Level = Literal["OK", "WARN", "FAIL"]
Section = Literal[
    "socket", "daemon", "versions", "service", "database", "settings", "inbox", "leo", "friend", "gates", "host",
]  # fmt: skip

F = TypeVar("F")


@dataclass(frozen=True)
class Finding:
    """What was found, and, unless all is well, what to do next."""

    section: Section
    level: Level
    text: str
    advice: str = ""


def ok(section: Section, text: str, advice: str = "") -> Finding:
    """As it should be."""
    return Finding(section, "OK", text, advice)


def warn(section: Section, text: str, advice: str) -> Finding:
    """It works, but somebody should look at it."""
    return Finding(section, "WARN", text, advice)


def fail(section: Section, text: str, advice: str) -> Finding:
    """No dreams, or none that are kept, until something is done."""
    return Finding(section, "FAIL", text, advice)


def found(
    section: Section, check: Callable[..., Iterable[Finding]], *facts: Any, **more: Any
) -> Iterator[Finding]:
    """What `check` finds. A daemon of another version may answer in a shape that it does not know."""
    try:
        yield from check(*facts, **more)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield warn(
            section,
            f"not as this dreamctl knows it ({type(error).__name__})",
            "bring dreamctl and the daemon to one version",
        )
