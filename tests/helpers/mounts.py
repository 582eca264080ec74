"""Use for faults of disks: file systems with a size or mode of the test's choice, or a skip."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def fill(disk: Path) -> None:
    """Fill the file system to the last byte."""
    with (disk / "ballast").open("wb", buffering=0) as ballast:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while True:
                    ballast.write(bytes(size))
    assert os.statvfs(disk).f_bavail == 0


class Mounts:
    """The file systems of a test, unmounted at its end."""

    def __init__(self) -> None:
        self.made: list[Path] = []

    def mount(self, *arguments: object) -> None:
        command = ["mount", *map(str, arguments)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode:
            pytest.skip(f"needs a privilege that is missing here: {ran.stderr.strip()}")
        if "remount" not in " ".join(command):
            self.made.append(Path(str(arguments[-1])))

    def tmpfs(self, place: Path, size: str) -> Path:
        place.mkdir()
        self.mount("-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", place)
        return place

    def read_only(self, place: Path, *, off: bool = False) -> None:
        self.mount("-o", f"remount,{'rw' if off else 'ro'}", place)

    def bind_read_only(self, place: Path) -> None:
        self.mount("--bind", place, place)
        self.mount("-o", "remount,ro,bind", place)

    def unmount(self, place: Path) -> None:
        subprocess.run(["umount", "-l", str(place)], check=True)
        self.made.remove(place)


@contextmanager
def mounts() -> Iterator[Mounts]:
    """Yield the mounts of a test, and unmount them all at its end."""
    made = Mounts()
    try:
        yield made
    finally:
        for place in reversed(made.made[:]):
            made.unmount(place)
