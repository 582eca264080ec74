"""The dialogues of a time, whole."""

from collections.abc import Iterable, Iterator
from typing import Any

from dreamclient.messages import PAGE, Method

from dreamd.ctl.daemon.source import Source

ALL = 1 << 31


def dialogues_since(source: Source, since: float, most: int = ALL) -> Iterator[dict[str, Any]]:
    """Yield the last `most` dialogues that began since a moment (unix s), with their lines, oldest first."""
    return read_dialogues(source, numbers_since(source, since, most))


def read_dialogues(source: Source, numbers: Iterable[int]) -> Iterator[dict[str, Any]]:
    """Yield these dialogues with their lines."""
    return (source.call(Method.DIALOGS_GET, number) for number in numbers)


def numbers_since(source: Source, since: float, most: int = ALL) -> list[int]:
    """Return the numbers of the last `most` dialogues that began since a moment (unix s), oldest first."""
    return list(_since(source, since, most))[::-1]


def _since(source: Source, since: float, most: int) -> Iterator[int]:
    """Yield the numbers of these dialogues, newest first, page by page."""
    before: tuple[int, ...] = ()
    while most > 0:
        page = source.call(Method.DIALOGS_RECENT, min(PAGE, most), *before)
        for one in page:
            if one["started_at"] < since:
                return
            yield one["id"]
        if len(page) < min(PAGE, most):
            return
        before, most = (page[-1]["id"],), most - len(page)
