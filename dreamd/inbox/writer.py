"""What changes the inbox: a write, an acknowledgement, the sweep, retention. Call it under the lock."""

import re
import stat
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

from dreamd.inbox.document import SCHEMA_REF, Json, empty_document, encode
from dreamd.inbox.errors import DamagedFile, UnknownTrace, ValidationError
from dreamd.inbox.folder import DONE, SUFFIX, Folder, done_name, read_document
from dreamd.inbox.merge import Held, put_nodes

_DONE_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:~(\d{1,9}))?\.json")


def write(
    folder: Folder,
    trace_id: str,
    seed: Json,
    shards: Sequence[Json],
    nodes: Sequence[Json],
    schema_ref: str | None,
    wall_s: float,
) -> dict[str, Any]:
    """Add to a trace what is new of these, all checked and plain. `wall_s` is now, in unix seconds.

    What was acknowledged counts as held, so that it never comes back. The answer has `path`, `bytes`,
    `shards_written`, `duplicates`, `conflicts`, `nodes_written`, and `set_aside`: a damaged file's new name.
    """
    name = trace_id + SUFFIX
    existing, damaged = _read_or_damaged(folder, name, folder.main)
    held = Held(trace_id)
    if existing is not None:
        held.add(existing)
    acknowledged = list(folder.parts_done(trace_id))
    for part in acknowledged:
        document, _ = _read_or_damaged(folder, part, folder.done)
        if document is not None:
            held.add(document)
    new, conflicts = held.new_shards(shards)
    changed = held.new_nodes(nodes)
    aside = None
    if new or changed or not (existing or acknowledged):
        data = encode(_grown(existing, trace_id, seed, new, changed, schema_ref, wall_s))
        if damaged:
            aside = folder.set_aside(name, folder.main, wall_s)
        folder.put(name, data)
    elif existing:
        folder.sync(name)
    where, at = (name, folder.main) if folder.exists(name, folder.main) else (acknowledged[-1], folder.done)
    return {
        "path": str(folder.path / where if at == folder.main else folder.path / DONE / where),
        "bytes": folder.files.stat(where, at).st_size,
        "shards_written": len(new),
        "duplicates": len(shards) - len(new),
        "conflicts": conflicts,
        "nodes_written": len(changed),
        "set_aside": aside,
    }


def _read_or_damaged(folder: Folder, name: str, at: int) -> tuple[Json | None, bool]:
    try:
        return read_document(folder.files, name, at), False
    except DamagedFile:
        return None, True


def _grown(
    existing: Json | None,
    trace_id: str,
    seed: Json,
    shards: list[Json],
    nodes: dict[str, Json],
    schema_ref: str | None,
    wall_s: float,
) -> Json:
    """The document with what is new; its first seed stays, and so do keys that we do not know."""
    document = empty_document(trace_id) | (existing or {})
    return document | {
        "trace_id": trace_id,
        "saved_ts": int(wall_s * 1000),
        "seed": document["seed"] or seed,
        "shards": document["shards"] + shards,
        "matada_nodes": put_nodes(document["matada_nodes"], nodes),
        "schema_ref": schema_ref or document["schema_ref"] or SCHEMA_REF,
    }


def acknowledge(folder: Folder, trace_id: str, wall_s: float) -> str:
    """Move a trace's file to done/, atomically; its path there, also where that was done before."""
    files, name = folder.files, trace_id + SUFFIX
    done = list(folder.parts_done(trace_id))
    if folder.exists(name, folder.main):
        if not stat.S_ISREG(files.stat(name, folder.main).st_mode):
            raise ValidationError("something that is no regular file stands in the place of an inbox file")
        done.append(done_name(trace_id, len(done) + 1))
        files.touch(name, folder.main, wall_s)  # retention counts from here
        files.rename(name, folder.main, done[-1], folder.done)
        files.fsync(folder.done)
        files.fsync(folder.main)
    elif not done:
        raise UnknownTrace("no file of that trace id is waiting or was acknowledged")
    return str(folder.path / DONE / done[-1])


def sweep(folder: Folder, older_than_s: float, wall_s: float) -> list[str]:
    """Remove temporaries, which under the lock are all litter; `older_than_s` spares the younger ones."""
    swept = []
    for name in sorted(folder.files.names(folder.temporary)):
        found = folder.files.stat(name, folder.temporary)
        # A temporary from the future is litter of a clock that jumped.
        if not stat.S_ISDIR(found.st_mode) and abs(wall_s - found.st_mtime) >= older_than_s:
            folder.files.unlink(name, folder.temporary)
            swept.append(name)
    return swept


def retire(folder: Folder, retention_s: float, wall_s: float, keep: Collection[str] = ()) -> list[str]:
    """Remove acknowledged files whose trace was last acknowledged more than `retention_s` seconds ago, but for those
    of the traces `keep`."""
    parts: dict[str, dict[int, str]] = defaultdict(dict)
    for name in folder.files.names(folder.done):
        if (known := _DONE_NAME.fullmatch(name)) and known[1] not in keep:
            parts[known[1]][int(known[2] or 1)] = name
    retired = []
    for _, names in sorted(parts.items()):
        times = [folder.files.stat(name, folder.done).st_mtime for name in names.values()]
        if wall_s - max(times) > retention_s:
            # The last part first: a gap in the row would hide what is behind it from the next write.
            for _, name in sorted(names.items(), reverse=True):
                folder.files.unlink(name, folder.done)
                retired.append(name)
    if retired:
        folder.files.fsync(folder.done)
    return retired
