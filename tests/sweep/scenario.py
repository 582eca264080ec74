"""A fixed scenario: three lives of a daemon and one leo, with one fault in it, and what must hold afterwards."""

import asyncio
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dreamclient.clients.run import Timing
from dreamclient.clients.thread import DreamClient
from dreamclient.errors import CallTimeout, DreamError, NotConnected, RemoteError

from dreamd.engine.delivery import Delivery
from dreamd.errors import StartError, StoreUnavailable
from dreamd.store.watched_database import WatchedDatabase
from dreamd.wire.parts import Parts
from tests.crash.ledger import Broken, Ledger, hold
from tests.crash.leo import TOKEN
from tests.helpers.daemons.in_loop import serving
from tests.helpers.inbox_check import temporaries
from tests.sweep.faults import Faults

MEMORY = Path("/dev/shm")
TIMING = Timing(hello_s=3.0, first_retry_s=0.01, last_retry_s=0.02)
STARTS = 3  # attempts of a start: one fault fails one of them
# Faults that need not be shown, since nothing is lost by them: see the reasons. Nor are those of a tick that a stop has
# cancelled: the next daemon does its work.
SILENT = {
    "touch": "the time of a file alone, or of the lock",
    "stat": "a look that is repeated",
    "recv": "the host connects again, and tells of it with its next message",
    "send": "the host connects again, and tells of it with its next message",
    "connect": "the host connects again, and tells of it with its next message",
    "daemon send": "the host connects again, and tells of it with its next message",
    "daemon recv": "the host connects again, and tells of it with its next message",
    "daemon accept": "it is tried again, with the connection waiting meanwhile",
    "open_lock": "the mark of a consumer alone",
    "write 1": "the mark of a consumer alone",
}


@dataclass
class Outcome:
    """What a run has shown. `shown`: counted failures, refusals and reasons, as an operator or leo sees them."""

    calls: Counter[str]
    failed: str = ""
    shown: set[str] = field(default_factory=set)
    broken: str = ""


