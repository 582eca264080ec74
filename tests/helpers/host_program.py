"""Use by `host.py`: a program in which a leo double talks, and beside him his twin without dreamd.

    python -m tests.helpers.host_program FOLDER SOCKET REPLIES [STEP]

Each of the twins answers the same prompts from the same seed. To stdout go the replies of the attached one, as a
REPL would print them, and nothing else; to the descriptor $REPORT_TO a report as JSON lines: when he is connected
or has given up trying, and at the end. Between the two a line is awaited on stdin. SOCKET "off" is no dreamd at
all. STEP "dropin": by leo's dream module, "silent": it need not be waited for, "fork", "hang", "hold:N": at the
Nth line, recorded already, his hook and then he wait for one more line on stdin.
"""

import functools
import json
import os
import random
import statistics
import sys
import threading
import time
import warnings
from pathlib import Path

from tests.helpers import leo_double


def report(**what) -> None:
    os.write(int(os.environ["REPORT_TO"]), json.dumps(what).encode() + b"\n")


def main(folder: str, socket: str, replies: str, step: str = "") -> None:
    twin, twin_home = born(Path(folder) / "twin")
    if step == "dropin":
        from dreamclient import dropin

        leo_double.init_dream, leo_double.DreamContext = dropin.init_dream, dropin.DreamContext
    leo, home = born(Path(folder) / "attached")
    layer = dropin.maybe_run_dream if step == "dropin" else None
    if socket != "off" and step != "dropin":
        from dreamclient.leo import attach

        attach(leo, socket_path=socket)
    attachment = getattr(leo, "_dreamd_attachment", None)
    if attachment:
        attachment.client.start(0.2 if step == "silent" else 20.0)
    report(connected=bool(attachment and attachment.client.connected))
    sys.stdin.readline()
    if step == "hang":
        hang(attachment)
    held = hold(attachment, int(step[5:])) if step.startswith("hold:") else None
    took, same = [], []
    chance = dict.fromkeys((leo, twin), random.Random(1).getstate())  # each his own, from the same seed
    for n in range(int(replies)):
        pair = [(leo, home), (twin, twin_home)]
        both = {}
        for who, where in pair if n % 2 else reversed(pair):
            leo_double.maybe_run_dream = layer if who is leo else None
            random.setstate(chance[who])
            both[who] = timed(who, where, n)
            chance[who] = random.getstate()
        (said, ours_s), (alone, alone_s) = both[leo], both[twin]
        took.append(ours_s - alone_s)
        same.append(said == alone)
        print(said)
        if step == "fork" and n == int(replies) // 2:
            fork(leo, home)
        if held and n == int(replies) // 2:
            held.wait(20)
    counted = attachment.client.failures if attachment else {}
    report(
        later_ms=statistics.quantiles(took, n=4)[0] * 1000 if took else 0, same=all(same), failures=counted
    )


def born(folder: Path) -> tuple[leo_double.LeoField, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    leo = leo_double.LeoField(leo_double.settle(folder))
    return leo, leo_double.DB_PATH


def timed(leo, home: Path, n: int) -> tuple[str, float]:
    leo_double.DB_PATH = home
    prompt = f"what does the rain say to number {n}"
    leo.observe(prompt)
    began = time.perf_counter()
    said = leo.reply(prompt)
    took_s = time.perf_counter() - began
    leo.observe(said)
    return said, took_s


def fork(leo, home: Path) -> None:
    """Fork a child that offers contexts too. It must not damage the parent's connection."""
    with warnings.catch_warnings():  # since 3.12 Python warns of it, and hosts do it all the same
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        leo.conn = leo_double.settle(home.parent)  # SQLite's own rule: no connection over a fork
        leo.reply("who are you now")
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def hang(attachment) -> None:
    """Make later lines hang, and wait until one is asked for."""
    asked = threading.Event()

    def for_ever(**_):
        asked.set()
        threading.Event().wait()

    leo_double.generate_reply, speak = for_ever, leo_double.generate_reply
    attachment.offer(leo_double_context())
    asked.wait(20)
    leo_double.generate_reply = speak


def hold(attachment, line: int) -> threading.Event:
    """Make the observe hook report a line of a dialogue and wait for the returned event."""
    hooks, may_go_on = attachment.client._session.hooks._hooks, threading.Event()
    observe = hooks["observe"]

    @functools.wraps(observe)
    def held(*arguments):
        if arguments[-1]["turn"] == line and not may_go_on.is_set():
            report(holds=line)
            sys.stdin.readline()
            may_go_on.set()
        return observe(*arguments)

    hooks["observe"] = held
    return may_go_on


def leo_double_context():
    from dreamclient import DreamContext

    return DreamContext("what does the rain say", "nothing", trauma_level=0.9)


if __name__ == "__main__":
    main(*sys.argv[1:])
