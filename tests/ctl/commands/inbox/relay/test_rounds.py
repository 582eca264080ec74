"""Waiting for the next round of a relay. The rounds themselves: `test_command.py`."""

from types import SimpleNamespace

import pytest

from dreamd.ctl.commands.inbox.relay import rounds
from dreamd.ctl.commands.inbox.relay.server import Place
from dreamd.ctl.machine.relay_state import RelayState
from dreamd.inbox import Inbox


@pytest.mark.parametrize("skipped", [0, 1])
async def test_looks_again_at_skipped_files_in_a_folder_that_did_not_change(tmp_path, monkeypatch, skipped):
    class Stop(Exception):
        """Enough was seen."""

    saves = 0

    def save(_: RelayState) -> None:
        nonlocal saves
        saves += 1
        if saves == 3:
            raise Stop

    monkeypatch.setattr(rounds, "LOOK_S", 0.001)
    monkeypatch.setattr(rounds, "HEARTBEAT_S", 0.001)
    monkeypatch.setattr(rounds, "_SETTLED_S", -1.0)
    state = RelayState(skipped=skipped)
    relay = rounds.Relay(Inbox(tmp_path), Place("nats://x"), "a", "b", state, save)
    client = SimpleNamespace(is_closed=False)
    waiting = relay._until_changed(client, relay._folder_time())
    if skipped:
        await waiting
    else:
        with pytest.raises(Stop):
            await waiting
    assert saves == (0 if skipped else 3)
