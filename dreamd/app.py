"""Running a daemon: `run` in the foreground, with signals and logs, `embed` on a thread of the calling process."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dreamd.clock import Clock
from dreamd.daemon import START_LOG, TICK_S, Daemon, place_of
from dreamd.errors import StartError
from dreamd.process.exit_codes import ExitCode
from dreamd.process.systemd import Notifier, passed_socket
from dreamd.settings import Settings

if TYPE_CHECKING:
    from dreamd.embedded import Embedded


def embed(
    state_dir: str | os.PathLike[str],
    *,
    db_path: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    clock: Clock = Clock(),
) -> "Embedded":
    """Start a daemon on a thread of this process, without a socket in the file system. Clients connect by
    `Embedded.connect`. It ends with the process, by `close`, or if its database is replaced or removed. Raise
    StartError or SettingsError.

    `db_path`: a database instead of the state folder's dream.sqlite3. If it is not known to be dreamd's, or is empty or
    unreadable, it is left alone, and a dream.sqlite3 beside it is used. `settings`: by default those of file and
    environment.
    """
    from dreamd.embedded import Embedded

    return Embedded(state_dir, db_path=db_path, settings=settings, clock=clock)


def run(load: Callable[[], Settings], state_dir: Path, socket_path: Path) -> int:
    """Serve in the foreground until SIGTERM, SIGINT or the `shutdown` request, and return the exit code.

    `load` reads the settings, now and again at SIGHUP. Raise SettingsError if they are wrong now.
    """
    import uvloop

    settings = load()
    _log_to_stderr(settings.log.level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            daemon = runner.run(_until_stopped(load, settings, state_dir, socket_path))
        except StartError as error:
            print(f"dreamd: {error}", file=sys.stderr)
            return error.exit_code
        except Exception as error:  # noqa: BLE001 - printed without its message, which may hold text of a dream
            print(f"dreamd: unexpected {type(error).__name__}{place_of(error)}", file=sys.stderr)
            return ExitCode.UNEXPECTED
    if daemon.lost:
        print(f"dreamd: {daemon.lost}; the next start serves what is there then", file=sys.stderr)
    return daemon.exit_code


async def _until_stopped(
    load: Callable[[], Settings], settings: Settings, state_dir: Path, socket_path: Path
) -> Daemon:
    notifier = Notifier(os.environ.pop("NOTIFY_SOCKET", None))
    daemon = Daemon(
        settings,
        state_dir,
        socket_path,
        notifier=notifier,
        passed=passed_socket(),
        tick_s=_tick_s(os.environ),
    )

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stopping.set)
    again = asyncio.Event()  # set at SIGHUP; while the daemon starts, the reload waits
    loop.add_signal_handler(signal.SIGHUP, again.set)
    async with daemon.serve():
        gc.freeze()  # what the start made: `__main__` holds the collector off until here
        gc.enable()
        reloads = asyncio.create_task(_reload_when(again, partial(daemon.reload, load)))
        await daemon.stopping.wait()
        reloads.cancel()
    return daemon


async def _reload_when(again: asyncio.Event, reload: Callable[[], None]) -> None:
    while await again.wait():
        again.clear()
        asyncio.get_running_loop().call_soon(reload)  # the loop's handler reports exceptions


def _tick_s(env: Mapping[str, str]) -> float:
    """Return the interval of ticks: half of the watchdog's time if there is one, at most 15 s."""
    watchdog_us = env.get("WATCHDOG_USEC", "")
    half_s = int(watchdog_us) / 2e6 if watchdog_us.isdecimal() else 0.0
    return min(TICK_S, half_s or TICK_S)


def _log_to_stderr(level: str) -> None:
    if level == "off":
        logging.disable(logging.CRITICAL)
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s dreamd: %(message)s"))
    root = logging.getLogger("dreamd")
    root.addHandler(handler)
    root.setLevel(level.upper())
    if level == "warning":  # and where it serves, so that a terminal or a journal is not empty
        logging.getLogger(START_LOG).setLevel(logging.INFO)
