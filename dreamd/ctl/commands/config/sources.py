"""The sources of the settings: this process's environment, or that of a running daemon."""

import os
from dataclasses import dataclass
from pathlib import Path

from dreamd import settings
from dreamd.__main__ import make_parser
from dreamd.ctl.machine.places import look_at_state


@dataclass(frozen=True)
class Sources:
    """The environment and the arguments that settings are read from. `pid`: the daemon that has them, or 0."""

    env: dict[str, str]
    assignments: tuple[str, ...] = ()
    given: Path | None = None  # --config
    pid: int = 0

    @property
    def file(self) -> Path:
        """The settings file, which need not exist."""
        return self.given or settings.config_file(self.env)

    def read(self, file: Path | None = None) -> settings.Reading:
        """Read the settings, from `file` instead of the usual one if it is given."""
        return settings.read_sources(file=file or self.given, env=self.env, assignments=self.assignments)


def of_daemon(state: Path) -> Sources | None:
    """Return the sources of the daemon that holds a state folder: proc_pid_environ(5). Return None if no daemon holds
    it, or if this user may not read them."""
    pid = look_at_state(state).holder
    try:
        env, words = (_process_texts(pid, name) for name in ("environ", "cmdline"))
        folder = os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return None
    program = next((n for n, word in enumerate(words[:3], 1) if os.path.basename(word) == "dreamd"), 0)
    asked, _ = make_parser().parse_known_args(words[program:] if program else [])
    return Sources(
        env=dict(pair.split("=", 1) for pair in env if "=" in pair),
        assignments=tuple(asked.set),
        given=Path(folder, asked.config) if asked.config else None,
        pid=pid,
    )


def _process_texts(pid: int, name: str) -> list[str]:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return [os.fsdecode(text) for text in file.read().split(b"\0")[:-1]]
