"""Recorded sessions: all that a real leo, dreamctl and a writer of shards sent to a real daemon, message by message."""

import json
from pathlib import Path

_RECORDED = json.loads((Path(__file__).parents[1] / "data" / "wire_sessions.json").read_text())
SESSIONS: dict[str, list[bytes]] = {
    name: [bytes.fromhex(message) for message in messages] for name, messages in _RECORDED.items()
}
