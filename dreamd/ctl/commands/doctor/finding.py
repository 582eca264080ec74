"""A finding of the doctor, and the functions that make one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

Level = Literal["OK", "WARN", "FAIL"]
Section = Literal[
    "socket", "daemon", "versions", "service", "database", "settings", "inbox", "leo", "friend", "gates", "host",
]  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """A fact, how bad it is, and what to do next unless all is well."""

    level: Level
    text: str
    advice: str = ""
    section: str = ""  # a Section, once the caller of the check has added it


def ok(text: str, advice: str = "") -> Finding:
    """Return a finding that all is well."""
    return Finding("OK", text, advice)


def warn(text: str, advice: str) -> Finding:
    """Return a finding of something that works but that the user should look at."""
    return Finding("WARN", text, advice)


def fail(text: str, advice: str) -> Finding:
    """Return a finding that prevents dreams, or keeps them from being stored, until the user acts."""
    return Finding("FAIL", text, advice)


def findings_of(
    section: Section, check: Callable[..., Iterable[Finding]], *facts: Any, **more: Any
) -> Iterator[Finding]:
    """Yield the findings of `check` in their section. If a daemon of another version answers in an unknown shape,
    report that."""
    try:
        for finding in check(*facts, **more):
            yield replace(finding, section=section)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"not as this dreamctl knows it ({type(error).__name__})"
        yield Finding("WARN", what, "bring dreamctl and the daemon to one version", section)
