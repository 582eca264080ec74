"""Tell leo's other modules of dream lines, if he has them and the owner asks for it: `attach(into=...)`.

The lines must do no harm: they are marked as dreams, and nothing of leo's is deleted or overwritten. A failure is
counted as `into.<module>`, and not raised.
The measured effects of each are in docs/background/diet-and-measurements.md.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dreamclient.errors import UsageError
from dreamclient.leo.database import opened
from dreamclient.leo.names import level

# Weight of a dream against a moment that was lived: leo ranks episodes and snapshots by their quality.
DREAM_QUALITY = 0.5
DREAM_TURNS = "dream"  # the conversation of the game that dreams belong to; people's is "main"
SNAPSHOTS = 32  # of dreams, of his 512: Santa Claus brings snapshots back into the field
SNAPSHOT_ABOVE = 0.6  # quality; leo's own bound for a snapshot
# His own bound for a wound is 0.3. The words of a dream overlap his bootstrap by 0.35-0.58, twice which is the
# score, so that each line would be one, and his trauma would feed on his dreams: in 60 of them the weights of his
# wounded words grew to eight times what they had been. So a line needs half of its words from there, one of a
# dialogue counts, for a tenth of a wound, and his level is left to what he lives through.
TRAUMA_ABOVE = 1.0
TRAUMA_WEIGHT = 0.1
WAITING = 64  # lines that wait for leo's next call; if there are more, the oldest go
# Seconds at the end of a call of leo's. A step of his MathBrain takes up to 50 ms, so all that waits after a night of
# dreams would keep his reply back for three seconds.
TELLING_S = 0.02


@dataclass(frozen=True)
class SpokenLine:
    """A line that the field took, with all that leo's other modules are told of it."""

    text: str
    meta: Mapping[str, Any]
    measures: Mapping[str, float]  # that `generate` returned with it
    path: Path  # of leo's database


