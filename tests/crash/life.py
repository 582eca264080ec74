"""One life of the daemon: a forked process that serves until it is killed, from outside or at a named point."""

import ctypes
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from dreamd import app
from dreamd.inbox.folder.files import Files
from dreamd.store import places
from dreamd.store.file import connection as database
from dreamd.wire.server import Server
from tests.helpers.daemons.in_loop import chosen

PR_SET_PDEATHSIG = 1  # prctl(2)
FILE_CALLS = (
    "open_new", "write", "fsync", "rename", "unlink", "touch", "open_lock", "lock", "mkdir", "open_read", "names",
)  # fmt: skip
TRANSACTIONS = (
    "begin_dialog", "record_line", "mark_observed", "store_recalled", "finish_dialog", "shard_written",
    "suspend_dialog", "resume_dialog", "keep_decisions", "seed_buffer", "forget_the_write",
)  # fmt: skip
STARTS = ("open database", "listen")
POINTS = (
    *(f"{when} {name}" for name in (*FILE_CALLS, *STARTS) for when in ("before", "after")),
    *(f"{when} {name}" for name in TRANSACTIONS for when in ("before", "in", "after")),
)
SETTINGS = {
    "gate__chance": 1, "gate__cooldown_s": 0, "gate__trauma_above": -1, "dialogue__candidates": 1,
    "dialogue__call_deadline_s": 5,
}  # fmt: skip


class Killer:
    """Kills its own process when a point is reached for the nth time, from 0."""

    def __init__(self, point: str, nth: int) -> None:
        self._point, self._left = point, nth

    def reach(self, point: str) -> None:
        if point == self._point:
            if not self._left:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1

    def install(self) -> None:
        """Have the calls of this process report their points."""
        for name in FILE_CALLS:
            self._wrap(Files, name, name)
        self._wrap(places, "open_file", "open database")
        self._wrap(Server, "listen", "listen")
        real = database.run_transaction

        def run(connection: Any, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
            name = function.__name__

            def inside(*inner: Any, **named: Any) -> Any:
                result = function(*inner, **named)
                self.reach(f"in {name}")
                return result

            self.reach(f"before {name}")
            result = real(connection, inside, *args, **more)
            self.reach(f"after {name}")
            return result

        database.run_transaction = run

    def _wrap(self, owner: Any, attribute: str, name: str) -> None:
        real = getattr(owner, attribute)

        def call(*args: Any, **more: Any) -> Any:
            self.reach(f"before {name}")
            result = real(*args, **more)
            self.reach(f"after {name}")
            return result

        setattr(owner, attribute, call)


def fork(work: Callable[[], int | None], log: Path) -> int:
    """Run `work` in a forked process, whose output goes to `log`, and return its pid. It ends with this process, which
    has no threads."""
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        status = work() or 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def fork_daemon(state: Path, point: str = "", nth: int = 0) -> int:
    """Fork a daemon that serves the folder `state`, and kills itself at a point, if one is named."""

    def serve() -> int:
        Killer(point, nth).install()
        return app.run(partial(chosen, **SETTINGS), state, state / "dreamd.sock")

    return fork(serve, state.parent / "daemon.log")
