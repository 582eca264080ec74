"""The dream inbox: a folder of JSON files through which other memory systems read dreams and write their own.

Importing it starts nothing, and imports neither asyncio, aiosqlite, uvloop nor numpy. Format: docs/guides/inbox.md.
"""

from dreamd.inbox.document.node import node_schema
from dreamd.inbox.document.of_dialogue import dream_document
from dreamd.inbox.errors import (
    CapabilityError,
    DamagedFile,
    InboxBusy,
    InboxError,
    InboxUnavailable,
    UnknownTrace,
    ValidationError,
)
from dreamd.inbox.inbox import Inbox
from dreamd.inbox.persist import persist_dream_shards
from dreamd.inbox.settings import InboxSettings, inbox_folder, settings_from_env

__all__ = [
    "CapabilityError",
    "DamagedFile",
    "Inbox",
    "InboxBusy",
    "InboxError",
    "InboxSettings",
    "InboxUnavailable",
    "UnknownTrace",
    "ValidationError",
    "dream_document",
    "inbox_folder",
    "node_schema",
    "persist_dream_shards",
    "settings_from_env",
]
