"""A host's side of its connections, without I/O: it makes hook calls and bytes to send of the bytes that come.

The handshake is hello, its answer, and the seed if the daemon has none. For each call there is a callable, which gets
the Reply, or None if the connection ends first. The client reads, sends, runs hooks and keeps deadlines.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from dreamclient.errors import NotConnected, UsageError
from dreamclient.messages import CLIENT_VERSION, PROTOCOL_VERSION, Code, Method
from dreamclient.protocol.failures import Failures, as_told
from dreamclient.protocol.hooks import Hooks
from dreamclient.protocol.rpc import Notification, Peer, Reply, Request

NOT_STARTED, CONNECTING, CLOSED = "not started", "connecting", "closed"

Done = Callable[[Reply | None], object]  # takes the Reply of a call; None: the connection ended before it


class Session(Peer):
    """The side of one host, over all its connections. `out` has the messages to send, in order."""

    def __init__(
        self, hooks: Hooks, name: str, fragments: Mapping[str, list[str]], failures: Failures
    ) -> None:
        self.hooks = hooks
        self.fragments = fragments  # `origin` and `readme`, for a daemon that has none
        self.field_id: Callable[[], str | None] = lambda: None
        self.on_event: Callable[[dict[str, Any]], object] | None = None
        self.failures = failures
        self.daemon: dict[str, Any] = {}  # its last answer to hello
        self.trouble = NOT_STARTED  # why there is no connection, one line; empty while there is one
        self._name = name
        self._last_words = ""  # what the daemon said before it ended the connection
        self._renew()

    def _renew(self) -> None:
        super().__init__()
        self.answered = self.ready = False  # hello; with a welcome

    # the handshake

    def begin(self) -> None:
        """Say hello on a new connection."""
        self._renew()
        hello: dict[str, Any] = {"protocol": PROTOCOL_VERSION, "name": self._name, "version": CLIENT_VERSION}
        hello |= {"pid": os.getpid(), "provides": self.hooks.provides}
        try:
            field = self.field_id()
            hello |= {"field": field} if field else {}
        except Exception:  # noqa: BLE001 leo's database may be locked or damaged; he dreams all the same
            self.failures.count("field")
        taken = self.failures.take()
        hello |= {"failures": {}} | as_told(taken)
        self.out.append(self.call(Method.HELLO, [hello], lambda reply: self._greeted(taken, reply))[1])

    def _greeted(self, told: Counter[str], reply: Reply | None) -> None:
        try:
            if reply is not None:
                self.ready, self.answered = self._is_welcome(reply), True
        finally:
            if not self.ready:  # a daemon that refuses hello counts nothing of it
                self.failures.put_back(told)
        if self.ready and any(self.fragments.values()) and self.daemon.get("seeded") is False:
            try:
                self.out.append(self.call(Method.SEED, [self.fragments], self._seeded)[1])
            except UsageError:  # it is no MessagePack, or too large
                self.failures.count("seed")

    def _is_welcome(self, reply: Reply) -> bool:
        """Read the daemon's answer to hello. Return False if the daemon speaks another protocol: then only the frozen
        methods can be called. Raise NotConnected for any other refusal."""
        error = reply.error
        if error is not None and error.code != Code.WRONG_PROTOCOL:
            raise NotConnected(f"the daemon refused hello: {error.message}")
        self.daemon = reply.result if isinstance(reply.result, dict) else {}
        protocol = self.daemon.get("protocol")
        if error is None and type(protocol) is not int:
            raise NotConnected("what answers there is no dreamd: its answer to hello names no protocol")
        if error is None and protocol == PROTOCOL_VERSION:
            self.trouble = ""
            return True
        said = error.message[:200] if error else f"the daemon speaks protocol {protocol}"
        self.trouble = self._last_words = (
            f"{said}; dreamd-client {CLIENT_VERSION} speaks protocol {PROTOCOL_VERSION}: "
            "bring both to one version, then restart the daemon"
        )
        return False

    def _seeded(self, reply: Reply | None) -> None:
        if reply is not None and reply.error is not None:
            self.failures.count("seed")

    def end(self) -> None:
        """Tell each caller that its call gets no answer, since the connection has ended."""
        self.ready = False
        pending, self.pending = self.pending, {}
        for done in pending.values():
            with suppress(NotConnected):  # it has ended already
                self._end_call(done, None)

    def lost(self, error: Exception, *, was_ready: bool) -> None:
        """Count that an attempt to connect has failed, or that a connection has ended."""
        self.failures.count("lost" if was_ready else "connect")
        self.trouble, self._last_words = self._last_words or str(error), ""

    # both ways

    def receive(self, data: bytes) -> list[Request]:
        """Take the next bytes, and return the hook calls in them. Raise NotConnected if the connection must end; send
        `out` before that."""
        requests = []
        for event in self.receive_data(data):
            if isinstance(event, Request):
                requests.append(event)
            elif isinstance(event, Reply):
                self._end_call(event.token, event)
            elif event is not None:
                self._notified(event)
        if self.broken is not None:
            raise NotConnected(f"the peer broke the protocol: {self.broken}")
        return requests

    def _end_call(self, done: Done, reply: Reply | None) -> None:
        try:
            done(reply)
        except NotConnected:  # of the answer to hello
            raise
        except BaseException:  # noqa: BLE001 the host's own code must not end the connection
            self.failures.count("on_event")

    def _notified(self, notification: Notification) -> None:
        match notification:
            case Notification(Method.EVENT, [event, *_]) if self.on_event is not None:
                try:
                    self.on_event(event)
                except BaseException:  # noqa: BLE001 the host's own code must not end the connection
                    self.failures.count("on_event")
            case Notification(Method.ERROR, [_, str(message), *_]):
                self._last_words = f"the daemon ended the connection: {message}"

    def answer(self, request: Request, value: Any, error: BaseException | None = None) -> bytes:
        """Return the answer to a hook call: `value`. If the hook raised `error` or may not return `value`, it is a
        failure, which is counted."""
        if error is None:
            try:
                settled = self.hooks.settle(request.method, request.params, value)
                return self.respond(request.msgid, settled)
            except Exception as caught:  # noqa: BLE001 it is answered and counted
                error = caught
        self.failures.count(request.method if request.method in self.hooks.provides else "unknown_hook")
        return self.fail(request.msgid, *self.hooks.failure(request.method, error))
