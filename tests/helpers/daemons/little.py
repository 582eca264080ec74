"""Use for a client against a misbehaving daemon: a hundred lines on threads, all answers on demand."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from dreamclient.messages import PROTOCOL_VERSION
from dreamclient.protocol.rpc import Message, Notification, Peer, Reply, Request

DEADLINE_S = 30.0  # after which a test that waits has failed

Answer = Callable[["Connection", list[Any]], Any]  # params -> result


class _Fails(Exception):
    """The error `[code, message]` that an answer is."""


def fails(code: int, message: str) -> Answer:
    """Return an answer that is an error."""

    def answer(connection: "Connection", params: list[Any]) -> Any:
        raise _Fails(code, message)

    return answer


class Connection:
    """One client, as the daemon sees it."""

    def __init__(self, sock: socket.socket, answers: dict[str, Answer]) -> None:
        self.sock = sock
        self.answers = answers
        self.heard: queue.Queue[tuple[str, list[Any]]] = queue.Queue()
        self.peer = Peer()
        self.lock = threading.Lock()
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def call(self, method: str, *params: Any) -> Reply:
        """Call the client, and return its answer."""
        replies: queue.Queue[Reply] = queue.Queue()
        with self.lock:
            self.sock.sendall(self.peer.call(method, list(params), replies)[1])
        return replies.get(timeout=DEADLINE_S)

    def notify(self, method: str, *params: Any) -> None:
        """Tell the client."""
        with self.lock:
            self.sock.sendall(self.peer.notify(method, list(params)))

    def hears(self, method: str) -> list[Any]:
        """Return the params of the next message, which must be of `method`."""
        heard, params = self.heard.get(timeout=DEADLINE_S)
        assert heard == method
        return params

    def close(self) -> None:
        """End it, as a daemon that dies does."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        assert self.ended.wait(DEADLINE_S)

    def _read(self) -> None:
        with self.sock:
            try:
                while data := self.sock.recv(1 << 16):
                    for event in self.peer.receive_data(data):
                        self._take(event)
                    assert self.peer.broken is None
            except ConnectionError:
                pass
        self.ended.set()

    def _take(self, event: Message) -> None:
        if isinstance(event, Reply):
            event.token.put(event)
        elif isinstance(event, Notification):
            self.heard.put((event.method, event.params))
        else:
            self.heard.put((event.method, event.params))
            # On a thread of its own, so that an answer may call back first.
            threading.Thread(target=self._answer, args=(event,), daemon=True).start()

    def _answer(self, request: Request) -> None:
        answer = self.answers.get(request.method)
        try:
            result = answer(self, request.params) if answer is not None else True
            data = self.peer.respond(request.msgid, result)
        except _Fails as failure:
            data = self.peer.fail(request.msgid, *failure.args)
        with self.lock, contextlib.suppress(OSError):  # the client may have gone meanwhile
            self.sock.sendall(data)


class LittleDaemon:
    """Listens on `path`. `answers` are by method; hello is answered with a welcome, all else with true."""

    def __init__(self, path: Path, answers: dict[str, Answer] | None = None) -> None:
        self.path = path
        self.answers: dict[str, Answer] = {"hello": welcome} | (answers or {})
        self._arrived: queue.Queue[Connection] = queue.Queue()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connections: list[Connection] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE_S)
        self._listener.close()
        for connection in self._connections:
            connection.close()

    def arrival(self) -> Connection:
        """Return the next client that connects, after its hello."""
        return self._arrived.get(timeout=DEADLINE_S)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            connection = Connection(sock, self.answers)
            self._connections.append(connection)
            self._arrived.put(connection)


def welcome(connection: Connection, params: list[Any]) -> dict[str, Any]:
    """Return the answer to hello of a daemon that has its seed."""
    return {"protocol": PROTOCOL_VERSION, "name": "dreamd", "session": 1, "seeded": True}
