"""Changing the inbox: writing, acknowledging, sweeping, retiring. The caller holds the folder's lock."""

import contextlib
import stat
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate, takewhile
from typing import Any

from dreamd.inbox.document.document import (
    MOST_FILE_BYTES,
    MOST_READ_BYTES,
    SCHEMA_REF,
    Json,
    check_trace,
    empty_document,
    encoded_size,
)
from dreamd.inbox.document.merge import Held, put_nodes
from dreamd.inbox.errors import DamagedFile, ForeignFile, UnknownTrace, ValidationError
from dreamd.inbox.folder.files import Files
from dreamd.inbox.folder.folder import DONE, Folder, read_bytes, read_document
from dreamd.inbox.folder.keys import drop_keys
from dreamd.inbox.folder.parts import Part, asked_part, part_name, part_of_name
from dreamd.inbox.folder.removing import note_consumer
from dreamd.inbox.folder.trace import TakenMeanwhile, Trace, acknowledged_part, waiting_part


def write_trace(
    folder: Folder,
    trace_id: str,
    seed: Json,
    shards: Sequence[Json],
    nodes: Sequence[Json],
    schema_ref: str | None,
    wall_s: float,
    nodes_of_new_shards: bool = False,
) -> dict[str, Any]:
    """Add the new ones of these shards and nodes, which are checked and plain, to a trace. `wall_s`: now, in unix
    seconds.

    Acknowledged shards count as held, so that they never come back. Return `path`, `bytes`, `shards_written`,
    `duplicates`, `conflicts`, `nodes_written`, and in `set_aside` the new name of a damaged file.
    """
    trace = Trace(folder, trace_id)
    existing, damaged = _read_current(trace)
    held = Held(trace_id, trace.earlier)
    if existing is not None:
        held.add(existing)
    new, conflicts = held.new_shards(shards)
    changed = {} if nodes_of_new_shards and not new else held.new_nodes(nodes)
    aside = None
    if new or changed or trace.latest() is None:
        if damaged:
            aside = folder.set_aside(trace.name, wall_s)
        fresh = empty_document(trace_id) | {"seed": seed, "schema_ref": schema_ref or SCHEMA_REF}
        document = fresh if existing is None else _continue_document(existing, fresh, schema_ref)
        try:
            _write_parts(trace, document, fresh, [*new, *changed.values()], len(new), wall_s)
        except TakenMeanwhile:  # nothing was written; the next part is next
            return write_trace(folder, trace_id, seed, shards, nodes, schema_ref, wall_s, nodes_of_new_shards)
    elif existing is not None:
        with contextlib.suppress(FileNotFoundError):  # a consumer has just taken it
            folder.sync(trace.name)
    where, at, size = trace.latest() or (trace.name, folder.main, 0)
    return {
        "path": _path_of(folder, where, at),
        "bytes": size,
        "shards_written": len(new),
        "duplicates": len(shards) - len(new),
        "conflicts": conflicts,
        "nodes_written": len(changed),
        "set_aside": aside,
    }


def _read_current(trace: Trace) -> tuple[Json | None, bool]:
    """Return the part that is written to, and whether it is damaged and must be set aside."""
    try:
        return trace.read(), False
    except ForeignFile:
        raise
    except DamagedFile:
        return None, True


def _continue_document(existing: Json, fresh: Json, schema_ref: str | None) -> Json:
    """Return a file's document with its missing keys. Its first seed and its unknown keys stay."""
    document = fresh | existing
    seed = existing.get("seed") or fresh["seed"]
    return document | {"seed": seed, "schema_ref": schema_ref or document["schema_ref"] or SCHEMA_REF}


def _write_parts(
    trace: Trace, document: Json, fresh: Json, items: list[Json], shards: int, wall_s: float
) -> None:
    """Write items to this part and, when it is full, to the next ones. The first `shards` items are shards, the others
    nodes."""
    while True:
        room = MOST_FILE_BYTES - encoded_size(document)
        fitting = _count_fitting(items, room)
        if fitting or not items:
            nodes = {node["id"]: node for node in items[shards:fitting]}
            document = document | {
                "shards": document["shards"] + items[: min(shards, fitting)],
                "matada_nodes": put_nodes(document["matada_nodes"], nodes),
            }
            trace.put(document, wall_s)
        items, shards = items[fitting:], max(0, shards - fitting)
        if not items:
            return
        trace.begin_next(document)
        document = trace.read() or fresh


def _count_fitting(items: list[Json], room: int) -> int:
    """Return how many of the first items fit into `room` bytes."""
    sizes = accumulate(encoded_size(item) + 1 for item in items)
    return sum(1 for _ in takewhile(lambda size: size <= room, sizes))


def acknowledge_part(folder: Folder, handle: str, saved_ts: int | None, wall_s: float) -> str:
    """Move a part to done/, atomically. Return its path there, also if it was moved before.

    `saved_ts`: the one in the file when it was read. Raise ValidationError if the file has grown since.
    """
    try:
        return _acknowledge(folder, handle, saved_ts, wall_s)
    except FileNotFoundError:  # another consumer has just moved it
        return _acknowledge(folder, handle, saved_ts, wall_s)


