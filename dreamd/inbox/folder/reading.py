"""Reading the inbox: list, read, count, verify. It needs no lock, because every file is always whole."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from dreamd.inbox.document.document import Document, Json, clean_shard
from dreamd.inbox.document.node import check_node
from dreamd.inbox.errors import DamagedFile, UnknownTrace, ValidationError
from dreamd.inbox.folder.files import Files
from dreamd.inbox.folder.folder import DONE, TEMPORARY, read_document
from dreamd.inbox.folder.parts import (
    CORRUPT,
    SUFFIX,
    Part,
    asked_part,
    handle_of,
    handles_of,
    part_name,
    part_of_name,
)
from dreamd.inbox.folder.trace import acknowledged_part, waiting_part

Rooms = dict[str, int]


@contextlib.contextmanager
def open_rooms(path: Path, files: Files) -> Iterator[Rooms]:
    """Open the existing folders of the inbox: "" for the folder itself, `done`, `.tmp`."""
    with contextlib.ExitStack() as opened:
        rooms: Rooms = {}
        with contextlib.suppress(FileNotFoundError):
            rooms[""] = opened.enter_context(files.closing(files.open_dir(str(path))))
            for name in (DONE, TEMPORARY):
                with contextlib.suppress(FileNotFoundError):
                    rooms[name] = opened.enter_context(files.closing(files.open_dir(name, rooms[""])))
        yield rooms


def list_waiting(rooms: Rooms, files: Files, most: int | None = None, after: str | None = None) -> list[Json]:
    """Return `{trace_id, bytes, written_at}` (unix seconds) of `most` waiting files at most, the oldest first, and only
    those after the one named `after`, if that still waits.

    A growing file keeps its place. The first waiting part of a trace is named by the trace id.
    """
    found: list[tuple[int, Part, Any]] = []
    for part in filter(None, map(part_of_name, files.names(rooms[""]) if "" in rooms else ())):
        about = files.stat_if_there(part_name(*part), rooms[""])
        if about and stat.S_ISREG(about.st_mode):
            found.append((about.st_mtime_ns, part, about))
    found.sort(key=lambda one: one[:2])
    called = handles_of(part for _, part, _ in found)
    begin = 0
    if after is not None:
        places = (n for n, (_, part, _) in enumerate(found, 1) if after in (called[part], handle_of(*part)))
        begin = next(places, 0)
    return [
        {"trace_id": called[part], "bytes": about.st_size, "written_at": about.st_mtime}
        for _, part, about in found[begin:][:most]
    ]


def read_part(rooms: Rooms, files: Files, handle: str) -> Json:
    """Return the document of a part, or of a trace's first waiting part, or else of its last acknowledged one."""
    trace_id, asked = asked_part(handle)
    for room, find in (("", waiting_part), (DONE, acknowledged_part)):
        number = find(files, rooms[room], trace_id, asked) if room in rooms else None
        if number and (found := read_document(files, part_name(trace_id, number), rooms[room])):
            return found
    raise UnknownTrace("no file of that trace id is waiting or was acknowledged")


def count_files(rooms: Rooms, files: Files) -> dict[str, int]:
    """Return the numbers of waiting, acknowledged, set aside and temporary files."""
    main = _file_names(rooms, "", files)
    return {
        "waiting": sum(part_of_name(name) is not None for name in main),
        "done": sum(name.endswith(SUFFIX) for name in _file_names(rooms, DONE, files)),
        "set_aside": sum(SUFFIX + CORRUPT in name and part_of_name(name) is None for name in main),
        "temporaries": len(_file_names(rooms, TEMPORARY, files)),
    }


def verify_files(rooms: Rooms, files: Files) -> list[Json]:
    """Return `{file, problems}` of every file, including acknowledged ones and those set aside. A sound one has no
    problems."""
    return [
        {"file": str(Path(room) / name), "problems": _problems_of(files, name, rooms[room], room)}
        for room in rooms
        for name in _file_names(rooms, room, files)
        if not name.startswith(".") and (room, name) != ("", DONE)
    ]


def _problems_of(files: Files, name: str, at: int, room: str) -> list[str]:
    if room == TEMPORARY:
        return ["a temporary: being written, or litter for `dreamctl inbox sweep`"]
    part = part_of_name(name)
    if part is None and SUFFIX + CORRUPT in name:
        return ["set aside: it could not be read when its trace was written to"]
    if part is None:
        return ["its name is none of an inbox file"]
    try:
        document = read_document(files, name, at)
    except (DamagedFile, ValidationError) as wrong:
        return [str(wrong)]
    except OSError as wrong:
        return [f"it cannot be read: {wrong.strerror}"]
    return [] if document is None else [*_document_problems(document, part[0])]


def _document_problems(document: Json, trace_id: str) -> Iterator[str]:
    try:
        msgspec.convert(document, Document)
    except msgspec.ValidationError as wrong:
        yield str(wrong)
    if document.get("trace_id") != trace_id:
        yield "its trace_id is not the one of its name"
    for check, parts in ((clean_shard, document["shards"]), (check_node, document["matada_nodes"])):
        for number, part in enumerate(parts):
            try:
                check(part, number)
            except ValidationError as wrong_part:
                yield str(wrong_part)


def _file_names(rooms: Rooms, room: str, files: Files) -> list[str]:
    return sorted(files.names(rooms[room])) if room in rooms else []
