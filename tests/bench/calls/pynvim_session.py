"""pynvim: its MessagePack-RPC session at both ends. It cannot listen, so the answering end is handed its connection."""

import os
import socket
from contextlib import suppress

from pynvim.msgpack_rpc import AsyncSession, EventLoop, MsgpackStream, Session, socket_session

from tests.bench.calls.program import LINE, PARAMS, Measure, main, ready


class Accepted(EventLoop):
    """A loop of pynvim on a connection that it accepts."""

    def _connect_socket(self, path: str) -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path)
            listening.listen()
            ready()
            peer, _ = listening.accept()
        connecting = self._loop.create_unix_connection(self._protocol_factory, sock=peer)
        self._transport, self._protocol = self._loop.run_until_complete(connecting)


def serve(address: str) -> None:
    session = Session(AsyncSession(MsgpackStream(Accepted("socket", address))))
    with suppress(EOFError):  # the caller has all its answers
        session.run(lambda method, params: LINE, lambda *_: None)


def call(address: str, measure: Measure) -> None:
    session = socket_session(address)

    def calls() -> None:  # within `run`: outside of it each request would start and stop the loop
        measure.run(lambda: session.request("generate", *PARAMS))
        session.stop()

    session.run(lambda *_: None, lambda *_: None, calls)
    os._exit(0)  # its loop complains at the end of the interpreter


if __name__ == "__main__":
    main(serve, call)
