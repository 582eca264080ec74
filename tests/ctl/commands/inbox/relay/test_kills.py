"""Relays, puller and server that are killed at random: no shard is lost, and none comes twice."""

import os
import random
from pathlib import Path

import pytest

from tests.ctl.commands.inbox.relay.scene import run_with_kills
from tests.helpers.nats_server import need_nats

# `make relay` asks for 10,000 files and 50 kills.
FILES, KILLS = int(os.environ.get("RELAY_FILES", "300")), int(os.environ.get("RELAY_KILLS", "4"))


@pytest.mark.timeout(3600 if "RELAY_FILES" in os.environ else 120)
def test_p7_passes_each_shard_once_whatever_is_killed(tmp_path: Path) -> None:
    need_nats()
    seed = int(os.environ.get("RELAY_SEED", random.randrange(1 << 32)))
    print(f"seed {seed}")
    run_with_kills(tmp_path, FILES, KILLS, seed)
