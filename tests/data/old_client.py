"""FROZEN: a client of dreamd 0.0.9, which spoke protocol 0. Never edit it: it stands for what is installed out there.

python old_client.py SOCKET METHOD...      prints the answers to hello, and to each METHOD, as one JSON list
"""

import json
import socket
import sys

import msgpack


def main():
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(sys.argv[1])
    unpacker, answers = msgpack.Unpacker(), []
    hello = {"protocol": 0, "name": "leo", "version": "0.0.9", "pid": 4, "provides": ["generate", "observe"]}
    calls = [("hello", [hello]), *((method, []) for method in sys.argv[2:])]
    for msgid, (method, params) in enumerate(calls):
        connection.sendall(msgpack.packb([0, msgid, method, params]))
        message = None
        while message is None:
            unpacker.feed(connection.recv(65536) or sys.exit("closed"))
            message = next(iter(unpacker), None)
        kind, number, error, result = message
        assert (kind, number) == (1, msgid)
        answers.append({"error": error, "result": result})
    print(json.dumps(answers))


main()
