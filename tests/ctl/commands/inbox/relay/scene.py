"""The machines of a relay's tests: folders with files, and the relay and the puller as processes of their own."""

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from dreamd.inbox import Inbox
from tests.helpers.dreamctl import spawn_dreamctl
from tests.helpers.nats_server import NatsServer
from tests.helpers.waiting import until

if TYPE_CHECKING:
    import subprocess

Shards = Counter[tuple[int, str]]


def shard(index: int, text: str) -> dict[str, object]:
    return {"index": index, "timestamp": index, "text": text}


class Machine:
    """A state folder with an inbox. `expected`: the shards that were written, by trace id."""

    def __init__(self, state: Path) -> None:
        self.state, self.name = state, state.name
        self.box = Inbox(state / "inbox" / "dreams")
        self.expected: dict[str, Shards] = {}

    def write(self, trace_id: str, *texts: str) -> None:
        held = self.expected.setdefault(trace_id, Counter())
        shards = [shard(len(held) + number, text) for number, text in enumerate(texts)]
        self.box.write({"goal": "dream of leo"}, shards, trace_id=trace_id)
        held.update(enumerate(texts, len(held)))

    def fill(self, files: int) -> None:
        for number in range(files):
            self.write(f"{self.name}-{number}", *(f"line {line} of dream {number} " * 8 for line in range(3)))

    @property
    def waiting(self) -> int:
        return sum(name.endswith(".json") for name in os.listdir(self.box.folder))

    def relay(self, url: str, *more: object) -> "subprocess.Popen[str]":
        words = ("--state-dir", self.state, "inbox", "relay", "--to", url, "--machine", self.name, *more)
        return spawn_dreamctl(*words, cwd=self.state)


def start_pull(folder: Path, url: str, *more: object) -> "subprocess.Popen[str]":
    return spawn_dreamctl("inbox", "pull", "--from", url, "--into", folder, *more, cwd=folder.parent)


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Return the exit code of a process, and what it printed to stdout and stderr."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def pulled(folder: Path) -> dict[str, Shards]:
    """Return the shards of a folder by trace id. A trace must have one file, and nothing else may lie there."""
    found = {}
    for name in os.listdir(folder):
        if not name.startswith(".") and name != "done":
            document = json.loads((folder / name).read_text())
            assert name == f"{document['trace_id']}.json"
            found[document["trace_id"]] = Counter((s["index"], s["text"]) for s in document["shards"])
    return found


def run_with_kills(base: Path, files: int, kills: int, seed: int) -> None:
    """Pass `files` of three machines into one folder, while server, relays and puller are killed at random."""
    chance = random.Random(seed)
    machines = [Machine(base / f"machine{number}") for number in range(3)]
    for machine in machines:
        machine.fill(files // 3)
    target = base / "all"
    target.mkdir()
    server = NatsServer(base / "jetstream")
    server.make_stream()
    relays = [machine.relay(server.url) for machine in machines]
    puller = start_pull(target, server.url)
    try:
        for share in sorted(chance.uniform(0.0, 0.9) for _ in range(kills)):

            def has_come(share: float = share) -> bool:
                left = sum(machine.waiting for machine in machines)
                return files - left + len(os.listdir(target)) >= 2 * share * files

            until(has_come, f"{share:.0%} has come (seed {seed})", 60)
            victim = chance.choice(["server", "puller", 0, 1, 2])
            if victim == "server":
                server.kill()
                server.start()
            elif victim == "puller":
                kill(puller)
                puller = start_pull(target, server.url)
            else:
                kill(relays[int(victim)])
                relays[int(victim)] = machines[int(victim)].relay(server.url)
            grown = chance.choice(machines)  # waiting, on its way, or acknowledged
            grown.write(f"{grown.name}-{chance.randrange(files // 3)}", "one more line")
        last_s = 60 + files / 20  # a puller syncs each file, and shares the disk
        expected = {trace: held for machine in machines for trace, held in machine.expected.items()}
        until(
            lambda: not any(machine.waiting for machine in machines), f"all are passed on (seed {seed})", 60
        )
        until(lambda: pulled_all(target, expected), f"all have come, each line once (seed {seed})", last_s)
    finally:
        for process in (*relays, puller):
            kill(process)
        server.kill()
    for machine in machines:
        assert machine.box.counts()["set_aside"] == 0


def pulled_all(folder: Path, expected: dict[str, Shards]) -> bool:
    return len(os.listdir(folder)) >= len(expected) and pulled(folder) == expected


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.communicate()
