"""Dream lines told to leo's other modules, where he has them and the owner asks for it: `attach(into=...)`.

None may hurt: each works in a turn between leo's calls, on what is marked as a dream, and what fails there is
counted as `into: <module>` and goes no further. docs/leo.md has what each was measured to do.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from dreamclient.errors import UsageError
from dreamclient.leo.database import IN_TURN_S, opened
from dreamclient.leo.hooks import SpokenLine
from dreamclient.leo.names import level
from dreamclient.leo.turns import Turns

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

MODULES = ("episodes", "game", "mathbrain", "santa", "trauma")


class Modules:
    """Tells of a line whom it should. Calling it never raises."""

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
        self._path: Path  # of the line that is told now
        self._count = count
        self._hurt: Any = None  # the dialogue that left a wound last

    def __call__(self, leo: Any, line: SpokenLine, turns: Turns, path: Path) -> None:
        self._path = path
        for name, tell in self._tellers.items():
            try:
                turns.take(lambda tell=tell: tell(leo, line))  # type: ignore[misc]
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
        """A strong line as a snapshot of origin `dream`, at half its quality. Never so many that leo would
        forget one of his own for it."""
        quality = line.measures.get("quality", 0.0)
        if getattr(leo, "santa", None) is None or quality < SNAPSHOT_ABOVE:
            return
        with opened(self._path, "rw", IN_TURN_S) as connection:
            connection.execute(
                "DELETE FROM snapshots WHERE origin = 'dream' AND id NOT IN"
                " (SELECT id FROM snapshots WHERE origin = 'dream' ORDER BY id DESC LIMIT ?)",
                (SNAPSHOTS - 1,),
            )
            ((kept,),) = connection.execute("SELECT COUNT(*) FROM snapshots").fetchall()
            if kept < SNAPSHOTS * 15:  # he clears at 512
                self._names["save_snapshot"](
                    connection,
                    text=line.text,
                    origin="dream",
                    quality=DREAM_QUALITY * quality,
                    emotional=line.measures.get("arousal", 0.0),
                )
            connection.commit()

    def _trauma(self, _leo: Any, line: SpokenLine) -> None:
        """Through leo's own pipeline, damped: see TRAUMA_ABOVE."""
        run_trauma, dialog = self._names.get("run_trauma"), line.meta.get("dialog")
        if run_trauma is None or self._hurt == dialog:
            return
        before, events = self._wounds()
        wounded = run_trauma(
            prompt="",
            reply=line.text,
            bootstrap=self._names["EMBEDDED_BOOTSTRAP"],
            pulse=None,
            db_path=self._path,
            event_threshold=TRAUMA_ABOVE,
        )
        if wounded is None:
            return
        self._hurt = dialog
        after, _ = self._wounds()
        damped = [
            (before.get(word, 0.0) + TRAUMA_WEIGHT * (weight - before.get(word, 0.0)), word)
            for word, weight in after.items()
            if weight > before.get(word, 0.0)
        ]
        with opened(self._path, "rw", IN_TURN_S) as connection:
            connection.executemany("UPDATE trauma_tokens SET weight = ? WHERE token = ?", damped)
            connection.execute("DELETE FROM trauma_events WHERE id > ?", (events,))  # his level averages them
            connection.commit()

    def _wounds(self) -> tuple[dict[str, float], int]:
        """The weights of leo's wounded words, and the id of his last wound."""
        with opened(self._path, "ro", IN_TURN_S) as connection:
            tables = "SELECT 1 FROM sqlite_master WHERE name IN ('trauma_tokens', 'trauma_events')"
            if len(connection.execute(tables).fetchall()) < 2:  # he makes them with his first wound
                return {}, 0
            words = connection.execute("SELECT token, weight FROM trauma_tokens").fetchall()
            ((last,),) = connection.execute("SELECT COALESCE(MAX(id), 0) FROM trauma_events").fetchall()
            return dict(words), last
