"""The parts of one daemon, which its handlers use. `daemon.py` builds them, in this order."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from dreamd.clock import Clock
from dreamd.engine.delivery import Delivery
from dreamd.engine.engine import Engine
from dreamd.engine.events import Events
from dreamd.engine.forgetting import Forgetting
from dreamd.engine.friend_state import FriendState
from dreamd.engine.undream.undreaming import Undreaming
from dreamd.failures import Failures
from dreamd.inbox import Inbox
from dreamd.process.threads import Looker
from dreamd.store.store import Store
from dreamd.wire.session import Session
from dreamd.wire.subscriptions import Subscriptions


class Parts(Struct):
    """The parts that a handler may use. `sessions`: the server's, by number. Times are monotonic seconds."""

    clock: Clock
    failures: Failures
    events: Events
    store: Store
    friend: FriendState
    inbox: Inbox
    delivery: Delivery
    engine: Engine
    forgetting: Forgetting
    undreaming: Undreaming
    subscriptions: Subscriptions
    sessions: Mapping[int, Session]
    socket: str
    state_dir: Path
    stop: Callable[[], None]
    started_s: float
    # The facts of `status` that are read from disks, which may hang.
    sizes: Looker[dict[str, int]]
    counts: Looker[dict[str, Any]]
    # A page of 1,000 dialogues takes some milliseconds, and a client may ask for 64. One at a time is read.
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    def close(self) -> None:
        """End the threads that read them."""
        self.sizes.close()
        self.counts.close()