class Modules:
    """The modules of leo's that are told of lines. Only the constructor raises."""

    def __init__(
        self, into: Collection[str] | None, names: Mapping[str, Any], count: Callable[[str], None]
    ) -> None:
        # By name: True if the module changes what leo holds in memory, so that it must be told on his own thread; the
        # function that finds it; the method that tells it.
        table: dict[str, tuple[bool, Callable[[Any], Any], Callable[[Any, Any, SpokenLine], None]]] = {
            "episodes": (True, lambda leo: leo.rag, self._episode),
            "game": (True, lambda leo: leo.game, self._game),
            "mathbrain": (True, lambda leo: leo._math_brain, self._mathbrain),  # noqa: SLF001
            "santa": (False, lambda leo: getattr(leo, "santa", None), self._snapshot),
            "trauma": (False, lambda _: names.get("run_trauma"), self._trauma),
        }
        asked = os.environ.get("DREAMD_INTO", "").split(",") if into is None else into
        wanted = {name.strip() for name in asked} - {""}
        for unknown in sorted(wanted.difference(table)):
            if into is not None:
                raise UsageError(f"no module [{unknown!r}] of leo's; there are {list(table)}")
            count(f"into.{unknown}")  # an error would only keep him from dreaming
        self._tellers = {name: table[name] for name in table if name in wanted}
        self._names = names
        self._count = count
        self._waiting: deque[SpokenLine] = deque(maxlen=WAITING)
        self._hurt: Any = None  # the dialogue that left a wound last

    def tell(self, leo: Any, line: SpokenLine) -> None:
        """Tell the modules that write to leo's database, and keep the line for the others. The client's thread calls
        this."""
        if any(on_his_thread for on_his_thread, _, _ in self._tellers.values()):
            if len(self._waiting) == WAITING:
                self._count("into.late")
            self._waiting.append(line)
        self._tell(leo, line, on_his_thread=False)

    def tell_waiting(self, leo: Any) -> None:
        """Tell the other modules of a line that waits, and of more until TELLING_S have passed. Leo's thread calls
        this, between two of his calls."""
        end = time.monotonic() + TELLING_S
        while self._waiting:
            self._tell(leo, self._waiting.popleft(), on_his_thread=True)
            if time.monotonic() >= end:
                break

    def _tell(self, leo: Any, line: SpokenLine, *, on_his_thread: bool) -> None:
        for name, (on_his, find, tell) in self._tellers.items():
            try:
                if on_his is on_his_thread and (module := find(leo)) is not None:
                    tell(module, leo, line)
            except Exception:  # noqa: BLE001 a module that fails costs this line there, and nothing else
                self._count(f"into.{name}")

    def _state(self, leo: Any, line: SpokenLine, *, weight: float = 1.0) -> Any:
        """Return the line as a MathState of leo's."""
        words = self._names["tokenize"](line.text)
        felt = {name: line.measures.get(name, 0.0) for name in ("entropy", "novelty", "arousal")}
        return self._names["MathState"](
            **felt,
            pulse=0.3 * felt["novelty"] + 0.4 * felt["arousal"] + 0.3 * felt["entropy"],  # leo's own weights
            trauma_level=level(getattr(leo, "_trauma_state", None)),
            total_themes=len(leo.themes),
            reply_len=len(words),
            unique_ratio=len(set(words)) / len(words) if words else 0.0,
            expert_id=line.meta.get("expert") or "structural",
            quality=weight * line.measures.get("quality", 0.5),
        )

    def _episode(self, rag: Any, leo: Any, line: SpokenLine) -> None:
        """Add an episode at half the line's quality. Its prompt begins with `dream:`, since the table has no kind."""
        meta = line.meta
        prompt = f"dream:{meta.get('trace_id')}#{meta.get('turn')}:{meta.get('speaker')}"
        state = self._state(leo, line, weight=DREAM_QUALITY)
        rag.observe_episode(self._names["Episode"](prompt=prompt, reply=line.text, metrics=state))

    def _mathbrain(self, brain: Any, leo: Any, line: SpokenLine) -> None:
        """Let the MathBrain learn one step from the line's quality. A line without quality is left out."""
        if "quality" in line.measures:
            brain.observe(self._state(leo, line))

    def _game(self, game: Any, leo: Any, line: SpokenLine) -> None:
        """Add a turn to the game's conversation of dreams. Leo has ids for people and for himself. Both speakers get
        his own, so that no path of a dream begins like one of a conversation."""
        state = self._state(leo, line)
        turn = self._names["GameTurn"].from_context(
            role="leo",
            mode=self._names["detect_mode_from_text"](line.text, is_reply=True),
            math_state=state,
            theme_id=-1,
            expert=state.expert_id,
            quality_value=line.measures.get("quality"),
        )
        game.observe_turn(DREAM_TURNS, turn)

    def _snapshot(self, _santa: Any, _leo: Any, line: SpokenLine) -> None:
        """Save a strong line as a snapshot of origin `dream`, at half its quality. Save none if there are SNAPSHOTS of
        dreams, or so many in all that leo would soon forget one of his own."""
        quality = line.measures.get("quality", 0.0)
        if quality < SNAPSHOT_ABOVE:
            return
        with opened(line.path, "rw") as connection:
            connection.execute("BEGIN IMMEDIATE")
            counts = "SELECT COUNT(*), COALESCE(SUM(origin = 'dream'), 0) FROM snapshots"
            ((kept, dreamt),) = connection.execute(counts).fetchall()
            if dreamt < SNAPSHOTS and kept < SNAPSHOTS * 15:  # he clears at 512
                felt = {"quality": DREAM_QUALITY * quality, "emotional": line.measures.get("arousal", 0.0)}
                self._names["save_snapshot"](connection, text=line.text, origin="dream", **felt)
                connection.commit_all()

    def _trauma(self, run_trauma: Any, _leo: Any, line: SpokenLine) -> None:
        """Run leo's trauma pipeline on an empty database, and add a tenth of the weights that it finds to the weights
        of his wounded words. See TRAUMA_ABOVE."""
        if self._hurt == line.meta.get("dialog"):
            return
        with TemporaryDirectory(prefix="dreamd-") as folder:
            apart, bootstrap = Path(folder) / "trauma.sqlite3", self._names["EMBEDDED_BOOTSTRAP"]
            given = {"prompt": "", "reply": line.text, "bootstrap": bootstrap, "pulse": None}
            if run_trauma(**given, db_path=apart, event_threshold=TRAUMA_ABOVE) is None:
                return
            with opened(apart, "ro") as connection:
                words = connection.execute("SELECT token, weight FROM trauma_tokens").fetchall()
        self._hurt = line.meta.get("dialog")
        with opened(line.path, "rw") as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'trauma_tokens'").fetchone():
                connection.executemany(
                    "INSERT INTO trauma_tokens (token, weight) VALUES (?, ?)"
                    " ON CONFLICT (token) DO UPDATE SET weight = weight + excluded.weight",
                    [(word, TRAUMA_WEIGHT * weight) for word, weight in words],
                )
                connection.commit_all()  # he makes the table with his first wound
