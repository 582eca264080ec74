"""The inbox's exceptions. Their messages name fields and types, and never quote a value of the caller.

InboxError (a DreamdError)
├── the caller's fault
│   ├── CapabilityError    a RuntimeError: the token does not permit this; `reason` is a word of a closed list
│   ├── ValidationError    a ValueError: a value, or the place that it would be written to, is invalid
│   └── UnknownTrace       a LookupError: no file of that trace id
└── the system's fault; nothing was accepted, and the call may be repeated
    ├── InboxUnavailable   an OSError: a file call failed (disk full, input/output error, no permission)
    │   └── InboxBusy      another process held the folder's lock for too long
    └── DamagedFile        a file that cannot be read as an inbox document
        └── ForeignFile    a file that may be whole for another program; also a ValidationError
"""

from dreamd.errors import DreamdError


class InboxError(DreamdError):
    """The base of all exceptions that the inbox raises on purpose."""


class CapabilityError(InboxError, RuntimeError):
    """The token does not permit this write. `reason` is one of `capability.REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ValidationError(InboxError, ValueError):
    """A value is invalid. Nothing was written."""


class UnknownTrace(InboxError, LookupError):
    """There is no file of that trace id, neither waiting nor acknowledged."""


class InboxUnavailable(InboxError, OSError):
    """A file call failed, with `errno`. No file is half written, and a retry is safe."""

    def __str__(self) -> str:
        """Return which call failed and how, without the number of the error."""
        return self.strerror or super().__str__()


class InboxBusy(InboxUnavailable):
    """The folder's lock could not be taken within the deadline."""


class DamagedFile(InboxError):
    """A file in the folder is no inbox document."""


class ForeignFile(DamagedFile, ValidationError):
    """A file in the folder seems whole, but it is not dreamd's to change."""
