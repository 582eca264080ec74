"""A store in a folder of its own, and disks that can be filled."""

import os
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dreamd.clock import Clock
from dreamd.store.store import Store
from tests.helpers.daemons.in_loop import wait_for_database

NOON = 1_767_366_000.0  # 2026-01-02T15:00:00Z

OpenStore = Callable[..., Awaitable[Store]]


@pytest.fixture
def clock() -> Clock:
    return Clock(wall=lambda: NOON)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dream.sqlite3"


@pytest.fixture
async def open_store(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenStore]:
    """`await open_store(path, ...)`; what is left open is closed at the end."""
    wait_for_database(monkeypatch)
    async with AsyncExitStack() as stack:

        async def opened(path: Path, **options: Any) -> Store:
            store = await Store.open(path, clock=clock, **options)
            stack.push_async_callback(store.close)
            return store

        yield opened


@pytest.fixture
async def store(open_store: OpenStore, path: Path) -> Store:
    return await open_store(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 768 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = partial(subprocess.run, capture_output=True, check=False)
    mounted = mount(["mount", "-t", "tmpfs", "-o", "size=768k,mode=0700", "tmpfs", str(disk)])
    if mounted.returncode:
        pytest.skip("needs a privilege that is missing here: mounting a tmpfs")
    try:
        yield disk
    finally:
        mount(["umount", "-l", str(disk)])


def fill(disk: Path) -> Path:
    """Leave not a byte free; returns the file that takes the room."""
    filler = disk / "filler"
    with open(filler, "ab", buffering=0) as file:
        for size in (64 * 1024, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    assert os.statvfs(disk).f_bavail == 0
    return filler


def rows(path: Path, sql: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(sql).fetchall()
