"""The state of the relay: a small file in the state folder, for `status`, `doctor` and `stats`. Not synced to disk."""

import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

NAME: Final = "relay.json"
SILENT_S: Final = 300.0  # a relay writes its state every 30 s


@dataclass
class RelayState:
    """The figures of a relay since it started. Times are unix seconds, 0 for never. `pid`: 0 if it has ended."""

    pid: int = 0
    to: str = ""
    waiting: int = 0
    published: int = 0
    acknowledged: int = 0
    skipped: int = 0  # files that are no inbox documents, unreadable, or too large for the server
    last_error: str = ""  # empty after a success
    last_error_at: float = 0.0
    last_at: float = 0.0  # of the last file that was passed on
    at: float = 0.0

    def note_error(self, text: str) -> None:
        """Keep what went wrong."""
        self.last_error, self.last_error_at = text, time.time()

    def note_success(self, now_s: float) -> None:
        """Forget the last error."""
        self.last_error, self.at = "", now_s


def write_relay_state(folder: Path, state: RelayState) -> None:
    """Write the state. A failure is no failure of the relay."""
    state.at = time.time()
    part = folder / f".{NAME}.part"
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(state), file)
        part.replace(folder / NAME)


def read_relay_state(folder: Path, now_s: float) -> dict[str, Any] | None:
    """Return the state with `state` ("running", "ended", "silent"), or None if no relay has run here."""
    try:
        found = asdict(RelayState(**json.loads((folder / NAME).read_text(encoding="utf-8"))))
        silent = now_s - found["at"] > SILENT_S
    except (OSError, ValueError, TypeError):
        return None
    return found | {"state": "ended" if not found["pid"] else "silent" if silent else "running"}
