"""What must hold, checked from outside: the promises against what was said, stored and left in the inbox."""

import json
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from dreamd.dream.replay import first_difference
from dreamd.errors import Unreadable
from dreamd.store import reads
from tests.sim.peers import MARK, Peer
from tests.sim.said_model import SaidModel
from tests.sim.trial_model import TrialModel

if TYPE_CHECKING:
    from tests.sim.life import Life
    from tests.sim.world import World

# The bounds, as the documents have them: docs/reference/protocol.md and docs/background.
ABSENT = 64  # names of clients that are not connected
WAITING = 64  # suspended dialogues
UNSENT_BYTES = 4 << 20  # of a session
EVERY = 40  # moments of rest: then what takes longer is checked
CONTEXT_BYTES = 64 << 10  # of what is kept for a session, as docs/reference/protocol.md says
KEPT_BYTES = 48 << 10  # of what is kept for a name
PAGE_BYTES = 1 << 20  # the largest answer
LONG = ("dream.now", "dream.pause", "dialogs.undream")  # they wait for dialogues
START_S = 2.5  # database calls may stall: then it starts degraded
CALL_S = 40.0  # in which any call is answered, without stalls
# Where no text is left without diagnostics, once all files are written.
PRIVATE = (
    ("dream_turns", "text"), ("dream_turns", "candidates"), ("dream_turns", "seed"), ("dream_dialogs", "context"),
    ("dream_dialogs", "recalled"), ("dream_fragments_past", "text"), ("dream_search", "words"),
)  # fmt: skip


class Model(SaidModel):
    """The checks of one run, at its beginning, at rest and at its end."""

    def __init__(self, world: "World", folder: Path, settings: Any) -> None:
        super().__init__(world, folder, settings)
        self.peers: list[Peer] = []
        self.trial = TrialModel(world, self)
        self._wires = count(1)
        self._rests = 0
        self._origin: set[str] | None = None
        self._since: dict[tuple[int, int, int], float] = {}  # by life, dialogue and interruptions
        self.user_changed_origin = False

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
        self._begun.clear()
        self._uncharged.clear()
        self.trial.began()
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
        return not self.waiting_undreams()

    def waiting_undreams(self) -> dict[int, Peer | None]:
        """Return the dialogues that wait to be taken back, each with the leo that could do it. Without a database,
        return dialogue 0 without a leo."""
        connection = self._world.life.connection
        if connection is None:
            return {0: None}
        rows = connection.execute("SELECT id, field FROM dream_dialogs WHERE undone = 'waiting'").fetchall()
        able = {peer.field: peer for peer in self.peers if peer.greeted and "unobserve" in peer.provides}
        return {number: able[field] for number, field in rows if field in able}

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
        self.trial.check_end(life.connection)
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
            difference = first_difference(script)
            self.hold("P13", difference is None, f"{dialog} ({script.outcome}): {difference}")
