"""What must hold, checked from outside: the promises against what was said, stored and left in the inbox."""

import json
from collections import Counter
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from numpy.random import default_rng

from dreamd.dream.replay import first_difference
from dreamd.errors import Unreadable
from dreamd.inbox.folder.parts import part_of_name
from dreamd.store import reads
from tests.sim.inbox_model import InboxModel
from tests.sim.peers import MARK

if TYPE_CHECKING:
    from tests.sim.life import Life
    from tests.sim.wires import Wire
    from tests.sim.world import World

# The bounds, as the documents have them: docs/reference/protocol.md and docs/background.
ABSENT = 64  # names of clients that are not connected
GO_ON_TIMES, WAITING = 2, 64  # of a suspended dialogue; suspended dialogues
UNSENT_BYTES = 4 << 20  # of a session
EVERY = 40  # moments of rest: then what takes longer is checked
CONTEXT_BYTES = 64 << 10  # of what is kept for a session, as docs/reference/protocol.md says
KEPT_BYTES = 48 << 10  # of what is kept for a name
PAGE_BYTES = 1 << 20  # the largest answer
LONG = ("dream.now", "dream.pause", "dialogs.undream")  # they wait for dialogues
START_S = 2.5  # database calls may stall: then it starts degraded
CALL_S = 40.0  # in which any call is answered, without stalls
MUTE_S = 30.0
# Where no text is left without diagnostics, once all files are written.
PRIVATE = (
    ("dream_turns", "text"), ("dream_turns", "candidates"), ("dream_turns", "seed"), ("dream_dialogs", "context"),
    ("dream_dialogs", "recalled"), ("dream_fragments_past", "text"), ("dream_search", "words"),
)  # fmt: skip


