"""A healthy leo in a process of its own, who dreams without a pause and must notice nothing: `witness SOCKET`.

For each line on its input it prints what it saw since the last one: dialogues that were complete, what went wrong, and
the 50th and 99th percentile of a hook's round trip: from its answer to the daemon's next call. At the end of its input
it ends.
"""

import json
import os
import selectors
import socket
import sys
import time
from typing import Any

import msgpack

MOST_SEEN = 200_000  # round trips of one period
LINE = "the {} night keeps a {} lamp over the water {}"
WORDS = ("long", "small", "quiet", "second", "old", "blue", "far", "slow")


class Witness:
    """One connection that dreams."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        self._unpacker = msgpack.Unpacker()
        self._said = 0
        self._answered_at = 0.0
        self.trips: list[float] = []  # s
        self.complete = 0
        self.wrong: list[str] = []
        hello = {"protocol": 1, "name": "witness", "provides": ["generate", "observe"], "pid": os.getpid()}
        self._send(
            [0, 0, "hello", [hello]], [0, 1, "dream.seed", [{"origin": ["I am here."]}]], self._dream()
        )

    def serve(self) -> None:
        """Read what has come, and answer it."""
        data = self._socket.recv(1 << 16)
        came_at = time.perf_counter()
        if not data:
            raise SystemExit("the daemon closed the witness's connection")
        self._unpacker.feed(data)
        for message in self._unpacker:
            self._take(message, came_at)

    def report(self) -> dict[str, Any]:
        """Return what was seen since the last report."""
        trips, self.trips = sorted(self.trips), []
        wrong, self.wrong = self.wrong, []
        complete, self.complete = self.complete, 0
        p50, p99 = (trips[int(len(trips) * share)] * 1000 if trips else 0.0 for share in (0.5, 0.99))
        return {"complete": complete, "wrong": wrong[:5], "trips": len(trips), "p50_ms": p50, "p99_ms": p99}

    def _take(self, message: Any, came_at: float) -> None:
        match message:
            case [0, msgid, method, _]:
                if self._answered_at and len(self.trips) < MOST_SEEN:
                    self.trips.append(came_at - self._answered_at)
                self._send([1, msgid, None, self._line() if method == "generate" else None])
                self._answered_at = time.perf_counter()
            case [1, 2, None, result]:
                if result["outcome"] == "complete":
                    self.complete += 1
                else:
                    self.wrong.append(f"a dialogue ended as {result['outcome']}")
                self._answered_at = 0.0
                self._send(self._dream())
            case [1, msgid, error, _] if error is not None:
                self.wrong.append(f"answer {msgid}: {error[1]}")
                self._send(self._dream()) if msgid == 2 else None
            case [2, method, params] if method != "event":
                self.wrong.append(f"{method}: {params}")

    def _line(self) -> str:
        self._said += 1
        number = self._said
        return LINE.format(WORDS[number % 8], WORDS[number // 8 % 8], number)

    def _dream(self) -> Any:
        return [0, 2, "dream.now", [{"prompt": "hello", "reply": "I am here", "trauma_level": 0.9}]]

    def _send(self, *messages: Any) -> None:
        self._socket.sendall(b"".join(map(msgpack.packb, messages)))

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._socket.fileno()


def main(path: str) -> None:
    """Dream until the input ends."""
    witness = Witness(path)
    ready = selectors.DefaultSelector()
    ready.register(witness, selectors.EVENT_READ)
    ready.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is witness:
                witness.serve()
            elif not sys.stdin.buffer.raw.read(1):  # type: ignore[attr-defined]
                return
            else:
                print(json.dumps(witness.report()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
