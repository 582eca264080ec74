"""What only looks: listing, reading, counting, verifying. It needs no lock: every file is always whole."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dreamd.inbox.document import Document, Json, check_trace_id, clean_shard
from dreamd.inbox.errors import DamagedFile, UnknownTrace, ValidationError
from dreamd.inbox.files import Files
from dreamd.inbox.folder import AGAIN, CORRUPT, DONE, SUFFIX, TEMPORARY, done_name, read_document
from dreamd.inbox.node import check_node


@contextlib.contextmanager
def open_rooms(path: Path, files: Files) -> Iterator[dict[str, int]]:
    """The descriptors of what there is of the inbox: "" for the folder itself, `done`, `.tmp`."""
    with contextlib.ExitStack() as opened:
        rooms: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError):
            rooms[""] = opened.enter_context(files.closing(files.open_dir(str(path))))
            for name in (DONE, TEMPORARY):
                with contextlib.suppress(FileNotFoundError):
                    rooms[name] = opened.enter_context(files.closing(files.open_dir(name, rooms[""])))
        yield rooms


def waiting(rooms: dict[str, int], files: Files) -> list[Json]:
    """`{trace_id, bytes, written_at}` (unix seconds) of every file that waits, the oldest first."""
    found = []
    for name in _names(rooms, "", files):
        if (trace_id := _trace_id(name)) is not None:
            with contextlib.suppress(FileNotFoundError):  # acknowledged at this moment
                about = files.stat(name, rooms[""])
                if stat.S_ISREG(about.st_mode):
                    found.append({"trace_id": trace_id, "bytes": about.st_size, "written_at": about.st_mtime})
    return sorted(found, key=lambda entry: (entry["written_at"], entry["trace_id"]))


def read(rooms: dict[str, int], files: Files, trace_id: str) -> Json:
    """The document of a trace: the waiting one, else the last that was acknowledged."""
    found = read_document(files, trace_id + SUFFIX, rooms[""]) if "" in rooms else None
    if found is not None:
        return found
    number = 1
    while (
        DONE in rooms and (part := read_document(files, done_name(trace_id, number), rooms[DONE])) is not None
    ):
        found, number = part, number + 1
    if found is None:
        raise UnknownTrace("no file of that trace id is waiting or was acknowledged")
    return found


def counts(rooms: dict[str, int], files: Files) -> dict[str, int]:
    """How many files wait, are acknowledged, were set aside, are temporaries."""
    main = _names(rooms, "", files)
    return {
        "waiting": sum(_trace_id(name) is not None for name in main),
        "done": sum(name.endswith(SUFFIX) for name in _names(rooms, DONE, files)),
        "set_aside": sum(SUFFIX + CORRUPT in name for name in main),
        "temporaries": len(_names(rooms, TEMPORARY, files)),
    }


def verify(rooms: dict[str, int], files: Files) -> list[Json]:
    """`{file, problems}` of every file, acknowledged and set aside ones too; a sound one has no problem."""
    return [
        {"file": str(Path(room) / name), "problems": _problems(files, name, rooms[room], room)}
        for room in rooms
        for name in _names(rooms, room, files)
        if not name.startswith(".") and (room, name) != ("", DONE)
    ]


def _problems(files: Files, name: str, at: int, room: str) -> list[str]:
    if room == TEMPORARY:
        return ["a temporary: being written, or litter for `dreamctl inbox sweep`"]
    if SUFFIX + CORRUPT in name:
        return ["set aside: it could not be read when its trace was written to"]
    trace_id = _trace_id(name.partition(AGAIN)[0] + SUFFIX if room == DONE and AGAIN in name else name)
    if trace_id is None:
        return ["its name is none of an inbox file"]
    try:
        document = read_document(files, name, at)
    except (DamagedFile, ValidationError) as wrong:
        return [str(wrong)]
    except OSError as wrong:
        return [f"it cannot be read: {wrong.strerror}"]
    return [] if document is None else [*_document_problems(document, trace_id), *_part_problems(document)]


def _document_problems(document: Json, trace_id: str) -> Iterator[str]:
    try:
        msgspec.convert(document, Document)
    except msgspec.ValidationError as wrong:
        yield str(wrong)
    if document.get("trace_id") != trace_id:
        yield "its trace_id is not the one of its name"


def _part_problems(document: Json) -> Iterator[str]:
    for check, parts in ((clean_shard, document["shards"]), (check_node, document["matada_nodes"])):
        for number, part in enumerate(parts):
            try:
                check(part, number)
            except ValidationError as wrong:
                yield str(wrong)


def _names(rooms: dict[str, int], room: str, files: Files) -> list[str]:
    return sorted(files.names(rooms[room])) if room in rooms else []


def _trace_id(name: str) -> str | None:
    """The trace id of an inbox file's name; None for any other name."""
    if not name.endswith(SUFFIX):
        return None
    try:
        return check_trace_id(name.removesuffix(SUFFIX))
    except ValidationError:
        return None
