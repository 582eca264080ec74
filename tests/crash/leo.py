"""A leo that dreams, writes to the inbox and acknowledges, and notes in a ledger what was said and promised to him."""

import json
import os
import random
import time
from pathlib import Path
from typing import Any

from dreamclient.clients.run import Timing
from dreamclient.clients.thread import DreamClient
from dreamclient.errors import DreamError

TOKEN = {"scopes": ["memory.inbox.dreams.write"]}
WORDS = (
    "the", "river", "old", "house", "light", "snow", "sleeps", "under", "a", "small", "door", "and", "hears", "water",
    "speak", "of", "morning",
)  # fmt: skip
TIMING = Timing(first_retry_s=0.02, last_retry_s=0.05)
TRACES = 6  # of his own writes: each grows


class Leo:
    """One process of leo's. It notes a promise after it was made, and what it asks for before it asks."""

    def __init__(self, socket: Path, ledger: Path, seed: str) -> None:
        self._chance = random.Random(seed)
        self._seed = seed
        self._number = 0
        self._ledger = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._client = DreamClient(
            socket_path=socket, timing=TIMING, origin=["I am small.", "I hear the river."]
        )
        self._client.serve(self._generate, self._observe, self._recall, lambda: "field")

    def note(self, kind: str, *what: Any) -> None:
        """Write one line to the ledger."""
        os.write(self._ledger, json.dumps([kind, *what]).encode() + b"\n")

    def _text(self) -> str:
        self._number += 1
        return f"{' '.join(self._chance.choices(WORDS, k=9))} {self._seed.replace(' ', '')}n{self._number}."

    def _generate(self, seed: str, temperature: float, weight: float) -> str:
        return self._text()

    def _observe(self, text: str, meta: Any) -> dict[str, Any]:
        self.note("observed", meta["trace_id"], meta["turn"], text)
        return {"arousal": 0.5, "added": [self._number]}

    def _recall(self, query: str, n: int) -> list[str]:
        return [self._text()]

    def live(self) -> None:
        """Dream and write until killed."""
        self._client.start(1.0)
        while True:
            try:
                self._chance.choice(
                    (self._dream, self._dream, self._offer, self._persist, self._acknowledge)
                )()
            except DreamError:
                # The daemon was killed. Without a pause this loop takes the core of the next one.
                time.sleep(0.005)

    def _dream(self) -> None:
        told = self._client.dream_now({"prompt": self._text(), "reply": self._text()}, timeout_s=10.0)
        self.note("told", told["dialog"], told["outcome"], told["lines"])

    def _offer(self) -> None:
        self._client.offer({"prompt": self._text(), "reply": self._text(), "trauma_level": 0.9})

    def _persist(self) -> None:
        self._number += 1
        trace, index = f"w{self._chance.randrange(TRACES)}", self._number
        shard = {
            "index": index,
            "timestamp": 1,
            "text": self._seed,
            "more": "x" * self._chance.choice((9, 9000)),
        }
        self.note("sent", trace, index, self._seed)
        asked = {"seed": {"goal": "g"}, "result": {"trace_id": trace, "shards": [shard]}, "cap_token": TOKEN}
        self._client.call("inbox.persist", asked)
        self.note("accepted", trace, index, self._seed)

    def _acknowledge(self) -> None:
        waiting = self._client.call("inbox.list", 5)
        if waiting:
            handle = self._chance.choice(waiting)["trace_id"]
            document = self._client.call("inbox.read", handle)
            path = self._client.call("inbox.ack", handle, document["saved_ts"])["path"]
            self.note("acknowledged", Path(path).name, [shard["index"] for shard in document["shards"]])
