"""What must hold of the inbox, checked from outside: each file is whole, and no shard is lost, doubled or back."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamd.inbox.folder.parts import asked_part, part_of_name
from tests.sim.files import Disk

if TYPE_CHECKING:
    from tests.sim.world import World

HALF = b'{"trace_id": "w'  # what a program leaves that does not keep to the rules


class InboxModel:
    """The shards that someone was told are kept, and the files that are there. A failed check is given to `World.fail`,
    because code under test may catch exceptions."""

    def __init__(self, world: "World", folder: Path, settings: Any) -> None:
        self._world = world
        self.settings = settings
        self.disk = Disk(folder)
        self.checks: Counter[str] = Counter()
        self.may_be_gone: set[str] = set()  # trace ids that a user asked to be forgotten
        self._accepted: dict[str, str] = {}  # text of a shard -> trace id
        self._acknowledged: set[str] = set()  # keys of shards
        self._maybe_acknowledged: set[str] = set()
        self._delivered: dict[str, int] = {}  # trace id -> lines
        self._read: dict[str, tuple[Any, Any]] = {}  # path -> stamp and document
        self._doubled_by_power: set[str] = set()
        self.damaged: list[str] = []  # names of files that another program wrote in part

    def hold(self, promise: str, holds: bool, text: str) -> None:
        """Count a check, and fail if it does not hold."""
        self.checks[promise] += 1
        if not holds:
            self._world.fail(promise, text)

    def accepted(self, trace_id: str, texts: Iterable[str]) -> None:
        """A writer was told that these shards are kept."""
        for text in texts:
            self._accepted[text] = trace_id

    def acknowledging(self, handle: str, shards: Iterable[Any]) -> None:
        """A consumer is about to acknowledge these shards, and may not live to be told."""
        trace, _ = asked_part(handle)
        self._maybe_acknowledged |= {_key_of(trace, shard) for shard in shards}

    def acknowledged(self, handle: str, shards: Iterable[Any]) -> None:
        """A consumer was told that these shards are acknowledged."""
        trace, _ = asked_part(handle)
        self._acknowledged |= {_key_of(trace, shard) for shard in shards}

    def check_durable(self, promise: str, trace: str, texts: Iterable[str]) -> None:
        """Check that a power cut would leave these texts in the files of a trace."""
        held = b""
        for names in (self.disk.durable.get("", {}), self.disk.durable.get("done", {})):
            for name, file in names.items():
                part = part_of_name(name)
                if part is not None and part[0] == trace:
                    held += self.disk.synced.get(file, b"")
        held = held.replace(b": ", b":")
        for text in texts:
            if text not in self.may_be_gone and trace not in self.may_be_gone:
                self.hold(promise, text.encode() in held, f"{trace}: told before it is on disk")

    def documents(self) -> Iterable[tuple[str, str, Any]]:
        """Yield room, name and document of each file that a reader would take for an inbox file (P6)."""
        for room in ("", "done"):
            folder = self.disk.folder / room
            for path in sorted(folder.glob("*.json")) if folder.exists() else ():
                if part_of_name(path.name) is None:
                    continue
                found = path.stat()
                stamp = found.st_ino, found.st_size, found.st_mtime_ns
                key = f"{room}/{path.name}"
                if self._read.get(key, (None, None))[0] != stamp:
                    try:
                        document = json.loads(path.read_bytes())
                    except ValueError:
                        document = None
                    whole = document is not None or path.read_bytes() == HALF
                    self.hold("P6", whole, f"{key} is not whole")
                    self._read[key] = stamp, document
                if self._read[key][1] is not None:
                    yield room, path.name, self._read[key][1]

    def inbox(self) -> None:
        """Check that no accepted shard is lost or doubled (P7), and that none comes back (P5)."""
        held: Counter[str] = Counter()
        own: dict[str, Counter[int]] = defaultdict(Counter)
        for room, name, document in self.documents():
            twice = (
                name in self._doubled_by_power
            )  # a power cut in the middle of an acknowledgement leaves both names
            if twice and room == "done" and name in self.disk.current.get("", {}):
                continue
            for shard in document["shards"]:
                key = _key_of(document["trace_id"], shard)
                held[key] += 1
                if shard.get("type") == "dream_line":
                    own[document["trace_id"]][shard["index"]] += 1
                if room == "done":
                    self.hold("P7", key in self._maybe_acknowledged, f"{key[:20]} is acknowledged unread")
                if room == "" and not twice:
                    # What retention has removed may be written anew by another program.
                    back = key in self._acknowledged and not (self._retires and "#" not in key)
                    self.hold("P5", not back, f"{name}: {key[:20]} was acknowledged, and is back")
        self._check_accepted(held)
        for name in self.damaged:  # what cannot be read is set aside, and never removed
            kept = [path.read_bytes() for path in self.disk.folder.glob(f"{name}*") if path.is_file()]
            self.hold("what is damaged is kept", HALF in kept, name)
        self._check_delivered(own)

    @property
    def _retires(self) -> bool:
        return self.settings.inbox.retention_s < 3600

    def _check_accepted(self, held: Counter[str]) -> None:
        for text, trace in self._accepted.items():
            gone = self._retires and text in self._maybe_acknowledged
            self.hold("P7", gone or held[text] > 0, f"{trace}: {text[:20]} is lost")
            self.hold("P7", held[text] <= 1, f"{trace}: {text[:20]} is there {held[text]} times")

    def _check_delivered(self, own: dict[str, Counter[int]]) -> None:
        for trace, indexes in own.items():
            doubled = [index for index, n in indexes.items() if n > 1]
            self.hold("P5", not doubled, f"{trace}: lines {doubled} are doubled")
        if self._retires or self.settings.inbox.keep < 100 or not self.settings.inbox.enabled:
            return
        for trace, lines in self._delivered.items():
            whole = trace in self.may_be_gone or set(own.get(trace, {})) >= set(range(lines))
            self.hold("P5", whole, f"{trace}: {lines} lines are delivered, {own.get(trace)} are there")


def _key_of(trace: str, shard: dict[str, Any]) -> str:
    """Return what tells a shard from all others: lines of dialogues may be equal."""
    return f"{trace}#{shard['index']}" if shard.get("type") == "dream_line" else str(shard.get("text"))
