"""The parameters of each method, as types. Params of another type never reach a handler.

A method's params are an array whose elements are the fields below in their order. Surplus elements are refused, and so
are missing ones unless the field has a default.
"""

from typing import Annotated, Any

import msgspec
from dreamclient.messages import PAGE, Method
from dreamclient.protocol.rpc import NOTIFICATION
from msgspec import Meta, Struct

from dreamd.dream.fragment_records import FragmentRecord
from dreamd.dream.model import Count, Kinds, SentContext, UsualContext
from dreamd.store.forgetting import Asked
from dreamd.store.undreaming import candidates
from dreamd.wire.codec import encode_message

NAME_CHARS = 64
FIELD_CHARS = 256
SEARCH_CHARS = 1024
PAUSE_MOST_S = 366 * 86_400  # longer is a slip, or has no end
SEED_TEXTS = 4096  # of these texts 256 fragments are kept
WRONG_CHARS = 500  # of what is wrong: it may name an unknown field, which may be as long as its message
# Params whose doubles may stand for integers: dreamclient's contexts are as large at most.
DOUBLES_BYTES = 32 << 10
MOST_DROPPED = 256  # as many as a friend learns at most

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS)]
Page = Annotated[int, Meta(ge=0, le=PAGE)]
RowId = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]  # SQLite's integers are signed
Checkpoint = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~-]{0,63}\Z")]


class Hello(Struct):
    """A client's description of itself, and the hooks that it provides."""

    protocol: int
    name: Name
    version: Annotated[str, Meta(max_length=NAME_CHARS)] = ""
    pid: Count = 0
    provides: Annotated[list[str], Meta(max_length=64)] = []
    # An opaque id of the field that the client feeds.
    field: Annotated[str, Meta(max_length=FIELD_CHARS)] | None = None
    failures: Kinds | None = None
    private: Count | None = None


class Counted(Struct):
    """What a client counted since its last message: failures by kind, and private replies."""

    failures: Kinds | None = None
    private: Count | None = None


class Seed(Struct):
    """The texts that the friend is born of."""

    origin: Annotated[list[str], Meta(max_length=SEED_TEXTS)] = []
    readme: Annotated[list[str], Meta(max_length=SEED_TEXTS)] = []


class Params(Struct, array_like=True, forbid_unknown_fields=True):
    """The base of the params of a method."""


class NoParams(Params):
    """No params."""


class HelloParams(Params):
    hello: Hello


class ContextParams(Params):
    context: SentContext


class UsualContextParams(Params):
    context: UsualContext


class CountedParams(Params):
    counted: Counted


class NowParams(Params):
    context: SentContext | None = None
    session: int | None = None


class PauseParams(Params):
    seconds: Annotated[float, Meta(gt=0, le=PAUSE_MOST_S)] | None = None


class SeedParams(Params):
    seed: Seed


class CountParams(Params):
    n: Page = 10


class PageParams(Params):
    n: Page = 10
    before: RowId | None = None


class WaitingParams(Params):
    n: Page = PAGE
    after: str | None = None


class TraceSubscribeParams(Params):
    session: int | None = None


class DialogParams(Params):
    id: RowId


class SearchParams(Params):
    words: Annotated[str, Meta(max_length=SEARCH_CHARS)]
    n: Page = 10
    before: RowId | None = None


class WhenceParams(Params):
    words: Annotated[str, Meta(max_length=SEARCH_CHARS)]
    n: Page = 10
    skip: Page = 0


class ForgetParams(Params):
    what: Asked


class UndreamParams(Params):
    what: candidates.Asked


class FragmentsParams(Params):
    checkpoint: Checkpoint | None = None
    before: RowId | None = None

    def __post_init__(self) -> None:
        if self.checkpoint is not None and self.before is not None:
            raise ValueError("expected either checkpoint or before")


class CheckpointParams(Params):
    name: Checkpoint
    again: bool = False


class NameParams(Params):
    name: Checkpoint


class RestoreParams(Params):
    name: Checkpoint | None = None
    before: RowId | None = None

    def __post_init__(self) -> None:
        if (self.name is None) == (self.before is None):
            raise ValueError("expected either name or before")


class DropParams(Params):
    ids: Annotated[list[RowId], Meta(min_length=1, max_length=MOST_DROPPED)]


class ImportParams(Params):
    fragments: Annotated[list[FragmentRecord], Meta(min_length=1, max_length=SEED_TEXTS)]

    def __post_init__(self) -> None:
        for number, copy in enumerate(self.fragments):
            if not copy.text.strip():
                raise ValueError(f"fragments[{number}].text is empty")


class Persist(Struct, forbid_unknown_fields=True):
    """The arguments of `persist_dream_shards`, except the folder, which the daemon chooses."""

    seed: Any
    result: Any
    cap_token: Any


class PersistParams(Params):
    request: Persist


class TraceParams(Params):
    trace_id: str


class AckParams(Params):
    trace_id: str
    saved_ts: int | None = None


def read_params(data: msgspec.Raw, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
    """Decode the params of one method. Some peers have only doubles and send 3.0: it counts as 3 if an int is expected,
    unless the params are so large that a look at each of their values would take long. Any exception means that the
    params are wrong."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        if len(memoryview(data)) > DOUBLES_BYTES:
            raise
        return decoder.decode(msgspec.msgpack.encode(_with_integers(msgspec.msgpack.decode(data))))


def _with_integers(value: Any) -> Any:
    """Return `value` with an int for each whole float of at most 64 bits."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1 << 63 else value
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_integers(item) for key, item in value.items()}
    return value


def explain_error(error: Exception, shape: type[Struct]) -> str:
    """Return what is wrong with the params: the field, the type that it has, and the expected one."""
    names = shape.__struct_fields__
    wanted = f"expected [{', '.join(names)}]"
    if isinstance(error, UnicodeDecodeError):
        return f"a text is no UTF-8; {wanted}"
    if not isinstance(error, msgspec.ValidationError):
        return f"unreadable ({type(error).__name__}); {wanted}"
    text = str(error)[:WRONG_CHARS]
    for index, name in enumerate(names):
        text = text.replace(f"$[{index}]", name).replace("$.", f"{name}.")
    return f"{text}; {wanted}, see docs/reference/protocol.md"


def encode_event(event: dict[str, Any]) -> bytes:
    """Return an encoded `event` notification, which any number of sessions can be sent."""
    return encode_message([NOTIFICATION, Method.EVENT, [event]])