def _acknowledge(folder: Folder, handle: str, saved_ts: int | None, wall_s: float) -> str:
    files = folder.files
    trace_id, asked = asked_part(handle)
    waiting = waiting_part(files, folder.main, trace_id, asked)
    if waiting and _is_as_read(files, part_name(trace_id, waiting), trace_id, folder.main, saved_ts):
        note_consumer(folder, wall_s)
        return _path_of(folder, _move_to_done(folder, trace_id, waiting, wall_s), folder.done)
    # The part that was read may be acknowledged already, and the waiting one may be the next.
    done = acknowledged_part(files, folder.done, trace_id, asked)
    name = part_name(trace_id, done or 1)
    if done and (not waiting or _is_as_read(files, name, trace_id, folder.done, saved_ts)):
        files.fsync(folder.main)  # the process that moved it may have crashed before this
        return _path_of(folder, name, folder.done)
    if waiting:
        raise ValidationError("the file has grown since it was read; read it again, then acknowledge it")
    raise UnknownTrace("no file of that trace id is waiting or was acknowledged")


def _is_as_read(files: Files, name: str, trace_id: str, at: int, saved_ts: int | None) -> bool:
    if files.stat(name, at).st_size > MOST_READ_BYTES:  # larger than the memory, perhaps; no reader takes it
        return saved_ts is None
    try:
        document = read_document(files, name, at) or {}
    except DamagedFile:
        document = {}
    check_trace(document, trace_id)
    return saved_ts is None or document.get("saved_ts") == saved_ts


def _move_to_done(folder: Folder, trace_id: str, number: int, wall_s: float) -> str:
    """Move a part to done/, and sync both folders. Return the new name."""
    target = rename_to_done(folder, trace_id, number, wall_s)
    folder.files.fsync(folder.done)
    folder.files.fsync(folder.main)
    return target


def rename_to_done(folder: Folder, trace_id: str, number: int, wall_s: float) -> str:
    """Rename a part into done/, to its own name if that is free there. Return the new name. The caller syncs."""
    files, free = folder.files, number
    while files.exists(part_name(trace_id, free), folder.done) or (
        free > number and files.exists(part_name(trace_id, free), folder.main)
    ):
        free += 1
    name, target = part_name(trace_id, number), part_name(trace_id, free)
    try:
        files.touch(name, folder.main, wall_s)  # retention counts from now
    except PermissionError:  # another user's file that we may only read: put a copy of our own in its place
        if (data := read_bytes(files, name, folder.main, MOST_READ_BYTES)) is not None:
            folder.put(name, data, written_s=wall_s)
    files.rename(name, folder.main, target, folder.done)
    return target


def _path_of(folder: Folder, name: str, at: int) -> str:
    return str(folder.path / name if at == folder.main else folder.path / DONE / name)


def sweep_temporaries(folder: Folder, older_than_s: float, wall_s: float) -> list[str]:
    """Remove temporary files older than `older_than_s`. No writer needs one while this process holds the lock."""
    swept = []
    for name in sorted(folder.files.names(folder.temporary)):
        found = folder.files.stat_if_there(name, folder.temporary)
        # A time in the future comes from a clock that jumped.
        if found and not stat.S_ISDIR(found.st_mode) and abs(wall_s - found.st_mtime) >= older_than_s:
            folder.files.unlink(name, folder.temporary)
            swept.append(name)
    return swept


def retire_parts(folder: Folder, retention_s: float, wall_s: float, keep: Collection[str] = ()) -> list[str]:
    """Remove each part that was acknowledged more than `retention_s` seconds ago, except those of the traces `keep`.

    If the files of a trace cannot be read or removed, go on with the others, and raise the first failure at the end.
    """
    waiting = {trace_id for trace_id, _ in _parts_in(folder, folder.main)}
    done = defaultdict[str, list[int]](list)
    for trace_id, number in _parts_in(folder, folder.done):
        done[trace_id].append(number)
    retired: list[str] = []
    failures: list[Exception] = []
    for trace_id in sorted(done.keys() - keep):
        try:
            old = [n for n in sorted(done[trace_id]) if _is_old(folder, trace_id, n, wall_s - retention_s)]
            goes_on = trace_id in waiting or len(old) < len(done[trace_id])
            retired += _retire_trace(folder, trace_id, old, goes_on)
        except (OSError, ValidationError) as failure:
            failures.append(failure)
    if retired:
        folder.files.fsync(folder.done)
    if failures:
        raise failures[0]
    return retired


def _parts_in(folder: Folder, at: int) -> Iterator[Part]:
    return filter(None, map(part_of_name, folder.files.names(at)))


def _is_old(folder: Folder, trace_id: str, number: int, before_s: float) -> bool:
    found = folder.files.stat_if_there(part_name(trace_id, number), folder.done)
    return found is not None and stat.S_ISREG(found.st_mode) and found.st_mtime < before_s


def _retire_trace(folder: Folder, trace_id: str, old: list[int], goes_on: bool) -> Iterator[str]:
    """Remove parts of one trace. The keys of its other parts, and the numbers that it has used, stay known."""
    if old and goes_on:
        Trace(folder, trace_id).forget(old)
    for number in old:
        folder.files.unlink(name := part_name(trace_id, number), folder.done)
        yield name
    if old and not goes_on:
        drop_keys(folder, trace_id)
