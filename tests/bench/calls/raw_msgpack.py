"""The floor with MessagePack: blocking sockets, and each message packed and unpacked."""

import socket

from msgpack import Packer, unpackb

from tests.bench.calls.program import LINE, PARAMS, Measure, main, ready

WHOLE = 65536


def serve(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        ready()
        peer, _ = listening.accept()
        pack = Packer().pack
        while data := peer.recv(WHOLE):
            _, number, _, _ = unpackb(data)
            peer.sendall(pack([1, number, None, LINE]))


def call(address: str, measure: Measure) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)
    pack = Packer().pack

    def one() -> None:
        sock.sendall(pack([0, 1, "generate", PARAMS]))
        unpackb(sock.recv(WHOLE))

    measure.run(one)


if __name__ == "__main__":
    main(serve, call)
