"""Remove shards: those that the user forgets or takes back, and the oldest of our own files over the cap.

A file is ours alone if all its shards are lines of one dialogue. `own` has the lines of each dialogue, by trace id,
index and timestamp (ms). Call these functions under the lock.
"""

import contextlib
import stat
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from dreamd.inbox.document.document import Json, encode_document
from dreamd.inbox.errors import DamagedFile, ValidationError
from dreamd.inbox.folder.folder import LOCK, Folder, read_document
from dreamd.inbox.folder.keys import drop_keys
from dreamd.inbox.folder.parts import CORRUPT, SUFFIX, asked_part, part_name, part_of_name

OURS: Final = "dream_line"  # the type of a shard of ours

Own = Mapping[str, Collection[tuple[int, int]]]


def forget(folder: Folder, own: Own) -> list[str]:
    """Remove the files of these traces, acknowledged and set-aside ones too. What another program added to a trace
    stays. Return the names."""
    removed = []
    for at in (folder.main, folder.done):
        for name in sorted(folder.files.names(at)):
            part = part_of_name(name)
            if part is None and at == folder.main and name.partition(SUFFIX + CORRUPT)[0] in own:
                if SUFFIX + CORRUPT in name:
                    folder.files.unlink(name, at)
                    removed.append(name)
            elif part is not None and part[0] in own and _forget_in(folder, name, at, own[part[0]]):
                removed.append(name)
        folder.files.fsync(at)
    for name in folder.files.names(folder.temporary):  # left by a killed writer, since we hold the lock
        part = part_of_name(name)
        if part is not None and part[0] in own:
            folder.files.unlink(name, folder.temporary)
    for trace_id in own:
        drop_keys(folder, trace_id)
    return removed


def take_back(folder: Folder, own: Own) -> dict[str, str]:
    """Remove the waiting files of these traces. What another program added to a trace stays. Return what became of each
    trace that has files: "removed", or "acknowledged" if a part of it was."""
    found = {}
    for name in folder.files.names(folder.main):
        part = part_of_name(name)
        if part is not None and part[0] in own and _forget_in(folder, name, folder.main, own[part[0]]):
            found[part[0]] = "removed"
    folder.files.fsync(folder.main)
    for name in folder.files.names(folder.done):
        part = part_of_name(name)
        if part is not None and part[0] in own:
            found[part[0]] = "acknowledged"
    for trace_id, how in found.items():
        if how == "removed":
            drop_keys(folder, trace_id)
    return found


def _forget_in(folder: Folder, name: str, at: int, lines: Collection[tuple[int, int]]) -> bool:
    """Remove these lines from a file, or the whole file if nothing else is in it. Return False if there is no such
    regular file."""
    found = folder.files.stat_if_there(name, at)
    if not (found and stat.S_ISREG(found.st_mode)):  # what is no file holds no line
        return False
    try:
        document = read_document(folder.files, name, at) or {}
    except (DamagedFile, ValidationError):
        document = {}
    rest = _of_others(document, lines)
    if rest is None:
        folder.files.unlink(name, at)
    else:
        folder.put(name, encode_document(rest), into=at, written_s=found.st_mtime)
        if at == folder.main and folder.files.exists(name, folder.done):  # a consumer has moved it meanwhile
            folder.files.unlink(name, at)
    return True


def drop_oldest(folder: Folder, own: Own, waiting: Sequence[str], keep: int) -> list[str]:
    """Remove the oldest files that hold only dreamd's own shards, so that `keep` of them are left. Return their trace
    ids. `waiting`: the handles of all waiting files, the oldest first."""
    ours = [handle for handle in waiting if handle in own]
    excess, dropped = len(ours) - keep, list[str]()
    for handle in ours[: max(0, excess)]:
        trace_id, number = asked_part(handle)
        name = part_name(trace_id, number or 1)
        try:
            document = read_document(folder.files, name, folder.main)
        except (DamagedFile, ValidationError):
            continue
        if document is None or _of_others(document, own[handle]) is not None:
            continue
        folder.files.unlink(name, folder.main)
        drop_keys(folder, trace_id)
        dropped.append(trace_id)
    if dropped:
        folder.files.fsync(folder.main)
    return dropped


def _of_others(document: Json, lines: Collection[tuple[int, int]]) -> Json | None:
    """Return a document without the shards and nodes of these lines, None if nothing is left. Another program may have
    written odd ones."""
    ids = [f"{document.get('trace_id')}#N{index + 1}" for index, _ in lines]
    shards = [shard for shard in document.get("shards", ()) if not _is_ours(shard, lines)]
    nodes = [
        node
        for node in document.get("matada_nodes", ())
        if not (isinstance(node, dict) and node.get("id") in ids)
    ]
    return document | {"shards": shards, "matada_nodes": nodes} if shards or nodes else None


def _is_ours(shard: object, lines: Collection[tuple[int, int]]) -> bool:
    if not isinstance(shard, dict) or shard.get("type") != OURS:
        return False
    return (shard.get("index"), shard.get("timestamp")) in list(
        lines
    )  # a list compares what has no hash, too


def note_consumer(folder: Folder, wall_s: float) -> None:
    """Remember that a consumer acknowledged a file: the lock has a byte then, and its time is that of the last one."""
    with contextlib.suppress(OSError):  # a full disk: the time of the file in done/ says it as well
        with folder.files.closing(folder.files.open_lock(LOCK, folder.main, folder.modes.of_files)) as fd:
            if not folder.files.fstat(fd).st_size:
                folder.files.write(fd, memoryview(b"\n"))
        folder.files.touch(LOCK, folder.main, wall_s)


def last_consumed(folder: Folder) -> float:
    """Return when a consumer last acknowledged a file, in unix seconds, 0 if none is known."""
    done = (folder.files.stat_if_there(name, folder.done) for name in folder.files.names(folder.done))
    lock = folder.files.stat(LOCK, folder.main)
    return max([lock.st_mtime if lock.st_size else 0.0, *(found.st_mtime for found in done if found)])
