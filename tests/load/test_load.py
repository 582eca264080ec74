"""A slice of `make load`: every attack in small, in one daemon, beside one witness. No time is asserted."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.peer import HELLO, answered
from tests.helpers.waiting import until, until_listened
from tests.load.attacks import ATTACKS
from tests.load.run import FIRST_KIB, Seen, Watched, attacked, problems


def test_p11_no_attack_disturbs_a_healthy_leo_or_keeps_memory(tmp_path: Path) -> None:
    """P11, in small: each attack ends with its memory given back, no session left, and dreams going on."""
    found = list(attacked(list(ATTACKS), size=0.01, seed=1, folder=tmp_path, warm_s=0.3, back_s=0))
    wrong = [(seen.name, problems(seen, back_kib=FIRST_KIB)) for seen in found[1:]]
    assert wrong == [(name, []) for name in ATTACKS]


@pytest.mark.parametrize(
    ("witness", "after", "problem"),
    [
        ({"wrong": ["a dialogue ended as left"], "complete": 1}, 0, "witness: a dialogue ended as left"),
        ({"wrong": [], "complete": 0}, 0, "no dream of the witness came to its end"),
        ({"wrong": [], "complete": 1}, 5000, "memory is 4.9 MiB above what it was"),
    ],
)
def test_tells_what_an_attack_has_done(witness: dict[str, object], after: int, problem: str) -> None:
    assert problems(Seen("a", "b", 1.0, 0, 9000, after, witness)) == [problem]


def test_p11_64_descriptors_are_enough_to_serve_to_refuse_and_to_dream(tmp_path: Path) -> None:
    """P11: after `ulimit -n 64` a crowd is refused, and meanwhile one leo dreams and an operator looks."""
    command = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); "
        "from dreamd.__main__ import main; sys.exit(main(['--state-dir', sys.argv[1]]))"
    )
    daemon = DaemonProcess(tmp_path / "s")
    process = subprocess.Popen([sys.executable, "-c", command, daemon.state_dir], env=daemon.env)
    try:
        until_listened(daemon.socket)
        with ExitStack() as crowd:
            for _ in range(100):
                one = crowd.enter_context(socket.socket(socket.AF_UNIX))
                one.connect(str(daemon.socket))
                one.sendall(HELLO)
            assert answered(one) == [2, "error", [9, "refused: too many sessions; close some and try again"]]
            assert len(os.listdir(f"/proc/{process.pid}/fd")) < 64
        until(lambda: _has_room(daemon), "room again")
        witness = Watched(daemon.socket)
        until(lambda: witness.report()["complete"], "a dream comes to its end")
        status = daemon.call("status")
        assert (status["state"], len(status["sessions"]), list(status["failures"])) == (
            "ok", 2, ["server: too many sessions"],
        )  # fmt: skip
        witness.close()
    finally:
        process.terminate()
        assert process.wait(20) == 0


def _has_room(daemon: DaemonProcess) -> bool:
    try:
        return len(daemon.call("status")["sessions"]) == 1
    except (ValueError, OSError):  # refused: the crowd has not gone yet
        return False
