"""The floor: blocking sockets and equal bytes, without a codec."""

import socket

from tests.bench.calls.program import Measure, main, ready

# As long as the packed call and answer of `raw_msgpack`.
CALL, ANSWER = b"c" * 402, b"a" * 86
WHOLE = 65536


def serve(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        ready()
        peer, _ = listening.accept()
        while peer.recv(WHOLE):
            peer.sendall(ANSWER)


def call(address: str, measure: Measure) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)

    def one() -> None:
        sock.sendall(CALL)
        sock.recv(WHOLE)

    measure.run(one)


if __name__ == "__main__":
    main(serve, call)
