"""P12: a decision not to dream touches no disk, and an idle daemon wakes for its tick alone."""

import asyncio
import os
import socket
import time

import msgpack
import pytest

from tests.helpers.daemons.in_loop import serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import ORIGIN, STIRRED, leo, onlooker, settled
from tests.helpers.peer import HELLO, answered


def everything(folder):
    return {
        path: (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        for path in sorted(folder.rglob("*"))
        for stat in [path.lstat()]
    }


@pytest.mark.parametrize(
    ("mode", "reasons"),
    [("fixed", {"calm": 300, "chance": 600, "no_hooks": 90}), ("adaptive", {"calm", "chance", "no_hooks"})],
)
async def test_p12_a_decision_not_to_dream_touches_no_disk(tmp_path, mode, reasons):
    """A thousand times for each reason not to dream: no file changes, no statement writes, no work is queued."""
    async with (
        serving(tmp_path, gate__chance=0, gate__mode=mode) as service,
        await leo(service) as peer,
        await onlooker(service) as other,
    ):
        await peer.call("dream.seed", ORIGIN)
        await service.store.probe()
        await service.store.probe()
        database = service.store._database
        before = everything(tmp_path), await database.read(lambda c: c.total_changes)
        asked = []
        await database.read(lambda c: c.set_trace_callback(asked.append))
        for ctx in ({}, STIRRED, {"pulse": {"novelty": 0.9}}):
            peer.send(b"".join([msgpack.packb([2, "dream.context", [ctx]])] * 300))
            other.send(b"".join([msgpack.packb([2, "dream.context", [ctx]])] * 30))
        await peer.call("why", 0)
        await other.call("why", 0)
        assert service.engine.reasons == reasons or set(service.engine.reasons) == reasons
        assert asked == []
        await database.read(lambda c: c.set_trace_callback(None))
        assert (everything(tmp_path), await database.read(lambda c: c.total_changes)) == before


async def test_p12_an_idle_daemon_wakes_only_for_its_tick(tmp_path):
    """After a dream, with two clients connected, the loop has one timer and no other work."""
    async with serving(tmp_path) as service, await leo(service) as peer, await onlooker(service):
        await peer.call("dream.now", STIRRED)
        await settled(service)
        loop = asyncio.get_running_loop()
        for session in service.sessions.values():  # an answered call leaves its timer to run out, once
            if session._calls._sweep is not None:
                session._calls._sweep.cancel()
        waiting = [timer for timer in loop._scheduled if not timer.cancelled()]
        ticks = [timer for timer in waiting if 10 < timer.when() - loop.time() <= 15]
        assert len(ticks) == 1
        assert waiting == ticks


def test_p12_no_thread_of_an_idle_process_wakes_between_its_ticks(tmp_path):
    """The kernel counts the voluntary sleeps of each thread."""
    with DaemonProcess(tmp_path / "s") as daemon:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(daemon.socket))
        client.sendall(HELLO)
        answered(client)

        def wakes():
            threads = f"/proc/{daemon.process.pid}/task"
            found = {}
            for thread in os.listdir(threads):
                with open(f"{threads}/{thread}/status") as status:
                    [line] = [line for line in status if line.startswith("voluntary_ctxt_switches")]
                found[thread] = int(line.split()[1])
            return found

        seen = [wakes()]
        while len(seen) < 4 or seen[-1] != seen[-4]:  # until it has come to rest
            time.sleep(0.05)  # the interval that is compared; the kernel reports no event of it
            seen.append(wakes())
        time.sleep(1.0)  # the measurement itself: no thread wakes within it
        assert wakes() == seen[-1]
        client.close()
