"""Kill a daemon again and again, and check after each kill what it had promised: `make crash N=100 SEED=1`.

Half of the kills come at a named point (life.POINTS), the others at any moment, some while it starts. leo is a process
of his own, and sometimes dies too. Each round of kills has a new state folder, and ends with a daemon that is left
alone until all is delivered.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgpack

from dreamd.inbox import Inbox
from tests.crash.ledger import Broken, Ledger, hold
from tests.crash.leo import Leo
from tests.crash.life import POINTS, fork, fork_daemon
from tests.helpers.inbox_check import temporaries

ROUND = 50  # kills of one state folder
START_S = 10.0  # in which a start must answer, whatever was killed before; usually 0.1
LIFE_S = 0.4  # the longest life between a start and a kill from outside
POINT_S = 1.5  # for a point to be reached
SETTLE_S = 30.0
STATUS = msgpack.packb([0, 1, "status", []])


@dataclass
class Figures:
    """What was tried and seen."""

    kills: int = 0
    reached: Counter[str] = field(default_factory=Counter)
    longest_start_s: float = 0.0
    lines: int = 0
    shards: int = 0
    acknowledged: int = 0


class Round:
    """The kills of one state folder."""

    def __init__(self, seed: str, folder: Path, figures: Figures) -> None:
        self._seed, self._chance, self._figures = seed, random.Random(seed), figures
        self._state, self._folder = folder / "s", folder
        self._state.mkdir()
        self._ledger = Ledger(folder / "ledger")
        self._leos = 0
        self._leo = self._fork_leo()

    def _fork_leo(self) -> int:
        self._leos += 1
        socket_path, name = self._state / "dreamd.sock", f"{self._seed} {self._leos}"
        return fork(lambda: Leo(socket_path, self._folder / "ledger", name).live(), self._folder / "leo.log")

    def run(self, kills: int) -> None:
        """Kill as often, and check after each kill. Raise Broken."""
        try:
            for _ in range(kills):
                self._kill_once()
                self._ledger.check(self._state)
        finally:
            _end(self._leo)
        self._settle()
        self._figures.lines += len(self._ledger.observed)
        self._figures.shards += len(self._ledger.accepted)
        self._figures.acknowledged += len(self._ledger.acknowledged)

    def _kill_once(self) -> None:
        chance, figures = self._chance, self._figures
        how = chance.random()
        point = chance.choice(POINTS) if how < 0.5 else ""
        pid = fork_daemon(self._state, point, chance.choice((0, 0, 1, 2, 5)))
        ended: int | None = None
        if how > 0.9:  # while it starts
            time.sleep(chance.random() * 0.1)  # the moment of the kill is drawn
        else:
            ended = self._wait_until_served(pid)
            if ended is None:
                life_s = POINT_S if point else chance.random() * LIFE_S
                ended = _wait(pid, lambda: False, life_s)
        if chance.random() < 0.1:
            _end(self._leo)
            self._leo = self._fork_leo()
        if ended is None:
            ended = _end(pid)
        elif point:
            figures.reached[point] += 1
        hold("P5", ended == -signal.SIGKILL, f"the daemon ended by itself, with {ended}")
        figures.kills += 1

    def _wait_until_served(self, pid: int) -> int | None:
        """Wait until the daemon answers. Return how it ended, if it did."""
        began = time.monotonic()
        served = False

        def answers() -> bool:
            nonlocal served
            served = _answers(self._state / "dreamd.sock")
            return served

        ended = _wait(pid, answers, START_S)
        hold("P5", served or ended is not None, f"no answer in {START_S} s after a kill")
        if served:
            self._figures.longest_start_s = max(self._figures.longest_start_s, time.monotonic() - began)
        return ended

    def _settle(self) -> None:
        """Leave a daemon alone until all is delivered, and stop it in order."""
        pid = fork_daemon(self._state)
        ended = self._wait_until_served(pid)
        if ended is None:
            ended = _wait(pid, self._is_settled, SETTLE_S)
        hold("P5", ended is None, f"the daemon ended by itself, with {ended}")
        settled = self._is_settled()
        os.kill(pid, signal.SIGTERM)
        ended = _wait(pid, lambda: False, START_S)
        hold("P5", ended == 0, f"SIGTERM ended the daemon with {ended}")
        hold("P5", settled, f"not all files were written in {SETTLE_S} s")
        self._ledger.check(self._state, settled=True)
        folder = self._state / "inbox" / "dreams"
        if folder.exists():
            Inbox(folder).sweep()
        hold("P7", not temporaries(folder), "a sweep leaves temporaries")

    def _is_settled(self) -> bool:
        with closing(sqlite3.connect(self._state / "dream.sqlite3", timeout=5)) as connection:
            pending = """SELECT count(*) FROM dream_dialogs WHERE episodes_count > 0 AND shard_at IS NULL
                AND (finished_at IS NOT NULL OR outcome IS NOT 'suspended')"""
            return bool(connection.execute(pending).fetchone() == (0,))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(START_S)
        try:
            connection.connect(str(path))
            connection.sendall(STATUS)
            return bool(connection.recv(1))
        except OSError:
            return False


def _wait(pid: int, holds: Callable[[], bool], patience_s: float) -> int | None:
    """Wait until it holds or the process ends. Return how it ended, or None."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if holds():
            return None
        time.sleep(0.005)  # of the end of a process or an answer, whichever comes first, nothing tells
    return None


def _end(pid: int) -> int:
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(arguments: list[str]) -> int:
    """Kill, check, and print the figures. Return 1 if a promise did not hold."""
    parser = argparse.ArgumentParser(prog="make crash")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=int, default=ROUND, help="kills of one state folder")
    asked = parser.parse_args(arguments)
    figures, broken, number = Figures(), "", asked.seed
    while figures.kills < asked.kills and not broken:
        folder = Path(tempfile.mkdtemp(prefix="dreamd-crash-"))
        try:
            Round(str(number), folder, figures).run(min(asked.round, asked.kills - figures.kills))
        except Broken as error:
            broken = f"SEED={number}: {error}; its files are kept in {folder}"
        else:
            shutil.rmtree(folder)
            number += 1
            print(f"{figures.kills} kills, every promise held", file=sys.stderr, flush=True)
    print(f"{figures.kills} kills from seed {asked.seed}, {sum(figures.reached.values())} of them at a point")
    print(
        f"  {len(figures.reached)} of {len(POINTS)} points; never: {sorted({*POINTS} - {*figures.reached})}"
    )
    print(
        f"  {figures.lines} lines observed, {figures.shards} shards accepted, {figures.acknowledged} acknowledged"
    )
    print(f"  the longest start took {figures.longest_start_s:.2f} s")
    print(broken or "  every promise held")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
