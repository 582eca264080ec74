"""The inbox's exceptions. None of their messages holds a word of what was sent: they name fields and types.

InboxError (a DreamdError)
├── the caller's fault
│   ├── CapabilityError    a RuntimeError: the token does not permit this; `reason` is a word of a closed list
│   ├── ValidationError    a ValueError: what was sent, or the place it would go to, is not as it must be
│   └── UnknownTrace       a LookupError: no file of that trace id
└── the world's fault; nothing was accepted, and the same call may be made again
    ├── InboxUnavailable   an OSError: a file call failed (disk full, input/output error, no permission)
    │   └── InboxBusy      the folder's lock was held by others for too long
    └── DamagedFile        a file that cannot be read as an inbox document
        └── ForeignFile    one that may be whole for another program; also a ValidationError
"""

from dreamd.errors import DreamdError


class InboxError(DreamdError):
    """Base of all that the inbox raises on purpose."""


class CapabilityError(InboxError, RuntimeError):
    """The token does not permit this write; `reason` is one of `capability.REASONS`."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ValidationError(InboxError, ValueError):
    """A value is not as it must be; nothing was written."""


class UnknownTrace(InboxError, LookupError):
    """There is no file of that trace id, neither waiting nor acknowledged."""


class InboxUnavailable(InboxError, OSError):
    """A file call failed; `errno` says how. Nothing is half written, and a retry is safe."""

    def __str__(self) -> str:
        """Return what failed and how, without the number of the error."""
        return self.strerror or super().__str__()


class InboxBusy(InboxUnavailable):
    """The folder's lock could not be had within its deadline."""


class DamagedFile(InboxError):
    """A file in the folder is no inbox document."""


class ForeignFile(DamagedFile, ValidationError):
    """A file in the folder is whole as far as we can tell, but not one that we may change."""
