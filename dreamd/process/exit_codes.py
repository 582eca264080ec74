"""The exit codes of `dreamd`. A test compares these texts with the table in docs/reference/errors.md."""

from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """The reason for which the daemon ended: the code, its meaning, and what the page of errors adds to it."""

    meaning: str
    detail: str

    def __new__(cls, value: int, meaning: str, detail: str = "") -> Self:
        """Make a member with the texts beside its number."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        member.detail = detail
        return member

    STOPPED = 0, "stopped in order", "SIGTERM, SIGINT or the `shutdown` request"
    UNEXPECTED = 1, "an unexpected error", "the line says of what type and where"
    USAGE = 2, "wrong usage, or a wrong setting"
    TAKEN = 3, "another daemon serves this state folder or socket"
    STATE = 4, "the state folder cannot be used"
    SOCKET = (
        5,
        "no socket can be made there",
        "the path is too long, something else stands in its place, or systemd passed no listening Unix socket",
    )
    DATABASE = (
        6,
        "the database is of a newer version, or not dreamd's",
        "it may also be open in another dreamd. It was left untouched",
    )
    LOST = (
        7,
        "the database, its log or the state folder was replaced, removed or damaged while it served",
        "nothing more was written, and systemd starts it again on what is there then",
    )
    INTERRUPTED = 130, "Ctrl-C while it started, once its modules are loaded"
