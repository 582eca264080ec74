"""multiprocessing.connection of the standard library: pickled objects on a Unix socket."""

from multiprocessing.connection import Client, Listener

from tests.bench.calls.program import LINE, PARAMS, Measure, main, ready


def serve(address: str) -> None:
    with Listener(address, "AF_UNIX") as listening:
        ready()
        peer = listening.accept()
        while True:
            try:
                _, number, _, _ = peer.recv()
            except EOFError:
                return
            peer.send([1, number, None, LINE])


def call(address: str, measure: Measure) -> None:
    peer = Client(address, "AF_UNIX")

    def one() -> None:
        peer.send([0, 1, "generate", PARAMS])
        peer.recv()

    measure.run(one)


if __name__ == "__main__":
    main(serve, call)
