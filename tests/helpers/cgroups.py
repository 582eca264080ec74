"""Use for a user manager of systemd: a cgroup in which it sees only what the test starts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The hierarchies in which systemd looks for processes, as /proc/PID/cgroup names them; one of them or both are there.
TRACKED = ("", "name=systemd")


@contextmanager
def cgroups(name: str) -> Iterator[list[Path]]:
    """Yield the `cgroup.procs` files into which a process writes its pid to join. None if that is not permitted."""
    made: list[Path] = []
    for folder in _ours():
        try:
            (folder / name).mkdir()
        except OSError:
            continue
        made.append(folder / name)
    try:
        yield [group / "cgroup.procs" for group in made]
    finally:
        for group in made:
            for folder, _, _ in os.walk(group, topdown=False):
                os.rmdir(folder)  # fails where a process is left


def _ours() -> Iterator[Path]:
    """Return the folders of this process's cgroups."""
    places = dict(_mounts())
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, hierarchy, path = line.split(":", 2)
        if hierarchy in places:
            yield places[hierarchy] / path.lstrip("/")


def _mounts() -> Iterator[tuple[str, Path]]:
    """Return the mount points of these hierarchies: proc(5)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split()
        for hierarchy in TRACKED:
            if kind == ("cgroup" if hierarchy else "cgroup2") and hierarchy in f",{options},":
                yield hierarchy, Path(before.split()[4])
