"""From leo's reply to the first line of a dream: from `offer` to the call of `observe`, with idle hooks."""

import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from dreamclient import DreamClient

from tests.bench.daemon import dreamd, running
from tests.bench.harness import Bench, Figures
from tests.bench.leo import speaker
from tests.bench.messages import EMPTY, WORDS

ALWAYS = ("gate.chance=1", "gate.cooldown_s=0", "gate.novelty_above=-1")
WAIT_S = 20.0


def bench(quick: bool) -> Bench:
    """Return the comparison: the first dream of a daemon, and a later one."""
    return Bench("first line", {"a later dream": partial(once, 2), "first dream": partial(once, 0)})


def once(before: int) -> Figures:
    """Measure a dream after so many others."""
    heard = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        address = Path(folder) / "dreamd.sock"
        settings = [word for setting in ALWAYS for word in ("--set", setting)]
        with running(dreamd(Path(folder), *settings), address):
            with DreamClient(
                speaker(), lambda *_: heard.set(), socket_path=address, origin=[" ".join(WORDS)]
            ) as client:
                client.start(10)
                for _ in range(before):
                    client.dream_now()
                heard.clear()
                began = time.perf_counter()
                client.offer(EMPTY)
                assert heard.wait(WAIT_S), "no line was observed"
                return {"elapsed_ms": 1000 * (time.perf_counter() - began)}