class Scenario:
    """One run."""

    def __init__(self, folder: Path, faults: Faults) -> None:
        self.state, self._faults = folder / "s", faults
        self._ledger_file = folder / "ledger"
        self.shown: set[str] = set()
        self._ledger_file.touch()
        self._said = self._shards = self._life = self._aside = 0

    def _note(self, kind: str, *what: Any) -> None:
        with self._ledger_file.open("a") as ledger:
            ledger.write(json.dumps([kind, *what]) + "\n")

    def _generate(self, seed: str, temperature: float, weight: float) -> str:
        self._said += 1
        return f"the river under the old house speaks of snow number {self._said}."

    def _observe(self, text: str, meta: Any) -> dict[str, Any]:
        self._note("observed", meta["trace_id"], meta["turn"], text)
        return {"arousal": 0.5}

    async def run(self) -> None:
        """Live twice with the fault, and once without. Raise Broken."""
        for life in range(3):
            self._faults.over, self._life = life == 2, life
            if life == 1:
                self._leave_litter()
            await self._live(self._act if life < 2 else self._calm)
        ledger = Ledger(self._ledger_file, store_fails=True)
        ledger.check(self.state, settled=True)
        hold(
            "P5", not self._faults.over or ledger.told, "no dream could be made when nothing failed any more"
        )

    @contextmanager
    def seen(self) -> Iterator[None]:
        """Note each reason that `status` shows, however soon the next tick finds that all is well again."""
        hold_error, look = WatchedDatabase._hold, Delivery.look

        def hold(store: WatchedDatabase, error: StoreUnavailable) -> StoreUnavailable:
            self.shown.add(f"degraded: {error.reason}")
            return hold_error(store, error)

        async def look_and_note(delivery: Delivery) -> None:
            await look(delivery)
            self.shown |= {f"degraded: {delivery.unwritable_reason}"} if delivery.unwritable_reason else set()

        with patch.object(WatchedDatabase, "_hold", hold), patch.object(Delivery, "look", look_and_note):
            yield

    def _leave_litter(self) -> None:
        """Leave what a writer left that was killed long ago: the next daemon sweeps it."""
        litter = self.state / "inbox" / "dreams" / ".tmp"
        if litter.exists():
            (litter / "old.json").write_text("{")
            os.utime(litter / "old.json", (1, 1))

    async def _live(self, act: Callable[[Parts, DreamClient], Any]) -> None:
        for attempt in range(STARTS):
            try:
                self._faults.stopping = False
                async with asyncio.timeout(20), self._daemon() as service:
                    self._begin_afresh()
                    with self._leo() as client:
                        await asyncio.to_thread(client.start, 3.0)
                        await act(service, client)
                        self._look(service)
                        self._faults.stopping = True
                        await asyncio.to_thread(client.close)
                return
            except StartError as error:
                hold("P5", attempt < STARTS - 1, f"no start: {error}")
                self.shown.add(f"start: {error.exit_code}")
            except TimeoutError:
                raise Broken("every call ends: the daemon has not ended after 20 s") from None

    def _begin_afresh(self) -> None:
        """Forget what was said to a daemon whose database is set aside as damaged. What is in the inbox stays."""
        aside = len([*self.state.glob("dream.sqlite3.damaged-*")])
        if aside > self._aside:
            self._aside = aside
            kept = [line for line in self._ledger_file.read_text().splitlines() if line[2] in "sa"]
            self._ledger_file.write_text("".join(f"{line}\n" for line in kept))

    def _daemon(self) -> Any:
        return serving(
            self.state,
            seed=self._life,
            tick_s=0.02,
            gate__cooldown_s=0,
            dialogue__candidates=1,
            dialogue__call_deadline_s=5,
        )

    @contextmanager
    def _leo(self) -> Iterator[DreamClient]:
        client = DreamClient(
            connect=lambda: self._faults.socket_to(self.state / "dreamd.sock"),
            timing=TIMING,
            origin=["I am a small organism.", "I hear the river."],
        )
        client.serve(self._generate, self._observe, lambda query, n: ["the snow was here"], lambda: "field")
        yield client

    async def _act(self, service: Parts, client: DreamClient) -> None:
        for step in (self._dream, self._persist, self._acknowledge, self._dream):
            await asyncio.to_thread(self._step, step, client)
            self._look(service)

    def _step(self, step: Callable[[DreamClient], None], client: DreamClient) -> None:
        try:
            step(client)
        except (NotConnected, CallTimeout) as error:
            self.shown.add(f"leo: {type(error).__name__}")
            client.start(1.0)
        except RemoteError as error:
            self.shown.add(f"leo: error {error.code}")

    def _dream(self, client: DreamClient) -> None:
        told = client.dream_now({"prompt": "hello", "reply": "I am here"}, timeout_s=10.0)
        self._note("told", told["dialog"], told["outcome"], told["lines"])
        if told["outcome"] not in ("complete", "repeat"):
            self.shown.add(f"outcome: {told['outcome']}")

    def _persist(self, client: DreamClient) -> None:
        self._shards += 1
        key = ("w", self._shards, "so")
        shard = {"index": self._shards, "timestamp": 1, "text": "so"}
        self._note("sent", *key)
        result = {"trace_id": "w", "shards": [shard]}
        client.call("inbox.persist", {"seed": {}, "result": result, "cap_token": TOKEN})
        self._note("accepted", *key)

    def _acknowledge(self, client: DreamClient) -> None:
        handle = client.call("inbox.list", 5)[0]["trace_id"]
        document = client.call("inbox.read", handle)
        path = client.call("inbox.ack", handle, document["saved_ts"])["path"]
        self._note("acknowledged", Path(path).name, [shard["index"] for shard in document["shards"]])

    def _look(self, service: Parts) -> None:
        failures, engine = service.failures, service.engine
        self.shown |= {*failures.counts, *failures.refusals, *service.store.notes}
        self.shown |= {f"degraded: {engine.degraded_reason}"} if engine.degraded_reason else set()

    async def _calm(self, service: Parts, client: DreamClient) -> None:
        """Let all pending work be done, also a dialogue that goes on, and dream once more."""
        for _ in range(200):
            if await service.store.probe() is None:
                break
            await asyncio.sleep(0.01)
        service.engine.pending.retry()
        await service.engine.pending.attempt()
        hold("P10", not service.engine.degraded_reason, f"still degraded: {service.engine.degraded_reason}")
        if running := [task for _, task in service.engine.dialogues.running.values()]:
            await asyncio.wait(running)
        await asyncio.to_thread(self._step, self._dream, client)
        service.engine.pending.retry()
        await service.engine.pending.attempt()
        with suppress(FileNotFoundError):
            await service.delivery.on_thread(service.inbox.sweep)
        hold("P7", not temporaries(service.inbox.folder), "a sweep leaves temporaries")


async def run_scenario(kind: str = "", nth: int = 0, error: str = "") -> Outcome:
    """Run the scenario with a fault at the nth call of a kind, and return what was seen."""
    faults = Faults(kind, nth, error)
    folder = Path(tempfile.mkdtemp(prefix="dreamd-sweep-", dir=MEMORY if MEMORY.is_dir() else None))
    scenario = Scenario(folder, faults)
    outcome = Outcome(faults.calls)
    try:
        with faults.installed(), scenario.seen():
            await scenario.run()
        if faults.failed and not faults.at_stop and not SILENT.keys() & {kind, faults.failed}:
            hold("P10", scenario.shown, f"nothing shows that {faults.failed} failed with {error}")
    except Broken as broken:
        outcome.broken = str(broken)
    except DreamError as unexpected:
        outcome.broken = f"{type(unexpected).__name__}: {unexpected}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    outcome.failed, outcome.shown = faults.failed, scenario.shown
    return outcome
