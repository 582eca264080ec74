"""A finding of the doctor, and the functions that make one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["OK", "WARN", "FAIL"]
Section = Literal[
    "socket", "daemon", "versions", "service", "database", "settings", "inbox", "leo", "friend", "gates", "host",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A fact, how bad it is, and what to do next unless all is well."""

    section: Section
    level: Level
    text: str
    advice: str = ""


def ok(section: Section, text: str, advice: str = "") -> Finding:
    """Return a finding that all is well."""
    return Finding(section, "OK", text, advice)


def warn(section: Section, text: str, advice: str) -> Finding:
    """Return a finding of something that works but that the user should look at."""
    return Finding(section, "WARN", text, advice)


def fail(section: Section, text: str, advice: str) -> Finding:
    """Return a finding that prevents dreams, or keeps them from being stored, until the user acts."""
    return Finding(section, "FAIL", text, advice)


def findings_of(
    section: Section, check: Callable[..., Iterable[Finding]], *facts: Any, **more: Any
) -> Iterator[Finding]:
    """Yield the findings of `check`. If a daemon of another version answers in an unknown shape, report that."""
    try:
        yield from check(*facts, **more)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        yield warn(
            section,
            f"not as this dreamctl knows it ({type(error).__name__})",
            "bring dreamctl and the daemon to one version",
        )
