"""What is sent for an inbox file: the subject, the message id, and the way back. Pure.

The payload is the file, byte for byte. The id is the trace id and the hash of the file: the server drops a second
message with an id that it has seen lately. A later one does no harm, because the writer takes each shard once.
"""

import re
from hashlib import sha256
from typing import Final

from dreamd.inbox.document.document import Json, check_trace, check_trace_id, decode_document

ID_HEADER: Final = "Nats-Msg-Id"
SUBJECT: Final = "dreams.{machine}.{client}"
OTHER: Final = "other"  # the client, if another program than dreamd wrote the file
_OWN_GOAL: Final = "dream of "  # the beginning of the goal of each of our own files
_FIELD = re.compile(r"\{(\w*)\}")
_SUBJECT = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_NO_TOKEN = re.compile(r"[^A-Za-z0-9_-]+")
HASH_DIGITS: Final = 32  # of 64: enough that two files of one trace never share an id


def check_subject(template: str) -> str:
    """Return the template of a subject. Raise ValueError if no subject can be made of it."""
    if unknown := set(_FIELD.findall(template)) - {"machine", "client"}:
        raise ValueError(f"{{{min(unknown)}}} is not known; {{machine}} and {{client}} are")
    if not _SUBJECT.fullmatch(_FIELD.sub("x", template)):
        raise ValueError("a subject is words of letters, digits, `_` and `-`, with dots between them")
    return template


def fill_subject(template: str, machine: str, document: Json) -> str:
    """Return the subject for a document of this machine."""
    words = {"machine": _as_token(machine), "client": _as_token(_client_of(document))}
    return _FIELD.sub(lambda found: words[found[1]], template)


def _client_of(document: Json) -> str:
    seed = document.get("seed")
    goal = seed.get("goal") if isinstance(seed, dict) else None
    return goal.removeprefix(_OWN_GOAL) if isinstance(goal, str) and goal.startswith(_OWN_GOAL) else OTHER


def _as_token(text: str) -> str:
    return _NO_TOKEN.sub("_", text)[:64] or OTHER


def message_id(trace_id: str, data: bytes) -> str:
    """Return the id of the message for a file."""
    return f"{trace_id}:{sha256(data).hexdigest()[:HASH_DIGITS]}"


def read_file(trace_id: str, data: bytes) -> Json:
    """Return the document in a file's bytes. Raise DamagedFile, ForeignFile."""
    document = decode_document(data)
    check_trace(document, trace_id)
    return document


def read_message(data: bytes, sent_id: str) -> tuple[str, Json]:
    """Return the trace id and the document of a message. Raise DamagedFile, ValidationError."""
    document = decode_document(data)
    return check_trace_id(document.get("trace_id", sent_id.rpartition(":")[0])), document
