"""Connecting to the daemon. Each failure becomes an exit code and a line, never a traceback."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click
from dreamclient.clients.thread import DreamClient
from dreamclient.errors import (
    CallTimeout,
    HomeUnknown,
    NotConnected,
    RemoteError,
    SocketPathError,
    UsageError,
)
from dreamclient.messages import Method
from dreamclient.paths import check_socket_path, socket_path, state_dir
from dreamclient.protocol.hooks import Hook

from dreamd.ctl.daemon.source import ANSWER_S, Refused, Source, Unreachable, refused_error
from dreamd.ctl.terminal.output import command_to_copy, emit_note
from dreamd.ctl.terminal.signals import signals_deferred
from dreamd.process.state_folder import DATABASE_NAME

if TYPE_CHECKING:
    from dreamd.ctl.machine.places import StateFacts

CONNECT_S = 6.0  # the client gives up on a daemon that does not answer hello after 5

START = "service start"  # what to do if no daemon runs: the unit if it is installed, else a process

OnEvent = Callable[[dict[str, Any]], object]
HooksByName = Mapping[str, Hook]


@dataclass
class Target:
    """The shared options: which daemon is meant, and how to print."""

    given_socket: str | None
    given_state: str | None
    as_json: bool

    @property
    def given(self) -> list[str]:
        """The options that name the daemon, quoted for a shell."""
        pairs = (("--socket", self.given_socket), ("--state-dir", self.given_state))
        return [f"{option} {quote(value)}" for option, value in pairs if value]

    @property
    def socket(self) -> Path:
        """The path at which the daemon listens."""
        return socket_path(self.given_socket, state=self.given_state)

    @property
    def socket_alone(self) -> bool:
        """True if a socket was named and no state folder. The state folder is then that of the daemon behind the
        socket, which may differ from the default."""
        named = self.given_socket or os.environ.get("DREAMD_SOCKET")
        return bool(named) and not (self.given_state or os.environ.get("DREAMD_STATE_DIR"))

    @contextmanager
    def daemon(self, on_event: OnEvent | None = None, hooks: HooksByName | None = None) -> Iterator["Daemon"]:
        """Connect to the daemon for the block. The client calls `on_event` and `hooks` on its own thread."""
        with connect_daemon(self.socket, on_event, hooks=hooks) as daemon:
            yield daemon

    @contextmanager
    def dreams(self) -> Iterator["Source"]:
        """Yield a source of past dreams: the daemon, or its database if no daemon answers."""
        with self.daemon() as daemon:
            alone = not (daemon.session or self.socket_alone)
            path = state_dir(self.given_state) / DATABASE_NAME if alone else None
            if path is None or not path.is_file():
                yield daemon
                return
            from dreamd.ctl.daemon.stored import open_stored  # not needed if a daemon answers

            with open_stored(path) as dreams:
                emit_note(f"No daemon answers; this is read from {path}")
                yield dreams


class Daemon(Source):
    """The daemon at the other end of `client`."""

    def __init__(self, client: DreamClient, socket: Path) -> None:
        self._client = client
        self._socket = socket

    @property
    def session(self) -> object:
        """An object that stays the same while this connection lasts, None without a connection."""
        return self._client.daemon if self._client.connected else None

    def call(self, method: str, *params: Any, timeout_s: float = ANSWER_S) -> Any:
        try:
            return self._client.call(method, *params, timeout_s=timeout_s)
        except RemoteError as error:
            raise refused_error(error.code, error.message) from None
        except UsageError as error:
            why = str(error).removeprefix(f"{method}: ")
            if "MessagePack" in why:  # the only JSON values that MessagePack lacks
                why = "a number has more than 64 bits"
            raise click.UsageError(f"{method}: {why}") from None
        except (CallTimeout, NotConnected) as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> Unreachable:
        """Return why no daemon answers, and what to do."""
        from dreamd.ctl.machine import access  # needed after a failure alone
        from dreamd.ctl.machine.places import has_listener, look_at_socket

        what = str(error) if str(self._socket) in str(error) else f"{self._socket}: {error}"
        why, cure = access.refusal_and_cure(self._socket.parent)
        if has_listener(self._socket):
            cure = "A program listens there; `dreamctl doctor` says what is wrong."
        elif why:
            cure = f"{why}. {cure}"
        elif look_at_socket(self._socket).kind == "other":
            what = f"{self._socket} is no socket, so no daemon listens there"
            cure = "`dreamctl doctor` says what to do."
        elif (held := _state_held()) and held.embedded:
            cure = (
                f"The daemon is embedded in pid {held.holder}, which alone can ask it. "
                "`dreamctl recent`, `dreamctl show` and `dreamctl why` read its dreams."
            )
        elif held:
            cure = f"The daemon of {held.path} (pid {held.holder}) does not listen there; `dreamctl doctor` says why."
        else:
            given = command_to_copy(START)
            which = "" if "--" in given else ", or say which: dreamctl --socket PATH, or --state-dir DIR"
            cure = f"Start one with `{given}`{which}."
        return Unreachable(f"{what}.\n{cure}")


def state_here(status: Mapping[str, Any]) -> Path:
    """Return the state folder that a daemon names. Raise Refused if there is none: nothing may be written beside it."""
    state = Path(status["state_dir"])
    if not state.is_dir():
        raise Refused(
            f"the daemon serves {state}, and there is no such folder here; name its folder with --state-dir"
        )
    return state


def state_of(target: Target) -> Path:
    """Return the state folder of a target. If only --socket was given, ask the daemon there."""
    if not target.socket_alone:
        return state_dir(target.given_state)
    with target.daemon() as daemon:
        return state_here(daemon.call(Method.STATUS))


@contextmanager
def connect_daemon(
    socket: Path,
    on_event: OnEvent | None = None,
    *,
    wait_s: float | None = None,
    hooks: HooksByName | None = None,
) -> Iterator[Daemon]:
    """Connect to the daemon at `socket` for the block. If none listens, the first call raises Unreachable."""
    try:
        check_socket_path(socket)
    except SocketPathError as error:
        raise click.UsageError(str(error)) from None
    with closing(DreamClient(socket_path=socket, name="dreamctl", on_event=on_event)) as client:
        client.serve(**hooks or {})
        start_client(client, wait_s)
        yield Daemon(client, socket)


def _state_held() -> "StateFacts | None":
    """Return the facts of the state folder that the user named, if a daemon serves it."""
    from dreamd.ctl.machine.places import look_at_state  # needed after a failure alone

    context = click.get_current_context(silent=True)
    target = context.find_object(Target) if context else None
    if target is not None and target.socket_alone:  # of its daemon no state folder is known
        return None
    with suppress(HomeUnknown):
        facts = look_at_state(state_dir(target.given_state if target else None))
        return facts if facts.holder else None
    return None


def start_client(client: DreamClient, wait_s: float | None = None) -> None:
    """Start the client and wait until it has connected or failed. The client keeps the reason of a failure."""
    with signals_deferred():
        client.start()
    client.start(CONNECT_S if wait_s is None else wait_s)
