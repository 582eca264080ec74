"""The parameters of each method, as types: what is not of its type never reaches a handler.

Positional: a method's params are an array, whose elements are the fields below in their order. Surplus ones are
refused, missing ones too, but for those with a default.
"""

from typing import Annotated, Any

import msgspec
from dreamclient.messages import Method
from msgspec import Meta, Struct

from dreamd.dream.copies import Copy
from dreamd.dream.shapes import Context

NAME_CHARS = 64
SEED_TEXTS = 4096  # 256 fragments are kept of them

Count = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS)]
Checkpoint = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,63}\Z")]


class Hello(Struct):
    """Who a client is, and the hooks it provides."""

    protocol: int
    name: Name
    version: Annotated[str, Meta(max_length=NAME_CHARS)] = ""
    pid: Count = 0
    provides: Annotated[list[str], Meta(max_length=64)] = []
    failures: dict[str, Count] | None = None


class Seed(Struct):
    """What the friend is born of."""

    origin: Annotated[list[str], Meta(max_length=SEED_TEXTS)] = []
    readme: Annotated[list[str], Meta(max_length=SEED_TEXTS)] = []


class NoParams(Struct, array_like=True, forbid_unknown_fields=True):
    """None at all."""


class HelloParams(Struct, array_like=True, forbid_unknown_fields=True):
    hello: Hello


class ContextParams(Struct, array_like=True, forbid_unknown_fields=True):
    context: Context


class NowParams(Struct, array_like=True, forbid_unknown_fields=True):
    context: Context | None = None
    session: int | None = None


class SeedParams(Struct, array_like=True, forbid_unknown_fields=True):
    seed: Seed


class CountParams(Struct, array_like=True, forbid_unknown_fields=True):
    n: Annotated[int, Meta(ge=0, le=4000)] = 10


class TraceSubscribeParams(Struct, array_like=True, forbid_unknown_fields=True):
    session: int | None = None


class DialogParams(Struct, array_like=True, forbid_unknown_fields=True):
    id: Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]  # SQLite's integers are signed


class FragmentsParams(Struct, array_like=True, forbid_unknown_fields=True):
    checkpoint: Checkpoint | None = None


class CheckpointParams(Struct, array_like=True, forbid_unknown_fields=True):
    name: Checkpoint
    again: bool = False


class NameParams(Struct, array_like=True, forbid_unknown_fields=True):
    name: Checkpoint


class ImportParams(Struct, array_like=True, forbid_unknown_fields=True):
    fragments: Annotated[list[Copy], Meta(min_length=1, max_length=SEED_TEXTS)]

    def __post_init__(self) -> None:
        for number, copy in enumerate(self.fragments):
            if not copy.text.strip():
                raise ValueError(f"fragments[{number}].text is empty")


class Persist(Struct, forbid_unknown_fields=True):
    """What `persist_dream_shards` takes, but for the folder, which is the daemon's to choose."""

    seed: Any
    result: Any
    cap_token: Any


class PersistParams(Struct, array_like=True, forbid_unknown_fields=True):
    request: Persist


class TraceParams(Struct, array_like=True, forbid_unknown_fields=True):
    trace_id: str


class BlockParams(Struct, array_like=True, forbid_unknown_fields=True):
    seconds: float


def explain(error: Exception, shape: type[Struct]) -> str:
    """What is wrong with the params, naming the field, the type that came and the one that is wanted."""
    names = shape.__struct_fields__
    wanted = f"expected [{', '.join(names)}]"
    if not isinstance(error, msgspec.ValidationError):
        return f"unreadable ({type(error).__name__}); {wanted}"
    text = str(error)
    for index, name in enumerate(names):
        text = text.replace(f"$[{index}]", name).replace("$.", f"{name}.")
    return f"{text}; {wanted}, see docs/protocol.md"


def encode_event(event: dict[str, Any]) -> bytes:
    """An `event` notification, ready to be sent to any number of sessions."""
    return msgspec.msgpack.encode([2, Method.EVENT, [event]])
