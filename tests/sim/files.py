"""The inbox's file calls: they fail, stall, end with their process, and know what a power cut would leave."""

import errno
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamd.engine.delivery import StoppableFiles
from tests.sim.threads import Killed

if TYPE_CHECKING:
    from tests.sim.world import World

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.EROFS, errno.EACCES, errno.EINTR)
PAUSE_S = 0.5  # how long a wait for the lock sleeps: much longer than in reality, to save steps


class Disk:
    """What is in the inbox's folders, and what of it a power cut would leave. A room is a folder's path in the inbox.

    A file is a number. `synced`: its contents when it was last synced. `durable`: the names when their room was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.current: dict[str, dict[str, int]] = {}
        self.durable: dict[str, dict[str, int]] = {}
        self.synced: dict[int, bytes] = {}
        self.opened: dict[int, tuple[str, int | None]] = {}
        self._files = 0

    def new_file(self, room: str, name: str) -> int:
        self._files += 1
        self.current.setdefault(room, {})[name] = self._files
        return self._files

    def sync(self, fd: int) -> None:
        room, file = self.opened.get(fd, (None, None))
        if room is not None and file is None:
            self.durable[room] = dict(self.current.get(room, {}))
        elif file is not None:
            self.synced[file] = Path(f"/proc/self/fd/{fd}").read_bytes()

    def why_not_durable(self, room: str, name: str) -> str | None:
        """Return what a power cut would do to a file, or None."""
        file = self.current.get(room, {}).get(name)
        if file is None or self.durable.get(room, {}).get(name) != file:
            return "its name is not synced"
        try:
            held = (self.folder / room / name).read_bytes()
        except OSError:
            return "it is gone"
        return None if self.synced.get(file) == held else "its contents are not synced"

    def put(self, room: str, name: str, data: bytes) -> None:
        """Write a file as another program does that knows nothing of locks, and sync it."""
        (self.folder / room).mkdir(parents=True, exist_ok=True)
        (self.folder / room / name).write_bytes(data)
        file = self.new_file(room, name)
        self.durable.setdefault(room, {})[name] = file
        self.synced[file] = data

    def lose_power(self, chance: random.Random) -> None:
        """Leave of what was not synced a part."""
        for room in sorted(self.current):
            now, then = self.current[room], self.durable.get(room, {})
            for name in sorted({*now, *then}):
                kept = now.get(name)
                if kept != then.get(name) and chance.random() < 0.5:
                    kept = then.get(name)
                self._leave(room, name, kept, chance)
        self.durable = {room: dict(names) for room, names in self.current.items()}
        self.opened.clear()

    def _leave(self, room: str, name: str, file: int | None, chance: random.Random) -> None:
        path = self.folder / room / name
        if file is None:
            self.current[room].pop(name, None)
            path.unlink(missing_ok=True)
            return
        held = path.read_bytes() if self.current[room].get(name) == file and path.exists() else None
        synced = self.synced.get(file)
        if held is None or held != synced:
            if synced is None or (held is not None and chance.random() < 0.5):
                synced = (held or b"")[: chance.randrange(len(held or b"") + 1)]
            path.write_bytes(synced)
            self.synced[file] = synced
        self.current[room][name] = file


class SimFiles(StoppableFiles):
    """The file calls of one process, which has `dead`, `file_fault` and `file_stall` (see life.Life)."""

    def __init__(self, world: "World", disk: Disk, owner: Any) -> None:
        super().__init__()
        self._world, self._disk, self._owner = world, disk, owner
        self._chance = world.chance(f"files of {owner.name}")

    def _call(self, kind: str, what: str = "") -> None:
        """Begin a call: fail it, park it for a while, or end the process."""
        world, owner = self._world, self._owner
        if owner.dead:
            raise Killed if world.stretches is not None and owner.unwinding else OSError(errno.EIO, "dead")
        owner.file_calls += 1
        if world.stretches is not None:
            world.note(owner.name, kind, what)
            stall_s = owner.file_stall(kind)
            kill = owner.kill_at_file_call()
            if kill or stall_s or self._chance.random() < 0.08:
                world.parked_s = stall_s or world.pace * self._chance.uniform(1e-5, 5e-3)
                world.stretches.park()
        error = owner.file_fault(kind)
        if error:
            world.note(owner.name, kind, "fails", error)
            raise OSError(error, os.strerror(error))

    def _room(self, at: int) -> str | None:
        return self._disk.opened.get(at, (None, None))[0]

    def _forget_name(self, name: str, at: int) -> int | None:
        room = self._room(at)
        return None if room is None else self._disk.current.setdefault(room, {}).pop(name, None)

    def _opened(self, fd: int, name: str, at: int) -> int:
        room = self._room(at)
        if room is not None:
            file = self._disk.current.get(room, {}).get(name)
            self._disk.opened[fd] = room, file if file is not None else self._disk.new_file(room, name)
        return fd

    def open_dir(self, name: str, at: int | None = None) -> int:
        self._call("open_dir", os.path.basename(name))
        fd = super().open_dir(name, at)
        self._disk.opened.pop(fd, None)
        above = None if at is None else self._room(at)
        if above is not None:
            self._disk.opened[fd] = (f"{above}/{name}".lstrip("/"), None)
        elif (
            os.path.samestat(os.fstat(fd), os.stat(self._disk.folder))
            if self._disk.folder.exists()
            else False
        ):
            self._disk.opened[fd] = ("", None)
        return fd

    def open_read(self, name: str, at: int) -> int:
        self._call("open_read", name)
        return self._opened(super().open_read(name, at), name, at)

    def open_new(self, name: str, at: int, mode: int) -> int:
        self._call("open_new", name)
        fd = super().open_new(name, at, mode)
        self._forget_name(name, at)
        return self._opened(fd, name, at)

    def open_lock(self, name: str, at: int, mode: int) -> int:
        self._call("open_lock")
        fd = super().open_lock(name, at, mode)
        self._disk.opened.pop(fd, None)
        return fd

    def close(self, fd: int) -> None:
        self._disk.opened.pop(fd, None)
        super().close(fd)

    def read(self, fd: int, size: int) -> bytes:
        self._call("read")
        return super().read(fd, size)

    def write(self, fd: int, data: memoryview) -> int:
        self._call("write")
        part = self._chance.randrange(1, len(data) + 1) if self._chance.random() < 0.1 else len(data)
        written = super().write(fd, data[:part])
        os.utime(fd, (self._world.clock.wall(),) * 2)  # readers order files by their time
        return written

    def fsync(self, fd: int) -> None:
        self._call("fsync")
        self._disk.sync(fd)

    def rename(self, name: str, at: int, new_name: str, new_at: int) -> None:
        self._call("rename", new_name)
        super().rename(name, at, new_name, new_at)
        file, room = self._forget_name(name, at), self._room(new_at)
        if room is not None and file is not None:
            self._disk.current.setdefault(room, {})[new_name] = file

    def unlink(self, name: str, at: int) -> None:
        self._call("unlink", name)
        super().unlink(name, at)
        self._forget_name(name, at)

    def mkdir(self, name: str, at: int, mode: int) -> None:
        self._call("mkdir", name)
        super().mkdir(name, at, mode)

    def names(self, fd: int) -> list[str]:
        self._call("names")
        return sorted(super().names(fd))  # a folder has no order; every run needs the same one

    def stat(self, name: str, at: int) -> os.stat_result:
        if self._owner.dead:
            raise OSError(errno.EIO, "dead")
        return super().stat(name, at)

    def touch(self, name: str, at: int, time_s: float) -> None:
        self._call("touch", name)
        super().touch(name, at, time_s)

    def lock(self, fd: int) -> None:
        self._call("lock")
        super().lock(fd)

    def pause(self, seconds: float) -> None:
        if self._world.stretches is not None and not self._owner.dead:
            assert not self._world.stretches.whole  # it would wait without end
            self._world.parked_s = PAUSE_S
            self._world.stretches.park()
        super().pause(0.0)
