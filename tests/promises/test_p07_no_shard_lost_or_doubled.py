"""P7: no accepted shard is lost or doubled, if a writer is killed before any system call, or if the call fails.

The faults are real: the child's calls are stopped at by ptrace, and it is killed before the call, or the call is
taken away and answered with an error. HUNT=1 (`make hunt`) kills the retry at each of its calls too.
"""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dreamd.inbox import Inbox
from tests.helpers.inbox_check import files, indexes, temporaries
from tests.helpers.inbox_scenes import (
    GARBAGE,
    SEED,
    UNAVAILABLE,
    acknowledge,
    aged,
    child,
    damaged,
    full,
    growing,
    half_acknowledged,
    littered,
    shard,
    write,
    write_on,
)
from tests.helpers.ptrace import FILE_CALLS, Call, Kill, needs_ptrace, traced

pytestmark = [needs_ptrace, pytest.mark.usefixtures("small_files")]

LONG = bool(os.environ.get("HUNT"))


@dataclass(frozen=True)
class Scene:
    """A state before, an action, and the shards that must be there after it, once each."""

    name: str
    before: Callable[[Inbox], object]
    act: Callable[[Inbox], object]
    after: frozenset[int]


SCENES = [
    Scene("a new folder", lambda inbox: None, write, frozenset({0, 1})),
    Scene("a growing file", growing, write, frozenset({0, 1, 9})),
    Scene("a damaged file", damaged, write, frozenset({0, 1})),
    Scene("litter in the way", littered, write, frozenset({0, 1, 9})),
    Scene("duplicates only", write, write, frozenset({0, 1})),
    Scene("partly acknowledged", half_acknowledged, write, frozenset({0, 1, 9})),
    Scene("an acknowledgement", write, acknowledge, frozenset({0, 1})),
    Scene("a second acknowledgement", half_acknowledged, acknowledge, frozenset({0, 9})),
    Scene("a full file", full, write_on, frozenset({0, 1, 9})),
]
# Each (call, number) of these fails in every run with one of the errors, with all of them in `make hunt`.
SHORT = [SCENES[0], SCENES[1], SCENES[2], SCENES[6]]


