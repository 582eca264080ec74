"""Dream lines told to leo's other modules, where he has them and the owner asks for it: `attach(into=...)`.

None may hurt: what is told is marked as a dream, nothing that is there is deleted or overwritten, and what fails is
counted as `into: <module>` and goes no further.
What each was measured to do: docs/background/diet-and-measurements.md.
"""

from collections import deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dreamclient.errors import UsageError
from dreamclient.leo.database import opened
from dreamclient.leo.hooks import SpokenLine
from dreamclient.leo.names import level

# Weight of a dream against a moment that was lived: what leo asks of an episode or a snapshot is its quality.
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
WAITING = 64  # lines that wait for leo's next call

MODULES = ("episodes", "game", "mathbrain", "santa", "trauma")
# These change what leo holds in memory, so they are told on his own thread, at the end of a call.
_ON_HIS_THREAD = ("episodes", "game", "mathbrain")


class Modules:
    """Tells of a line whom it should. Nothing here raises but the constructor."""

    def __init__(
        self,
        into: Collection[str],
        names: Mapping[str, Any],
        count: Callable[[str], None],
    ) -> None:
        tellers = (self._episode, self._game, self._mathbrain, self._snapshot, self._trauma)
        unknown = set(into).difference(MODULES)
        if unknown:
            raise UsageError(f"no module {sorted(unknown)} of leo's; there are {list(MODULES)}")
        self._tellers = {name: tell for name, tell in zip(MODULES, tellers, strict=True) if name in into}
        self._names = names
        self._count = count
        self._waiting: deque[SpokenLine] = deque(maxlen=WAITING)
        self._path: Path  # of leo's database
        self._hurt: Any = None  # the dialogue that left a wound last

    def __call__(self, leo: Any, line: SpokenLine, path: Path) -> None:
        """On the client's thread: tell those that write to leo's database; leave the line for the others."""
        self._path = path
        self._waiting.append(line)
        self._tell(leo, line, [name for name in self._tellers if name not in _ON_HIS_THREAD])

    def tell_waiting(self, leo: Any) -> None:
        """On leo's thread, between two of his calls."""
        while self._waiting:
            self._tell(
                leo, self._waiting.popleft(), [name for name in self._tellers if name in _ON_HIS_THREAD]
            )

    def _tell(self, leo: Any, line: SpokenLine, modules: Collection[str]) -> None:
        for name in modules:
            try:
                self._tellers[name](leo, line)
            except Exception:  # noqa: BLE001 a module that fails costs this line there, and nothing else
                self._count(f"into: {name}")

    def _state(self, leo: Any, line: SpokenLine, *, weight: float = 1.0) -> Any:
        """The line as a MathState of leo's."""
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

    def _episode(self, leo: Any, line: SpokenLine) -> None:
        """An episode whose prompt begins with `dream:`, since the table has no kind; at half its quality."""
        if leo.rag is None:
            return
        meta = line.meta
        prompt = f"dream:{meta.get('trace_id')}#{meta.get('turn')}:{meta.get('speaker')}"
        state = self._state(leo, line, weight=DREAM_QUALITY)
        leo.rag.observe_episode(self._names["Episode"](prompt=prompt, reply=line.text, metrics=state))

    def _mathbrain(self, leo: Any, line: SpokenLine) -> None:
        """One step of learning from the line's own quality. A line without one teaches nothing."""
        if leo._math_brain is not None and "quality" in line.measures:  # noqa: SLF001
            leo._math_brain.observe(self._state(leo, line))  # noqa: SLF001

    def _game(self, leo: Any, line: SpokenLine) -> None:
        """A turn of a conversation of its own. Leo has ids for people and for himself: both speakers are he,
        so that no path of a dream begins like one of a conversation."""
        if leo.game is None:
            return
        state = self._state(leo, line)
        turn = self._names["GameTurn"].from_context(
            role="leo",
            mode=self._names["detect_mode_from_text"](line.text, is_reply=True),
            math_state=state,
            theme_id=-1,
            expert=state.expert_id,
            quality_value=line.measures.get("quality"),
        )
        leo.game.observe_turn(DREAM_TURNS, turn)

    def _snapshot(self, leo: Any, line: SpokenLine) -> None:
        """A strong line as a snapshot of origin `dream`, at half its quality, if there are few of dreams; never so many
        that leo would forget one of his own for it."""
        quality = line.measures.get("quality", 0.0)
        if getattr(leo, "santa", None) is None or quality < SNAPSHOT_ABOVE:
            return
        with opened(self._path, "rw") as connection:
            connection.execute("BEGIN IMMEDIATE")
            counts = "SELECT COUNT(*), COALESCE(SUM(origin = 'dream'), 0) FROM snapshots"
            ((kept, dreamt),) = connection.execute(counts).fetchall()
            if dreamt < SNAPSHOTS and kept < SNAPSHOTS * 15:  # he clears at 512
                self._names["save_snapshot"](
                    connection,
                    text=line.text,
                    origin="dream",
                    quality=DREAM_QUALITY * quality,
                    emotional=line.measures.get("arousal", 0.0),
                )
                connection.commit_all()

    def _trauma(self, _leo: Any, line: SpokenLine) -> None:
        """Through leo's own pipeline, on an empty database: what it would add to the weights of his wounded words is
        added damped. See TRAUMA_ABOVE."""
        run_trauma, dialog = self._names.get("run_trauma"), line.meta.get("dialog")
        if run_trauma is None or self._hurt == dialog:
            return
        with TemporaryDirectory(prefix="dreamd-") as folder:
            apart = Path(folder) / "trauma.sqlite3"
            wounded = run_trauma(
                prompt="",
                reply=line.text,
                bootstrap=self._names["EMBEDDED_BOOTSTRAP"],
                pulse=None,
                db_path=apart,
                event_threshold=TRAUMA_ABOVE,
            )
            if wounded is None:
                return
            with opened(apart, "ro") as connection:
                words = connection.execute("SELECT token, weight FROM trauma_tokens").fetchall()
        self._hurt = dialog
        with opened(self._path, "rw") as connection:
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'trauma_tokens'").fetchone():
                connection.executemany(
                    "INSERT INTO trauma_tokens (token, weight) VALUES (?, ?)"
                    " ON CONFLICT (token) DO UPDATE SET weight = weight + excluded.weight",
                    [(word, TRAUMA_WEIGHT * weight) for word, weight in words],
                )
                connection.commit_all()  # he makes the table with his first wound
