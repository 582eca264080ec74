"""rpyc: an exposed method of a service on a Unix socket."""

import rpyc
from rpyc.utils.server import OneShotServer

from tests.bench.calls.program import LINE, META, SEED, Measure, main, ready


class Leo(rpyc.Service):
    """A host with one hook. The values of `meta` come as plain values, because rpyc would call back for each key of a
    map."""

    def exposed_generate(self, seed: str, temperature: float, weight: float, *meta: object) -> str:
        return LINE


def serve(address: str) -> None:
    server = OneShotServer(Leo, socket_path=address)
    ready()
    server.start()


def call(address: str, measure: Measure) -> None:
    generate = rpyc.utils.factory.unix_connect(address).root.generate
    meta = tuple(META.values())
    measure.run(lambda: generate(SEED, 0.8, 0.4, *meta))


if __name__ == "__main__":
    main(serve, call)
