"""The names of inbox files. Pure.

A trace begins in `<trace_id>.json`. When that file is full or acknowledged, the trace continues in the next part,
`<trace_id>~2.json`, `~3` and so on. A part keeps its name when it is acknowledged, and no number is used twice.
"""

import re
from collections.abc import Iterable, Mapping

from dreamd.inbox.document.document import check_trace_id

SUFFIX = ".json"
CORRUPT = ".corrupt-"
MOST_NAME_BYTES = 143  # the limit of eCryptfs, which encrypts home folders

# No trace id contains a ~.
_PART = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})(?:~([2-9]|[1-9]\d{1,8}))?")

Part = tuple[str, int]  # the trace id, the number from 1


def part_name(trace_id: str, number: int) -> str:
    """Return the file name of a part."""
    return f"{handle_of(trace_id, number)}{SUFFIX}"


def part_of_name(name: str) -> Part | None:
    """Return the part of a file's name, or None if it is not the name of an inbox file."""
    found = _PART.fullmatch(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None
    return found and (found[1], int(found[2] or 1))


def asked_part(handle: str) -> tuple[str, int | None]:
    """Return the trace and the part that a caller names: `t~2` is a part, `t` the first waiting part (None).

    Raise ValidationError for any other text.
    """
    if isinstance(handle, str) and "~" in handle and (found := _PART.fullmatch(handle)):
        return found[1], int(found[2])
    return check_trace_id(handle), None


def handles_of(parts: Iterable[Part]) -> Mapping[Part, str]:
    """Return the name by which a caller asks for each of these waiting parts: the trace id for the first of a trace."""
    found: dict[Part, str] = {}
    before = None
    for trace_id, number in sorted(parts):
        found[trace_id, number] = handle_of(trace_id, number if trace_id == before else 1)
        before = trace_id
    return found


def handle_of(trace_id: str, number: int) -> str:
    """Return the name by which a caller asks for exactly this part."""
    return trace_id if number == 1 else f"{trace_id}~{number}"


def aside_name(name: str, at_ms: int, attempt: int) -> str:
    """Return a name for a damaged file. A long trace id is cut, so that every file system accepts the name."""
    ending = f"{SUFFIX}{CORRUPT}{at_ms}" + (f"-{attempt}" if attempt > 1 else "")
    return name.removesuffix(SUFFIX)[: MOST_NAME_BYTES - len(ending)] + ending
