"""Take part with MessagePack-RPC alone: no dreamclient, only msgpack and a socket.

Usage: python plain_peer.py SOCKET
"""

import socket
import sys
from itertools import cycle

import msgpack

SENTENCES = cycle(
    "The river is near./I hear it under the house./Who asked the rain to stay?/A small boat waits there./"
    "Does it wait for me?/Then we can go now./The lamp is still warm./Nothing was lost tonight.".split("/")
)
REQUEST, RESPONSE, NOTIFICATION = 0, 1, 2

connection = socket.socket(socket.AF_UNIX)
unpacker = msgpack.Unpacker()


def send(*message: object) -> None:
    connection.sendall(msgpack.packb(message))


def messages():
    while data := connection.recv(65536):
        unpacker.feed(data)
        yield from unpacker


hello = {"protocol": 1, "name": "plain", "provides": ["generate", "observe"]}
with connection:
    connection.connect(sys.argv[1])
    send(REQUEST, 0, "hello", [hello])
    send(REQUEST, 1, "dream.now", [])

    for kind, *rest in messages():
        match kind, rest:
            case 0, [msgid, "generate", [seed, temperature, semantic_weight, meta]]:
                send(RESPONSE, msgid, None, next(SENTENCES))
            case 0, [msgid, "observe", [text, meta]]:
                print("observed:", text)
                send(RESPONSE, msgid, None, None)
            case 1, [0, None, welcome]:
                print("session", welcome["session"], "of", welcome["name"], welcome["version"])
            case 1, [1, None, result]:
                print(result)
                break
            case 1, [_, [code, message, *_], _]:
                raise SystemExit(f"error {code}: {message}")