def scenes(chosen: list[Scene]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scene", SCENES if LONG else chosen, ids=lambda scene: scene.name)


def calls_of(scene: Scene, folder: Path) -> list[tuple[str, int]]:
    """Return each system call on files that the scene makes, by name and number. Those for memory differ between
    runs."""
    inbox = Inbox(folder)
    scene.before(inbox)
    seen: list[tuple[str, int]] = []
    assert traced(child(inbox, scene.act), lambda call: seen.append((call.name, call.nth))) == 0
    return [call for call in seen if call[0] in FILE_CALLS]


def at(name: str, nth: int, answer: int | type[Kill]) -> Callable[[Call], int | type[Kill] | None]:
    return lambda call: answer if (call.name, call.nth) == (name, nth) else None


def check_nothing_lost(scene: Scene, inbox: Inbox, known: frozenset[int]) -> None:
    """Check that all files are whole, that earlier shards are there once, and that there are no others but those
    sent."""
    target = inbox.folder / "t.json"
    if scene.before is damaged and target.exists() and target.read_bytes() == GARBAGE:
        return  # as it was found
    found = indexes(inbox.folder, "t")
    assert set(found.values()) <= {1}
    assert known <= set(found) <= scene.after
    for aside in inbox.folder.glob("*.corrupt-*"):
        assert aside.read_bytes() == GARBAGE


def check_retry(scene: Scene, inbox: Inbox) -> None:
    """Check that a repeated call writes each shard once, and that a sweep leaves no temporary file."""
    scene.act(inbox)
    assert dict(indexes(inbox.folder, "t")) == dict.fromkeys(scene.after, 1)
    inbox.sweep()
    assert temporaries(inbox.folder) == []
    if scene.before is damaged:
        assert [path.read_bytes() for path in inbox.folder.glob("t.json.corrupt-*")] == [GARBAGE]
    if scene.act is acknowledge:
        assert not (inbox.folder / "t.json").exists()


def known_before(scene: Scene, inbox: Inbox) -> frozenset[int]:
    scene.before(inbox)
    if scene.before is damaged:
        return frozenset()
    return frozenset(indexes(inbox.folder, "t"))


@scenes(SCENES)
def test_p7_killed_at_each_system_call_in_turn(scene: Scene, tmp_path: Path) -> None:
    """P6, P7: after a SIGKILL before any call all files are whole, and a retry writes each shard once."""
    calls = calls_of(scene, tmp_path / "reference")
    assert {"openat", "flock", "fsync"} <= {name for name, _ in calls}
    for number, (name, nth) in enumerate(calls):
        inbox = Inbox(tmp_path / str(number))
        known = known_before(scene, inbox)
        assert traced(child(inbox, scene.act), at(name, nth, Kill)) == -9, (name, nth)
        check_nothing_lost(scene, inbox, known)
        check_retry(scene, inbox)


ERRORS = (errno.ENOSPC, errno.EIO, errno.EINTR)
FAILING = [(scene, error) for scene in SCENES for error in ERRORS]


@pytest.mark.parametrize(
    ("scene", "error"),
    FAILING if LONG else [(scene, ERRORS[number % 3]) for number, scene in enumerate(SHORT)],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else value.name,
)
def test_p7_each_file_call_fails_in_turn(scene: Scene, error: int, tmp_path: Path) -> None:
    """P6, P7: the caller gets a typed error, or all shards are there. None is lost or half written."""
    told = 0
    calls = calls_of(scene, tmp_path / "reference")
    for number, (name, nth) in enumerate(calls):
        inbox = Inbox(tmp_path / str(number))
        known = known_before(scene, inbox)
        status = traced(child(inbox, scene.act), at(name, nth, error))
        assert status in (0, UNAVAILABLE), (name, nth)
        check_nothing_lost(scene, inbox, scene.after if status == 0 else known)
        if status == UNAVAILABLE:
            told += 1
            assert temporaries(inbox.folder) == [] or scene.before is littered, (name, nth)
        check_retry(scene, inbox)
    assert told > 0


@scenes([SCENES[1]])
def test_p7_no_shard_is_lost_if_the_retry_is_killed_too(scene: Scene, tmp_path: Path) -> None:
    """P7: a killed retry leaves no half file either, and the next one completes it."""
    calls = calls_of(scene, tmp_path / "reference")
    pairs = [(one, two) for one in calls for two in calls]
    for number, (one, two) in enumerate(pairs if LONG else pairs[::41]):
        inbox = Inbox(tmp_path / str(number))
        known = known_before(scene, inbox)
        assert traced(child(inbox, scene.act), at(*one, Kill)) == -9
        traced(child(inbox, scene.act), at(*two, Kill))  # it may have fewer calls to make
        check_nothing_lost(scene, inbox, known)
        check_retry(scene, inbox)


def retire(inbox: Inbox) -> None:
    inbox.retire()


def check_retired(inbox: Inbox) -> None:
    """Check that retention changed no other part, and that their shards are not written again."""
    assert (
        {"done/t~2.json", "t~3.json"}
        <= set(files(inbox.folder))
        <= {"done/t.json", "done/t~2.json", "t~3.json"}
    )
    report = inbox.write(SEED, [shard(0), shard(1)], trace_id="t")
    assert (report["shards_written"], report["duplicates"]) == (0, 2)


@pytest.mark.parametrize("answer", [Kill, errno.EIO, errno.ENOSPC] if LONG else [Kill])
def test_p7_retention_stopped_at_each_call_in_turn(answer: int | type[Kill], tmp_path: Path) -> None:
    """P7: a killed retention removes no more than it should, and the next one completes it."""
    scene = Scene("retention", aged, retire, frozenset())
    calls = calls_of(scene, tmp_path / "reference")
    for number, (name, nth) in enumerate(calls):
        inbox = Inbox(tmp_path / str(number))
        aged(inbox)
        assert traced(child(inbox, retire), at(name, nth, answer)) in (-9, 0, UNAVAILABLE), (name, nth)
        check_retired(inbox)
        inbox.retire()
        check_retired(inbox)
        assert set(files(inbox.folder)) == {"done/t~2.json", "t~3.json"}
        assert temporaries(inbox.folder) == [] or inbox.sweep()
