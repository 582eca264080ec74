"""FROZEN: a daemon 0.0.9, which spoke protocol 0. Never edit it: it stands for what still runs out there.

python old_daemon.py SOCKET      serves hello, status and shutdown, and nothing else, until shutdown
"""

import os
import socketserver
import sys

import msgpack

VERSION, PROTOCOL = "0.0.9", 0


class Session(socketserver.BaseRequestHandler):
    def handle(self):
        unpacker = msgpack.Unpacker()
        while data := self.request.recv(65536):
            unpacker.feed(data)
            for message in unpacker:
                if message[0] == 0:
                    _, msgid, method, params = message
                    self.request.sendall(msgpack.packb([1, msgid, *self.answer(method, params)]))
                    if method == "shutdown":
                        os.unlink(sys.argv[1])
                        os._exit(0)

    def answer(self, method, params):
        if method == "hello" and params[0]["protocol"] != PROTOCOL:
            theirs = f"{params[0]['name']} {params[0]['version']} speaks protocol {params[0]['protocol']}"
            ours = f"dreamd {VERSION} speaks {PROTOCOL}"
            return [6, f"{theirs}, {ours}; upgrade the older of the two and restart it"], None
        if method == "status":
            return None, {
                "version": VERSION,
                "protocol": PROTOCOL,
                "pid": os.getpid(),
                "uptime_s": 1.0,
                "state": "ok",
            }
        if method == "shutdown":
            return None, True
        return [5, "say hello first"], None


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


Server(sys.argv[1], Session).serve_forever()
