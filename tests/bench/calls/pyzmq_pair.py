"""pyzmq: request and reply sockets over ipc, with msgpack."""

import zmq
from msgpack import Packer, unpackb

from tests.bench.calls.program import LINE, PARAMS, Measure, main, ready


def serve(address: str) -> None:
    sock = zmq.Context().socket(zmq.REP)
    sock.bind(f"ipc://{address}")
    ready()
    pack = Packer().pack
    while True:
        _, number, _, _ = unpackb(sock.recv())
        sock.send(pack([1, number, None, LINE]))


def call(address: str, measure: Measure) -> None:
    context = zmq.Context()
    sock = context.socket(zmq.REQ)
    sock.connect(f"ipc://{address}")
    pack = Packer().pack

    def one() -> None:
        sock.send(pack([0, 1, "generate", PARAMS]))
        unpackb(sock.recv())

    measure.run(one)
    context.destroy(linger=0)


if __name__ == "__main__":
    main(serve, call)
