"""grpcio: a unary call over a Unix socket, with msgpack in place of protobuf."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from msgpack import packb, unpackb

from tests.bench.calls.program import LINE, PARAMS, Measure, main, ready


class Leo(grpc.GenericRpcHandler):
    """A host with one hook."""

    def service(self, details: Any) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(
            lambda params, _: LINE, request_deserializer=unpackb, response_serializer=packb
        )


def serve(address: str) -> None:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[Leo()])
    server.add_insecure_port(f"unix:{address}")
    server.start()
    ready()
    server.wait_for_termination()


def call(address: str, measure: Measure) -> None:
    channel = grpc.insecure_channel(f"unix:{address}")
    generate = channel.unary_unary("/leo/generate", request_serializer=packb, response_deserializer=unpackb)
    measure.run(lambda: generate(PARAMS))
    channel.close()


if __name__ == "__main__":
    main(serve, call)
