"""The front of the inbox, which the daemon, its handlers, dreamctl and other programs call."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from dreamd.clock import Clock
from dreamd.inbox.capability import check_token
from dreamd.inbox.document.document import (
    MOST_SEED_BYTES,
    Json,
    check_schema_ref,
    check_trace_id,
    check_weight,
    clean_seed,
    clean_shard,
    plain_list,
)
from dreamd.inbox.document.node import check_node
from dreamd.inbox.errors import CapabilityError, ValidationError
from dreamd.inbox.folder import passing, reading, removing, writing
from dreamd.inbox.folder.files import Files
from dreamd.inbox.folder.folder import Folder, Modes, check_folder, folder_lock, open_folder, typed_errors
from dreamd.inbox.folder.parts import Part, aside_name, asked_part, part_name
from dreamd.inbox.folder.passing import WaitingFile
from dreamd.inbox.folder.removing import Own
from dreamd.inbox.settings import DAY_S, InboxSettings

log = logging.getLogger("dreamd.inbox")

MORE_DROPPED = 20  # of so many waiting files one more is removed
CONSUMER_S = 30 * DAY_S  # a consumer that acknowledged nothing for so long is gone
MOST_LOGGED = 10  # invalid nodes that are counted in one write: a message can hold a million


def _make_masks(regions: tuple[str, ...]) -> tuple[Callable[..., list[Json]], ...]:
    """Return the redaction of a seed, of shards and of nodes. Its patterns take long to compile: they are loaded if
    redaction is on."""
    from dreamd.inbox.redaction.redact import NODE_KEPT, SHARD_KEPT, redact_parts

    return tuple(
        partial(redact_parts, regions=regions, kept=kept) for kept in (frozenset(), SHARD_KEPT, NODE_KEPT)
    )


class Inbox:
    """An inbox folder. Its methods block. Any number of threads and processes may use one folder at once.

    Every call raises InboxUnavailable if a file call fails, and InboxBusy if another process holds the folder's lock
    for too long.
    """

    def __init__(
        self,
        folder: Path,
        settings: InboxSettings | None = None,
        *,
        files: Files | None = None,
        clock: Clock | None = None,
    ) -> None:
        with typed_errors("find the inbox's folder"):  # a relative path, if the working folder is gone
            self.folder = Path(folder).absolute()
        self.settings = settings or InboxSettings()
        self._modes = Modes(self.settings.file_mode, self.settings.folder_mode)
        self._masks = _make_masks(self.settings.regions) if self.settings.redact else None
        self.refused: Counter[str] = Counter()  # refused tokens, by reason
        self._files = files or Files()
        self._clock = clock or Clock()

    def write(
        self,
        seed: object,
        shards: object,
        nodes: object = (),
        *,
        trace_id: str,
        schema_ref: object = None,
        may_be_empty: bool = True,
        nodes_of_new_shards: bool = False,
    ) -> dict[str, Any]:
        """Add shards and nodes (lists of mappings) to a trace without a token, for the daemon's own dialogues.

        With `nodes_of_new_shards`, a write without a new shard changes no node.

        Return `{path, bytes, shards_written, duplicates, conflicts, nodes_written, nodes_skipped, redacted,
        set_aside}` after the file is whole and on disk. Raise ValidationError if nothing was changed. Every argument
        is checked here, whatever its declared type.
        """
        check_trace_id(trace_id)
        own_ref = check_schema_ref(schema_ref)
        clean = [clean_shard(shard, number) for number, shard in enumerate(plain_list(shards, "shards"))]
        good, skipped = self._good_nodes(plain_list(nodes, "matada_nodes"))
        own_seed = clean_seed(seed)
        if not (clean or may_be_empty):
            raise ValidationError("shards is empty, expected one or more; matada_nodes alone are not taken")
        masked: Counter[str] = Counter()
        if self._masks is not None:
            of_seed, of_shards, of_nodes = self._masks
            (own_seed,) = of_seed([own_seed], masked)
            clean, good = of_shards(clean, masked), of_nodes(good, masked)
            # A mask may be longer than what it replaces.
            check_weight(own_seed, "seed, once it is masked,", MOST_SEED_BYTES)
            for part in clean + good:
                check_weight(part, "a shard or a node, once it is masked,")
        with self._locked("write to the inbox") as folder:
            wall_s = self._clock.wall()
            report = writing.write_trace(
                folder, trace_id, own_seed, clean, good, own_ref, wall_s, nodes_of_new_shards
            )
        return report | {"nodes_skipped": skipped, "redacted": dict(masked)}

    def persist(self, seed: object, result: object, cap_token: object) -> dict[str, Any]:
        """Write the shards and nodes of another program if its token permits it, and return as `write` does.

        `result` is `{trace_id, shards, matada_nodes?, schema_ref?}`. Raise CapabilityError or ValidationError if
        nothing was changed.
        """
        self._permit(cap_token)
        if not isinstance(result, Mapping):
            raise ValidationError(f"result is a {type(result).__name__}, expected a mapping")
        trace_id = check_trace_id(result.get("trace_id"))
        return self.write(
            seed,
            result.get("shards"),
            result.get("matada_nodes"),
            trace_id=trace_id,
            schema_ref=result.get("schema_ref"),
            may_be_empty=False,
        )

    def _permit(self, token: object) -> None:
        try:
            check_token(token, now_s=self._clock.wall(), require_expiry=self.settings.require_expiry)
        except CapabilityError as refusal:
            self.refused[refusal.reason] += 1
            raise

    def _good_nodes(self, nodes: Sequence[object]) -> tuple[list[Json], int]:
        """Return the valid nodes and the number of invalid ones. In strict mode raise for the first invalid one."""
        good: list[Json] = []
        skipped = 0
        for number, node in enumerate(nodes):
            try:
                good.append(check_node(node, number))
            except ValidationError as wrong:
                if self.settings.validate:
                    raise
                skipped += 1
                if skipped <= MOST_LOGGED:
                    log.warning("node skipped: %s", wrong)
        return good, skipped

    def list(self, n: int | None = None, after: str | None = None) -> Sequence[Json]:
        """Return `{trace_id, bytes, written_at}` (unix seconds) of the first `n` waiting files, the oldest first.

        `after`: the `trace_id` of the entry after which to go on. If that one no longer waits, start with the oldest.
        `trace_id` is the argument of `read` and `ack`, such as `t~2` for a part of `t`.
        """
        with self._reading("list the inbox") as rooms:
            return reading.list_waiting(rooms, self._files, n, after)

    def read(self, trace_id: str) -> Json:
        """Return a trace's document: the first waiting one, or else the last acknowledged one.

        Raise UnknownTrace, DamagedFile.
        """
        with self._reading("read the inbox") as rooms:
            return reading.read_part(rooms, self._files, trace_id)

    def ack(self, trace_id: str, saved_ts: int | None = None) -> dict[str, Any]:
        """Move a trace's first waiting file to done/, atomically. Return `{trace_id, path}`, also if it was moved
        before.

        `saved_ts`: the one in the file when it was read. Raise ValidationError if the file has grown since, or
        UnknownTrace.
        """
        asked_part(trace_id)
        if saved_ts is not None and (isinstance(saved_ts, bool) or not isinstance(saved_ts, int)):
            raise ValidationError(f"saved_ts is a {type(saved_ts).__name__}, expected an integer")
        with self._locked("acknowledge in the inbox") as folder:
            path = writing.acknowledge_part(folder, trace_id, saved_ts, self._clock.wall())
            return {"trace_id": trace_id, "path": path}

    def waiting_parts(self) -> Sequence[Part]:
        """Return the parts that wait, the oldest first, for `read_waiting`."""
        with self._reading("list the inbox") as rooms:
            return passing.waiting_parts(self._files, rooms[""]) if "" in rooms else []

    def read_waiting(self, parts: Sequence[Part], most_bytes: int) -> Sequence[WaitingFile]:
        """Return the first of these parts as bytes, until `most_bytes` are read."""
        with self._reading("read the inbox") as rooms:
            found = passing.read_waiting(self._files, rooms[""], parts, most_bytes) if "" in rooms else ()
            return list(found)

    def ack_files(self, read: Sequence[WaitingFile]) -> int:
        """Move to done/ each of these files that is still as it was read. Return how many were moved."""
        with self._locked("acknowledge in the inbox") as folder:
            return passing.acknowledge_files(folder, read, self._clock.wall())

    def keep_aside(self, trace_id: str, data: bytes, number: int) -> None:
        """Write bytes that are no document to a set-aside file. Equal arguments give one file."""
        with self._locked("write to the inbox") as folder:
            folder.put(aside_name(part_name(trace_id, 1), number, 1), data)

    def sweep(self, older_than_s: float = 0.0) -> Sequence[str]:
        """Remove temporary files older than `older_than_s` that killed writers left, and return their names.

        Safe at any time: a living writer has one only while it holds the lock.
        """
        with self._locked("sweep the inbox") as folder:
            return writing.sweep_temporaries(folder, older_than_s, self._clock.wall())

    def retire(self, keep: Collection[str] = ()) -> Sequence[str]:
        """Remove the files that were acknowledged more than `retention_s` ago, and return their names.

        `keep`: traces that may still be written. Only an acknowledged file shows that they were acknowledged.
        """
        with self._locked("retire from the inbox") as folder:
            return writing.retire_parts(folder, self.settings.retention_s, self._clock.wall(), keep)

    def verify(self) -> Sequence[Json]:
        """Return `{file, problems}` of every file. This only reads."""
        with self._reading("verify the inbox") as rooms:
            return reading.verify_files(rooms, self._files)

    def counts(self) -> dict[str, Any]:
        """Return how many files are `{waiting, done, set_aside, temporaries}`, and `refused` tokens by reason."""
        with self._reading("count the inbox") as rooms:
            return {**reading.count_files(rooms, self._files), "refused": dict(self.refused)}

    def forget(self, own: Own) -> Sequence[str]:
        """Remove all files of these dreams, and return their names. `own` are their lines, as of removing.Own."""
        if not own or self._is_missing():
            return []
        with self._locked("forget in the inbox") as folder:
            return removing.forget(folder, own)

    def take_back(self, own: Own) -> dict[str, str]:
        """Remove the waiting files of these dreams. Return by trace id "removed" or, for one that a consumer has
        acknowledged, "acknowledged": that one stays. `own` are their lines, as of removing.Own."""
        if not own or self._is_missing():
            return {}
        with self._locked("take back from the inbox") as folder:
            return removing.take_back(folder, own)

    def drop_oldest(self, own: Own, waiting: Sequence[str]) -> Sequence[str]:
        """Remove the oldest files of our own dreams if there are more than `keep`, unless a consumer was seen lately.
        A few more are removed, so that it is not due after each dialogue. Return the trace ids. `waiting` are the
        handles of the files that wait, the oldest first."""
        keep = self.settings.keep
        if sum(handle in own for handle in waiting) <= keep:
            return []
        with self._locked("drop from the inbox") as folder:
            if self._clock.wall() - removing.last_consumed(folder) < CONSUMER_S:
                return []
            return removing.drop_oldest(folder, own, waiting, keep - keep // MORE_DROPPED)

    def check(self) -> None:
        """Raise if a write would fail now. This changes nothing."""
        with typed_errors("look at the inbox"):
            check_folder(self.folder, self._files)

    def _is_missing(self) -> bool:
        with typed_errors("look for the inbox"):
            return not self.folder.exists()

    @contextmanager
    def _locked(self, doing: str) -> Iterator[Folder]:
        with (
            typed_errors(doing),
            open_folder(self.folder, self._modes, self._files) as folder,
            folder_lock(folder, self._clock),
        ):
            yield folder

    @contextmanager
    def _reading(self, doing: str) -> Iterator[dict[str, int]]:
        with typed_errors(doing), reading.open_rooms(self.folder, self._files) as rooms:
            yield rooms
