"""The dream module that leo imports, with dreamd behind it.

`dreamctl leo install` makes leo's `dream.py` his own docstring and an import of this module. All names and
signatures are leo's. Nothing here raises or prints, and only DREAMD_EMBEDDED=wait makes it wait.

DREAMD_EMBEDDED   unset: a dreamd service, reached over its socket; `db_path`, `config` and `now` are the daemon's
                  1: the same daemon inside this process, in the usual state folder; nothing waits for it
                  wait: a daemon inside this process for the `db_path` of the call, in that file's folder;
                  `maybe_run_dream` returns when the dialogue has ended, and `config` and `now` are honoured
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dreamclient.dropin.process import Path, Process
from dreamclient.messages import DreamContext as WireContext
from dreamclient.messages import Method, PulseSnapshot

__all__ = [
    "BOOTSTRAP_TEXT",
    "DREAM_AVAILABLE",
    "DreamConfig",
    "DreamContext",
    "bootstrap",
    "get_dream_stats",
    "get_recent_dreams",
    "init_dream",
    "maybe_run_dream",
]

# leo's names of the figures, and the daemon's.
_STATS = {
    "total_dialogs": "dialogs",
    "total_turns": "lines",
    "total_fragments": "fragments",
    "avg_trauma": "avg_trauma",
    "avg_arousal": "avg_arousal",
}

DREAM_AVAILABLE = True  # the client looks for a daemon in the background, again and again

BOOTSTRAP_TEXT = """
This is the dream space of Leo, and here lives his imaginary friend.

When nobody asks him anything, Leo talks with his friend, quietly, a few short lines at a time.
The friend was made of Leo's own first words, and slowly becomes someone else.
Nobody listens. Nothing has to be right.
What was said stays with Leo, like a dream that is half remembered in the morning.
"""


class DreamContext(WireContext):
    """The report of leo after a reply: in his flat form or, with `pulse`, in the nested form of dreamclient."""

    def __init__(
        self,
        prompt: str,
        reply: str,
        math_state: Any = None,
        pulse_novelty: float | None = None,
        pulse_arousal: float | None = None,
        pulse_entropy: float | None = None,
        trauma_level: float | None = None,
        themes: Sequence[int] = (),
        expert: str = "",
        quality: float | None = None,
        *,
        pulse: PulseSnapshot | None = None,
    ) -> None:
        pulse = pulse or PulseSnapshot(pulse_novelty, pulse_arousal, pulse_entropy)
        super().__init__(prompt, reply, math_state, pulse, trauma_level, themes, expert, quality)

    def __getattr__(self, name: str) -> float | None:
        if name not in ("pulse_novelty", "pulse_arousal", "pulse_entropy"):
            raise AttributeError(name)
        return getattr(self.pulse, name.removeprefix("pulse_"), None)


@dataclass
class DreamConfig:
    """The settings of the dream that one call starts (DREAMD_EMBEDDED=wait). The names are leo's. The default numbers
    of the friend are dreamd's."""

    min_interval_seconds: float = 180.0
    trigger_probability: float = 0.3
    max_turns: int = 4
    max_tokens_per_turn: int = 50  # that generate_fn is asked for
    bootstrap_buffer_size: int = 64  # fragments beside the origin
    fragment_decay_per_run: float = 0.99
    fragment_min_weight: float = 0.05

    def settings(self) -> list[str]:
        """Return them as settings of the daemon (docs/reference/settings.md)."""
        return [
            f"gate.cooldown_s={self.min_interval_seconds}",
            f"gate.chance={self.trigger_probability}",
            f"dialogue.turns_min={min(3, self.max_turns)}",
            f"dialogue.turns_max={self.max_turns}",
            f"dialogue.max_tokens={self.max_tokens_per_turn}",
            "dialogue.candidates=1",  # leo counts turns by calls of generate_fn, and his own tests do
            f"friend.buffer={self.bootstrap_buffer_size}",
            f"friend.decay={self.fragment_decay_per_run}",
            f"friend.floor={self.fragment_min_weight}",
        ]


def bootstrap(field: Any) -> None:
    """Feed BOOTSTRAP_TEXT into a field."""
    try:
        field.observe(BOOTSTRAP_TEXT.strip())
    except Exception:  # noqa: BLE001 leo must not break over it
        return


def init_dream(
    db_path: Path, bootstrap_text: str | None = None, readme_fragments: Sequence[str] | None = None
) -> None:
    """Attach the field that is being made to the daemon: it is the `self` of the method of leo's that calls this. The
    texts are the origin of his friend, if the daemon has none."""
    frame = sys._getframe(1)  # noqa: SLF001 leo tells it no other way
    _guard_first_start(db_path)
    _process.born(frame, db_path, bootstrap_text, readme_fragments or ())


def maybe_run_dream(
    ctx: Any,
    generate_fn: Callable[[str, float, float], str],
    observe_fn: Callable[[str], Any],
    db_path: Path | None = None,
    config: DreamConfig | None = None,
    now: float | None = None,
) -> None:
    """Tell the daemon of a reply: its gates decide if leo dreams. The functions become the hooks, unless they are
    methods of a field: an attached field has better hooks of its own."""
    frame = sys._getframe(1)  # noqa: SLF001
    _process.replied(ctx, (generate_fn, observe_fn), frame, db_path, config, now)


def get_dream_stats(db_path: Path | None = None) -> dict[str, Any]:
    """Return `{total_dialogs, total_turns, total_fragments, avg_trauma, avg_arousal}`, or an empty dict without a
    daemon."""

    def stats() -> dict[str, Any]:
        told = _process.ask(db_path, Method.STATS)
        return {leos: told[ours] or 0 for leos, ours in _STATS.items()}

    return _process.answer(stats) or {}


def get_recent_dreams(db_path: Path | None = None, n: int = 5) -> list[dict[str, Any]]:
    """Return the last n dialogues, newest first, each with its `turns`. The list is empty without a daemon."""

    def dream(number: int) -> dict[str, Any]:
        told = _process.ask(db_path, Method.DIALOGS_GET, number)
        turns = [
            {name: turn[name] for name in ("speaker", "text", "trauma", "arousal")} for turn in told["turns"]
        ]
        kept = {name: told[name] for name in ("started_at", "finished_at", "avg_trauma", "avg_arousal")}
        return {**kept, "episodes": told["lines"], "turns": turns}

    ids = _process.answer(lambda: [each["id"] for each in _process.ask(db_path, Method.DIALOGS_RECENT, n)])
    dreams = [_process.answer(partial(dream, each)) for each in ids or ()]
    return [each for each in dreams if each]


def _guard_first_start(db_path: Path) -> None:
    """Give a `dream.py` without a docstring an empty one, at leo's first start only.

    Without a docstring there leo feeds himself no module at all. With an empty one he takes BOOTSTRAP_TEXT, as he
    means to. At later starts he would take it a second time."""
    module = sys.modules.get("dream")
    if module is None or module.__doc__ is not None or vars(module).get("init_dream") is not init_dream:
        return
    import sqlite3
    from contextlib import closing
    from pathlib import PurePath

    try:
        uri = f"{PurePath(os.path.abspath(db_path)).as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as leo:
            fed = leo.execute("SELECT 1 FROM meta WHERE key = 'module_bootstrap_hash'").fetchone()
    except Exception:  # noqa: BLE001 leo must not break over it
        return
    if fed is None:
        module.__doc__ = ""


_process = Process()
