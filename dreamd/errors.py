"""The daemon's exceptions.

DreamdError
├── SettingsError          an unknown key, or a value of the wrong type or range
├── StartError             the daemon cannot start; carries the exit code
├── Refusal                a request that is not granted; carries the code that the peer gets
└── StoreError
    ├── Unreadable         the record of a dialogue cannot be read; names the column
    ├── StoreUnavailable   the database cannot take a write now; `reason` is a word of the closed list
    ├── StoreTooNew        a database of a later version: refused, and left untouched
    ├── StoreForeign       a file that is not known to be dreamd's: never opened for writing
    └── StoreTaken         another dreamd has the database open
"""


class DreamdError(Exception):
    """The base of all exceptions that dreamd raises on purpose."""


class SettingsError(DreamdError):
    """A setting is unknown or has a wrong value. The message names it and the nearest right one."""


class StartError(DreamdError):
    """The daemon cannot start. `exit_code`: see docs/reference/errors.md."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StoreError(DreamdError):
    """An error of the dream database."""


class Unreadable(StoreError):
    """The record of a dialogue cannot be read."""


class StoreUnavailable(StoreError):
    """The database cannot take a write now. The daemon's tick tries again."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class StoreTooNew(StoreError):
    """The database was written by a newer dreamd."""


class Refusal(DreamdError):
    """A request is understood and not granted. The peer gets `code` and the message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class StoreForeign(StoreError):
    """The file is not known to be dreamd's. It may be leo's own. Use another file beside it."""


class StoreTaken(StoreError):
    """Another dreamd has the database open."""
