"""The source of answers: a daemon, or its database if none answers. And the two errors if there is no answer."""

from abc import ABC, abstractmethod
from typing import Any

import click
from dreamclient.messages import PAGE, Code

ANSWER_S = 10.0  # a daemon answers in milliseconds; one that is stopped, never


_CODES = {code: name for name, code in vars(Code).items() if name.isupper()}


class Unreachable(click.ClickException):
    """No daemon answers."""

    exit_code = 3


class Refused(click.ClickException):
    """The daemon answered with an error."""

    exit_code = 4


def refused_error(code: int, message: str) -> Refused:
    """Return an error of the daemon's: what it said, then the code."""
    return Refused(f"{message} ({_CODES.get(code, 'error')}, {code})")


class Source(ABC):
    """A source of answers to the methods of the wire: a daemon, or the database if none answers."""

    @abstractmethod
    def call(self, method: str, *params: Any, timeout_s: float = ANSWER_S) -> Any:
        """Return the answer. Raise Unreachable, Refused, click.UsageError (`params` cannot be sent)."""

    def newest(self, method: str, n: int) -> list[dict[str, Any]]:
        """Return the newest n entries of a list, page by page. Raise as `call` does."""
        found: list[dict[str, Any]] = []
        while len(found) < n:
            asked = min(PAGE, n - len(found))
            page = self.call(method, asked, *([found[-1]["id"]] if found else []))
            found += page
            if len(page) < asked:
                break
        return found
