"""A leo of the benches: its hooks take no time, and no two of its lines are alike."""

import random
from collections.abc import Callable
from pathlib import Path

from dreamclient import DreamClient

from tests.bench.messages import WORDS, usual


def speaker(seed: int = 1) -> Callable[..., str]:
    """Return a `generate` hook."""
    draw = random.Random(seed)
    return lambda *_: " ".join(draw.choices(WORDS, k=14))


def dream(address: Path, dialogues: int, *, replies: bool = False) -> None:
    """Let one leo dream so many dialogues, one after the other. `replies`: each after a reply of his."""
    draw = random.Random(2)
    with DreamClient(speaker(), lambda *_: None, socket_path=address, origin=[" ".join(WORDS)]) as client:
        client.start(10)
        for _ in range(dialogues):
            if replies:
                client.offer(usual(draw))
            client.dream_now()
