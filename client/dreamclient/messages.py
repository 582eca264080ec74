"""The names on the wire: methods, error codes, and the shapes that a host makes and gets.

The full description, with worked bytes, is docs/reference/protocol.md. A test compares the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from dreamclient import __version__

PROTOCOL_VERSION = 1
CLIENT_VERSION = __version__

# Limits, in bytes unless named otherwise. docs/reference/protocol.md has them too.
MESSAGE_BYTES = 1 << 20  # a context is under 4 KiB, a dream's shard file under 64 KiB
NESTING = 32  # levels of a free-form value; deeper is an attack
CALLS_IN_FLIGHT = 64  # a leo has one
OPENING_CHARS = 60  # of the first line of a dialogue, in lists
# Seconds for a whole dialogue, by default: thirteen calls that all take until their deadline are 390.
DIALOGUE_DEADLINE_S = 420.0
DIALOGUE_S = DIALOGUE_DEADLINE_S + 30.0  # that a caller of `dream.now` waits, unless it says how long
DECISIONS = 256  # that the daemon keeps, and `why` answers
ADDED_BYTES = 32 * 1024  # of the `added` of one line: leo's are under 4 KiB
PAGE = 1000  # entries that one call answers, of any list: of the largest, dialogues, they take 950 KB at most
LINE_CHARS = 1000  # of a line that is found by its words
LINES = 100  # that are found by their words always fit into one message; of more, the first ones that fit are answered


class Method:
    """Names of the methods. Those before `GENERATE` are served by the daemon, the others by the host."""

    HELLO = "hello"
    STATUS = "status"
    SHUTDOWN = "shutdown"
    SEED = "dream.seed"
    CONTEXT = "dream.context"
    PRIVATE = "dream.private"
    NOW = "dream.now"
    PAUSE = "dream.pause"
    RESUME = "dream.resume"
    WHY = "why"
    DIALOGS_RECENT = "dialogs.recent"
    DIALOGS_GET = "dialogs.get"
    DIALOGS_REPLAY = "dialogs.replay"
    DIALOGS_SEARCH = "dialogs.search"
    DIALOGS_WHENCE = "dialogs.whence"
    DIALOGS_FORGET = "dialogs.forget"
    DIALOGS_UNDREAM = "dialogs.undream"
    FRAGMENTS = "friend.fragments"
    DRIFT = "friend.drift"
    CHECKPOINT = "friend.checkpoint"
    CHECKPOINTS = "friend.checkpoints"
    DELETE_CHECKPOINT = "friend.delete_checkpoint"
    RESTORE = "friend.restore"
    DROP = "friend.drop"
    IMPORT = "friend.import"
    RESEED = "friend.reseed"
    STATS = "stats"
    SUBSCRIBE = "events.subscribe"
    TRACE = "trace.subscribe"
    INBOX_PERSIST = "inbox.persist"
    INBOX_LIST = "inbox.list"
    INBOX_READ = "inbox.read"
    INBOX_ACK = "inbox.ack"
    GENERATE = "generate"
    OBSERVE = "observe"
    RECALL = "recall"
    UNOBSERVE = "unobserve"
    # Notifications of the daemon.
    EVENT = "event"
    ERROR = "error"


class Code:
    """Codes of the error `[code, message]` or `[code, message, {type, where}]`."""

    INTERNAL = 1  # the handler failed; counted by the daemon with its reason
    INVALID_PARAMS = 2  # wrong type, missing or surplus argument; the message names it
    UNKNOWN_METHOD = 3
    TOO_MANY = 4  # more calls in flight than CALLS_IN_FLIGHT
    HELLO_REQUIRED = 5  # only hello, status and shutdown are served before hello
    WRONG_PROTOCOL = 6  # hello of another PROTOCOL_VERSION; the message names both and the remedy
    TOO_LARGE = 7  # a message over MESSAGE_BYTES: the connection ends; or the answer would be one
    MALFORMED = 8  # no MessagePack-RPC message; the connection ends
    REFUSED = 9  # the daemon is full, or will not talk to this peer
    UNAVAILABLE = 10  # not now: shutting down, the store is in trouble, or as many are kept as may be
    HOOK_FAILED = 11  # sent by a host: its hook raised; the map names type and place
    NOT_FOUND = 12
    NO_HOOKS = 13  # no client that can dream is connected
    BUSY = 14  # a dialogue is running, or the friend or the past is being changed
    CAPABILITY = 15  # the token does not permit it
    VALIDATION = 16  # the shards or the seed are not what an inbox takes


@dataclass
class PulseSnapshot:
    """The feeling of a reply: each value in [0, 1], or None if it was not measured."""

    novelty: float | None = None
    arousal: float | None = None
    entropy: float | None = None


@dataclass
class DreamContext:
    """The report of a host after a reply. A measure that is None shuts its gate."""

    prompt: str
    reply: str
    math_state: Any = None  # a mapping, or an object whose attributes are one
    pulse: PulseSnapshot | None = None
    trauma_level: float | None = None  # [0, 1]
    themes: Sequence[int] = field(default_factory=list)
    expert: str = ""
    quality: float | None = None  # [0, 1], the host's own guess


class LineMeta(TypedDict):
    """The `meta` of a hook call: which line of which dream."""

    kind: str  # "dream"
    dialog: int
    trace_id: str
    turn: int  # from 1
    speaker: str  # "leo" or "friend"
    role: str  # "leo_dream" or "friend"
    expert: str
    max_tokens: int
    candidate: int  # from 1: of `generate`, which of several answers for a line; of `observe`, the one that was taken


class LineMetrics(TypedDict, total=False):
    """The measures of a line, each in [0, 1]. `observe` may return them, and `generate` beside its `text`. `observe`
    may add `taken`, a bool: True if the line went into the host's field, and `added`, what it added there."""

    novelty: float
    arousal: float
    entropy: float
    trauma: float
    overlap: float
    quality: float


MEASURES = tuple(LineMetrics.__annotations__)
SHOWN_MEASURES = MEASURES[:4]  # those that are shown with a line, and go into its shard
