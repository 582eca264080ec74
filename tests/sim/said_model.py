"""What must hold of what the daemon says and stores, checked at the moment at which it does."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dreamd.inbox.folder.parts import part_of_name
from tests.sim.inbox_model import InboxModel
from tests.sim.peers import MARK

if TYPE_CHECKING:
    from tests.sim.life import Life
    from tests.sim.trial_model import TrialModel
    from tests.sim.wires import Wire
    from tests.sim.world import World

GO_ON_TIMES = 2  # of a suspended dialogue: docs/guides/leo.md
# As docs/reference/protocol.md lists them, without those of dialogues of 0.1.0.
OUTCOMES = ("complete", "empty", "repeat", "hook_error", "deadline", "store_error", "left")
MUTE_S = 30.0  # the first pause of a leo whose dialogue came back empty


class SaidModel(InboxModel):
    """The checks of calls, answers, events and transactions."""

    trial: "TrialModel"

    def __init__(self, world: "World", folder: Path, settings: Any) -> None:
        super().__init__(world, folder, settings)
        self.jumped_back = False
        self.names_flooded = False
        self.paused_until = 0.0  # at least: no dream begins by itself before
        self.pause_asked_s: float | None = None  # of the last pause; None: it was ended
        self._observed: set[tuple[str, int]] = set()
        self._reasons: dict[int, str] = {}
        self._dreams_of: Counter[str] = Counter()  # by prompt
        self._resumed: Counter[str] = Counter()
        # Dialogues that gave their cooldown back, or whose row may say something else later.
        self._uncharged: set[int] = set()
        self._mute_until: dict[str, float] = {}
        self._calls_before = 0
        self._undreamt = self._dreamt = False
        self.stalled_s = 0.0  # for which the disk may have stalled, altogether
        self._begun: dict[
            int, tuple[str, float]
        ] = {}  # dialogues of this life: their names and times (unix s)

    def daemon_said(self, wire: "Wire", message: Any) -> None:
        """Check a message at the moment at which the daemon sends it."""
        match message:
            case [0, _, "observe", [text, {"trace_id": trace, "dialog": dialog, "turn": turn}]]:
                self._world.note("asks wire", wire.number, "observe", turn)
                self._asks_observe(wire.life, text, trace, dialog, turn)
            case [0, _, "unobserve", [_, {"trace_id": trace, "turn": turn}]]:
                self._world.note("asks wire", wire.number, "unobserve", turn)
                if turn:  # 0: the end
                    self._asks_unobserve(wire.life, trace, turn)
            case [0, _, method, _]:
                self._world.note("asks wire", wire.number, method)
            case [1, msgid, None, result] if msgid in wire.peer.calls and wire.peer.wire is wire:
                method, _, _, texts = wire.peer.calls[msgid]
                self._answers(method, texts, result)
            case [1, _, [_, str() as text, *_], _]:
                self.hold("P14", MARK not in text, "an error message holds a text of a dream")
            case [2, "event", [{"type": "inbox.written", "trace_id": trace, "shards": n}]]:
                self._world.note("event of", trace if not trace.startswith("dream-") else "a dialogue", n)

    def _asks_observe(self, life: "Life", text: str, trace: str, dialog: int, turn: int) -> None:
        connection = life.connection
        row = None
        if connection is not None and not connection.in_transaction:
            row = connection.execute(
                "SELECT text, observed FROM dream_turns WHERE dialog_id = ? AND turn = ?", (dialog, turn)
            ).fetchone()
        self.hold("P2", row is not None and row[0] == text, f"line {turn} of {dialog} is not recorded: {row}")
        if row is not None:
            self.hold("P3", row[1] == "sent", f"line {turn} of {dialog} has no mark before it is observed")
        self.hold("P3", (trace, turn) not in self._observed, f"line {turn} of {trace} is observed again")
        self._observed.add((trace, turn))

    def _asks_unobserve(self, life: "Life", trace: str, turn: int) -> None:
        """Check that a line may have been observed, and that it is noted that its dialogue is to be taken back."""
        row = (
            life.connection
            and life.connection.execute(
                """SELECT dream_turns.observed, dream_dialogs.undone FROM dream_turns JOIN dream_dialogs
            ON dialog_id = dream_dialogs.id WHERE trace_id = ? AND turn = ?""",
                (trace, turn),
            ).fetchone()
        )
        noted = bool(row) and row[0] not in (None, "unfed") and row[1] == "waiting"
        self.hold("P3", noted, f"line {turn} of {trace} is taken back: {row}")

    def _answers(self, method: str, texts: list[str], result: Any) -> None:
        if method == "inbox.persist":
            trace, _ = part_of_name(Path(result["path"]).name) or ("", 1)
            self.check_durable("P6", trace, texts)
        elif method == "inbox.ack":
            name = Path(result["path"]).name
            held = self.disk.durable.get("done", {}).get(name)
            known = self.disk.current.get("done", {}).get(name)
            self.hold("P5", held == known, f"{name} is acknowledged, and done/ is not synced")

    def database_did(self, life: "Life", name: str, error: BaseException | None) -> None:
        """Check what a transaction has left."""
        connection = life.connection
        if error is not None or connection is None or life.dead:
            return
        if name == "shard_written":
            self._look_at_delivered(connection)
        elif name == "keep_trial":
            self.trial.check(connection)
        elif name == "begin_dialog":
            dialog, context = connection.execute(
                "SELECT id, context FROM dream_dialogs ORDER BY id DESC LIMIT 1"
            ).fetchone()
            prompt = json.loads(context)["prompt"] if context else ""
            if prompt and self._reasons.get(dialog) == "dream":
                self._dreams_of[prompt] += 1
                self.hold("a context is redelivered once", self._dreams_of[prompt] <= 2, prompt[:40])

    def _look_at_delivered(self, connection: Any) -> None:
        rows = connection.execute(
            "SELECT trace_id, episodes_count FROM dream_dialogs WHERE shard_at IS NOT NULL AND episodes_count > 0"
        ).fetchall()
        for trace, lines in rows:
            if trace not in self._delivered:
                self._delivered[trace] = lines
                if self.settings.inbox.enabled:
                    self.check_durable("P6", trace, [f'"index":{index}' for index in range(lines)])

    def _event(self, event: Any) -> None:
        kind = event["type"]
        if self._world.life.dead:
            return
        if kind == "decision":
            self._decided(event["decision"])
        elif kind == "dialog.resumed":
            self._resumed[event["trace_id"]] += 1
            often = self._resumed[event["trace_id"]]
            self.hold("a dialogue goes on twice", often <= GO_ON_TIMES, f"{event['trace_id']}: {often} times")
        elif kind == "dialog.finished":
            self._world.note("dialogue", event["dialog"], "ends", event["outcome"], event["lines"])
            self.checks[f"outcome {event['outcome']}"] += 1
            self.hold("an outcome is documented", event["outcome"] in OUTCOMES, event["outcome"])
            if event["outcome"] == "store_error" or not event["lines"]:
                self._uncharged.add(event["dialog"])
            run = self._world.life.parts.engine.dialogues.running.get(event["dialog"])
            if (
                run is not None
                and event["outcome"] in ("empty", "hook_error", "deadline")
                and not event["lines"]
            ):
                self._mute_until[run[0].about.client] = self._world.now + MUTE_S
            elif run is not None and event["lines"]:
                self._mute_until.pop(run[0].about.client, None)

    def _decided(self, decision: Any) -> None:
        life = self._world.life
        self._world.note("decision", decision.reason, decision.client, decision.dialog)
        self.checks[f"decision {decision.reason}"] += 1
        self.trial.decided(life, decision)
        if not decision.dream:
            self._undreamt = True
            if decision.reason == "cooldown":
                self._check_cause(life, decision)
            self.hold(
                "P12", self._calls(life) == self._calls_before, "a decision not to dream touched a disk"
            )
            return
        self._dreamt = True
        self._reasons[decision.dialog] = decision.reason
        if decision.reason == "dream":
            mute = self._mute_until.get(decision.client, 0.0)
            paused = mute <= self._world.now or self.names_flooded  # invented names push others out
            self.hold("a mute leo is paused", paused, decision.client)
            self._check_cooldown(life, decision)
            self.hold("a pause is kept", self._world.now >= self.paused_until, decision.client)
        run, _ = life.parts.engine.dialogues.running[decision.dialog]
        self._begun[decision.dialog] = decision.client, run.about.started_at
        self._uncharged.discard(decision.dialog)

    def _check_cooldown(self, life: "Life", decision: Any) -> None:
        cooldown_s = self.settings.gate.cooldown_s
        if self.jumped_back or life.connection is None or not cooldown_s:
            return
        earlier = life.connection.execute(
            """SELECT id FROM dream_dialogs WHERE client = ? AND started_at > ? AND id < ?
            AND (finished_at IS NULL OR episodes_count > 0) AND outcome IS NOT 'store_error'""",
            (decision.client, decision.at - cooldown_s + 1e-6, decision.dialog),
        ).fetchall()
        stored = {dialog for (dialog,) in earlier} - self._uncharged
        begun = self._begun_since(decision.client, decision.at - cooldown_s + 1e-6)
        earlier = sorted(stored.union(begun) - {decision.dialog})
        self.hold("cooldown", not earlier, f"{decision.client} dreams again after {earlier}")

    def _begun_since(self, client: str, at: float) -> list[int]:
        """Return the dialogues of a name that began in this life since `at`, and hold its cooldown."""
        found = [
            number for number, (name, began_at) in self._begun.items() if name == client and began_at >= at
        ]
        return [number for number in found if number not in self._uncharged]

    def _check_cause(self, life: "Life", decision: Any) -> None:
        """Check that a cooldown is that of a dream of this name that has spoken, or runs, or has ended just now."""
        if self.jumped_back or life.connection is None or self.may_be_gone:
            return
        since = decision.at - self.settings.gate.cooldown_s - 1e-6
        row = life.connection.execute(
            """SELECT 1 FROM dream_dialogs WHERE client = ? AND started_at >= ?
            AND (finished_at IS NULL OR episodes_count > 0 OR finished_at >= ?) LIMIT 1""",
            (decision.client, since, decision.at - 1.0 - self.stalled_s),
        ).fetchone()
        dreamt = row is not None or bool(self._begun_since(decision.client, since))
        self.hold("a cooldown has a cause", dreamt, f"{decision.client} has not dreamt")

    # each callback

    def _calls(self, life: "Life") -> int:
        return life.database.calls + life.file_calls

    def handle(self, life: "Life", begins: bool) -> None:
        """Note what a callback of the daemon does to disks."""
        if begins:
            self._calls_before = self._calls(life)
            self._undreamt = self._dreamt = False
        elif self._undreamt and not self._dreamt:
            same = self._calls(life) == self._calls_before
            self.hold("P12", same, "a decision not to dream touched a disk")
