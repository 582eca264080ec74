"""The source of answers: a daemon, or its database if none answers. And the two errors if there is no answer."""

from abc import ABC, abstractmethod
from typing import Any

import click
from dreamclient.messages import LINES, PAGE, Code, Method

ANSWER_S = 10.0  # a daemon answers in milliseconds; one that is stopped, never
CODES = {code: name for name, code in vars(Code).items() if name.isupper()}


class Unreachable(click.ClickException):
    """No daemon answers."""

    exit_code = 3


class Refused(click.ClickException):
    """The daemon answered with an error."""

    exit_code = 4


def refused_error(code: int, message: str) -> Refused:
    """Return an error of the daemon's: what it said, then the code."""
    return Refused(f"{message} ({CODES.get(code, 'error')}, {code})")


class Source(ABC):
    """A source of answers to the methods of the wire: a daemon, or the database if none answers."""

    @abstractmethod
    def call(self, method: str, *params: Any, timeout_s: float = ANSWER_S) -> Any:
        """Return the answer. Raise Unreachable, Refused, click.UsageError (`params` cannot be sent)."""

    def newest(self, method: str, n: int, *given: Any) -> list[dict[str, Any]]:
        """Return the first n entries of a list, page by page. `given`: params before its page. Raise as `call` does."""
        found: list[dict[str, Any]] = []
        while len(found) < n:
            asked = min(PAGE, n - len(found))
            params = [*given, asked]
            if found:
                params.append(len(found) if method == Method.DIALOGS_WHENCE else found[-1]["id"])
            page = self.call(method, *params)
            found += page
            if len(page) < min(asked, LINES):  # a longer one that is not full may have been cut at a message
                break
        return found