class Model(InboxModel):
    """The checks of one run. A failed check is given to `World.fail`, because code under test may catch exceptions."""

    def __init__(self, world: "World", folder: Path, settings: Any) -> None:
        super().__init__(world, folder, settings)
        self.peers: list[Any] = []
        self.stalled_s = 0.0  # for which the disk may have stalled, altogether
        self.jumped_back = False
        self.may_be_gone: set[str] = (
            set()
        )  # texts and trace ids that a user let be forgotten, asked for or done
        self._wires = count(1)
        self._rests = 0
        self._observed: set[tuple[str, int]] = set()
        self._ended: set[int] = set()
        self._reasons: dict[int, str] = {}
        self._dreams_of: Counter[str] = Counter()  # by prompt
        self._resumed: Counter[str] = Counter()
        self._store_errors: set[int] = set()  # dialogues whose row may say something else later
        self._mute_until: dict[str, float] = {}
        self._origin: set[str] | None = None
        self._calls_before = 0
        self._undreamt = self._dreamt = False
        self._since: dict[tuple[int, int, int], float] = {}  # by life, dialogue and interruptions
        self.user_changed_origin = False
        self.paused_until = 0.0  # at least: no dream begins by itself before
        self.names_flooded = False

    def next_wire(self) -> int:
        return next(self._wires)

    # lives

    def began(self, life: "Life") -> None:
        """A daemon serves."""
        assert life.parts is not None
        self._world.note(life.name, "serves")
        took_s = self._world.now - life.began_at
        self.hold("a start is quick", took_s <= START_S, f"{took_s:.1f} s")
        life.parts.events.subscribe(self._event)
        self._mute_until.clear()
        self._resting_checks(life)

    def ended(self, life: "Life") -> None:
        """A daemon has ended by itself."""
        self._world.loop = None
        life.exit()
        self.inbox()

    def killed(self, life: "Life", power: bool) -> None:
        """A daemon was killed."""
        if power:
            self._world.writer.kill()
            self.disk.lose_power(self._world.chance(f"power {life.number}"))
            self._doubled_by_power = {
                name for name in self.disk.current.get("done", {}) if name in self.disk.current.get("", {})
            }
        self.inbox()

    # what the daemon says and stores

    def daemon_said(self, wire: "Wire", message: Any) -> None:
        """Check a message at the moment at which the daemon sends it."""
        match message:
            case [0, _, "observe", [text, {"trace_id": trace, "dialog": dialog, "turn": turn}]]:
                self._world.note("asks wire", wire.number, "observe", turn)
                self._asks_observe(wire.life, text, trace, dialog, turn)
            case [0, _, "unobserve", [_, {"trace_id": trace, "turn": turn}]]:
                self._world.note("asks wire", wire.number, "unobserve", turn)
                seen = turn == 0 or (trace, turn) in self._observed  # 0: the end
                self.hold("P3", seen, f"line {turn} of {trace} is taken back unseen")
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
            if event["outcome"] == "store_error":
                self._store_errors.add(event["dialog"])
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
        if not decision.dream:
            self._undreamt = True
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

    def _check_cooldown(self, life: "Life", decision: Any) -> None:
        cooldown_s = self.settings.gate.cooldown_s
        if self.jumped_back or life.connection is None or not cooldown_s:
            return
        earlier = life.connection.execute(
            """SELECT id FROM dream_dialogs WHERE client = ? AND started_at > ? AND id < ?
            AND (finished_at IS NULL OR episodes_count > 0) AND outcome IS NOT 'store_error'""",
            (decision.client, decision.at - cooldown_s + 1e-6, decision.dialog),
        ).fetchall()
        earlier = [dialog for (dialog,) in earlier if dialog not in self._store_errors]
        self.hold("cooldown", not earlier, f"{decision.client} dreams again after {earlier}")

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

    # at rest

    def at_rest(self) -> None:
        """Check what is cheap at each moment of rest, and the rest now and then."""
        life = self._world.life
        if life.dead or life.parts is None:
            return
        self._rests += 1
        self._check_bounds(life)
        if self._rests % EVERY == 0:
            self._resting_checks(life)

    def _resting_checks(self, life: "Life") -> None:
        self.inbox()
        self._check_waits(life)
        self.check_friend(life)

    def _check_bounds(self, life: "Life") -> None:
        engine = life.parts.engine
        clients = engine.clients._named
        present = sum(bool(named.sessions or named.reserved) for named in clients.values())
        self.hold("memory", len(clients) <= ABSENT + present + 1, f"{len(clients)} names, {present} present")
        most = WAITING + len(engine.dialogues.running) + 4
        self.hold("memory", len(engine.dialogues.suspended) <= most, "suspended dialogues")
        for wire in life.wires:
            size = wire.get_write_buffer_size()
            if not wire.is_lost:
                self.hold("memory", size <= UNSENT_BYTES + 2 * PAGE_BYTES, f"{size} bytes unsent")

    def _check_waits(self, life: "Life") -> None:
        engine, how = life.parts.engine, self.settings.dialogue
        most_s = how.deadline_s + 1.0 + 3 * how.call_deadline_s + self.stalled_s + CALL_S
        for run, _ in engine.dialogues.running.values():
            since = self._since.setdefault(
                (life.number, run.about.id, run.about.interruptions), self._world.now
            )
            self.hold("every dialogue ends", self._world.now - since <= most_s, f"{run.about.id}")
        for peer in self.peers:
            if peer.wire is not None and not peer.wire.slow and not peer.wire.is_lost:
                for method, since, *_ in peer.calls.values():
                    wait_s = CALL_S + self.stalled_s + (most_s if method in LONG else 0.0)
                    self.hold(
                        "every call ends", self._world.now - since <= wait_s, f"{method} of {peer.number}"
                    )
        for dreamer in engine.dreamers.values():
            size = len(msgspec.msgpack.encode(dreamer.latest)) if dreamer.latest else 0
            self.hold("memory", size <= CONTEXT_BYTES, f"a context of {size} bytes")
        for named in engine.clients._named.values():
            size = len(msgspec.msgpack.encode(named._kept.ctx)) if named._kept else 0
            self.hold("memory", size <= KEPT_BYTES, f"a kept context of {size} bytes")

    def check_friend(self, life: "Life") -> None:
        """Compare the friend in memory with his rows (P4)."""
        friend, connection = life.parts.friend, life.connection
        if not life.parts.engine._loaded or friend._changes or connection is None:
            return
        rows = connection.execute(
            "SELECT id, text, weight, origin FROM dream_bootstrap_fragments ORDER BY id"
        )
        stored = [tuple(row) for row in rows]
        held = [(each.id, each.text, each.weight, int(each.origin)) for each in friend.fragments]
        self.hold("the friend is what is stored", held == stored, f"{len(held)} and {len(stored)} fragments")
        origin = {text for _, text, _, is_origin in stored if is_origin}
        low = [weight for _, _, weight, is_origin in stored if is_origin and weight < 0.2 - 1e-9]
        self.hold("P4", not low, f"origin fragments at {low}")
        if self._origin is not None and origin != self._origin:
            kept = [
                {each["text"] for each in json.loads(fragments) if each.get("origin")}
                for (fragments,) in connection.execute("SELECT fragments FROM dream_checkpoints")
            ]
            self.hold("P4", self.user_changed_origin, "the origin changed by itself")
            self.hold("P4", self._origin in kept, "an earlier origin is gone")
        if origin:
            self._origin = origin
        self.hold("P4", bool(origin) or self._origin is None, "the origin is gone")

    # at the end

    @property
    def is_undreamt(self) -> bool:
        """True if nothing waits to be taken back out of a field whose leo is there."""
        connection = self._world.life.connection
        if connection is None:
            return False
        rows = connection.execute("SELECT field FROM dream_dialogs WHERE undone = 'waiting'").fetchall()
        able = {peer.field for peer in self.peers if peer.greeted and "unobserve" in peer.provides}
        return not any(field in able for (field,) in rows)

    @property
    def is_settled(self) -> bool:
        """True if nothing is left to do."""
        life = self._world.life
        if life.dead or life.parts is None or life.connection is None or life.database._busy:
            return False
        unwritten = life.connection.execute(
            """SELECT count(*) FROM dream_dialogs WHERE trace_id IS NOT NULL AND (finished_at IS NULL
            OR (episodes_count > 0 AND shard_at IS NULL))"""
        ).fetchone()[0]
        return not unwritten and life.parts.engine.degraded_reason is None

    def check_end(self) -> None:
        """Check that all has ended, that each dialogue has its file, and that each can be replayed."""
        life = self._world.life
        self.hold("the daemon serves", life.parts is not None and not life.dead, "it does not at the end")
        if life.parts is None or life.connection is None:
            return
        self.hold("the daemon serves", not life.parts.engine.degraded_reason, f"{life.parts.engine.doing}")
        rows = life.connection.execute(
            "SELECT id, trace_id, finished_at, outcome, episodes_count, shard_at FROM dream_dialogs"
        ).fetchall()
        for dialog, trace, finished_at, outcome, lines, shard_at in rows:
            self.hold("every dialogue ends", finished_at is not None, f"{dialog}: {outcome}")
            if lines:
                self.hold("P5", shard_at is not None, f"{dialog} ({trace}, {outcome}) has no file")
            self._check_replay(life, dialog)
        self._resting_checks(life)
        self.checks["dialogues"] += len(rows)
        self.checks["lines"] += sum(row[4] for row in rows)

    def check_after_restart(self) -> None:
        """Check what one more start has cleared away: temporaries, and without diagnostics every text."""
        life = self._world.life
        folder = self.disk.folder / ".tmp"
        left = [path.name for path in folder.iterdir()] if folder.exists() else []
        self.hold("no temporary is left", not left or not self.settings.inbox.enabled, f"{left}")
        if self.settings.store.diagnostics or life.connection is None:
            return
        for table, column in PRIVATE:
            found = life.connection.execute(
                f"SELECT count(*) FROM {table} WHERE {column} LIKE '%{MARK}%'"
            ).fetchone()[0]
            self.hold("texts are private", not found, f"{found} rows of {table}.{column}")

    def _check_replay(self, life: "Life", dialog: int) -> None:
        try:
            script = reads.load_script(life.connection, dialog)
        except Unreadable as error:
            self._world.fail("P13", f"{dialog}: {error}")
            return
        if script is not None:
            difference = first_difference(script, default_rng(script.rng_seed))
            self.hold("P13", difference is None, f"{dialog} ({script.outcome}): {difference}")
