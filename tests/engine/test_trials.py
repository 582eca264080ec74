"""The trials in a daemon: what is compared, and that figures alone are stored, at the tick."""

from pathlib import Path
from typing import Any

from tests.helpers.daemons.in_loop import TestClock, serving
from tests.helpers.dreaming import ORIGIN, STIRRED, leo, settled
from tests.helpers.peer import PlainPeer
from tests.helpers.state_folder import rows
from tests.helpers.trouble import Locked, impatient

TRIAL = "SELECT client, chance, dreamt, fed, origin FROM dream_trial ORDER BY id"


async def tell(service: Any, peer: PlainPeer, time: TestClock, **more: Any) -> str:
    """Tell of a reply that came 30 s after the last one, and wait for the end of the dream."""
    time.pass_s(more.pop("after_s", 30))
    decision = await peer.call("dream.context", STIRRED | {"reply": "leo listens and waits"} | more)
    await settled(service)
    return str(decision["reason"])


async def test_the_reply_after_each_decision_of_chance_is_compared(tmp_path: Path) -> None:
    time = TestClock()
    taken = {"taken": True}
    async with (
        serving(tmp_path, clock=time.clock, gate__chance=0.5, gate__cooldown_s=0, seed=3) as service,
        await leo(service, observe=lambda *_: taken) as peer,
    ):
        await peer.call("dream.seed", ORIGIN)
        reasons = [await tell(service, peer, time) for _ in range(12)]
        taken["taken"] = False
        reasons += [await tell(service, peer, time) for _ in range(12)]
        assert {*reasons} == {"dream", "chance"}
        assert rows(tmp_path, TRIAL) == []  # no decision touches the disk
        await service.engine.keep_heard()
        arms = [reason == "dream" for reason in reasons[:-1]]
        assert rows(tmp_path, TRIAL) == [
            ("leo", 0.5, int(dreamt), int(dreamt and number < 12), 1 / 3)
            for number, dreamt in enumerate(arms)
        ]
        await service.engine.keep_heard()
        assert len(rows(tmp_path, TRIAL)) == 23


async def test_leaves_out_what_chance_did_not_decide_alone(tmp_path: Path) -> None:
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock, gate__chance=0.001, gate__cooldown_s=0) as service,
        await leo(service) as peer,
    ):
        assert await tell(service, peer, time) == "chance"
        assert await tell(service, peer, time, after_s=19) == "chance"  # too early to be compared
        await peer.call("dream.now", None)
        assert await tell(service, peer, time) == "chance"  # a dream by hand came between
        assert await tell(service, peer, time, trauma_level=0.0) == "calm"  # compared
        assert await tell(service, peer, time) == "chance"  # nothing was drawn before it
        async with await leo(service) as other:
            assert await tell(service, other, time) == "chance"  # another session's
        await service.engine.keep_heard()
        assert len(rows(tmp_path, TRIAL)) == 1


async def test_stores_refused_figures_later_and_none_twice(tmp_path: Path) -> None:
    time = TestClock()
    async with (
        serving(tmp_path, clock=time.clock, gate__chance=0.001, gate__cooldown_s=0) as service,
        await leo(service) as peer,
    ):
        lock = Locked(tmp_path)
        await impatient(service.store)
        for _ in range(3):
            await tell(service, peer, time)
        lock.begin()
        await service.engine.trials.save()
        await service.engine.trials.save()  # the store is in trouble: it is not tried
        assert service.failures.counts == {"store: locked": 1}
        lock.end()
        await service.store.probe()
        for _ in range(2):
            await service.engine.trials.save()
        assert len(rows(tmp_path, TRIAL)) == 2


async def test_compares_nothing_while_dreams_are_not_fed(tmp_path: Path) -> None:
    time = TestClock()
    values = {"gate__chance": 0.5, "gate__cooldown_s": 0, "dialogue__feed": "false"}
    async with serving(tmp_path, clock=time.clock, **values) as service, await leo(service) as peer:
        assert {await tell(service, peer, time) for _ in range(8)} == {"dream", "chance"}
        await service.engine.keep_heard()
        assert rows(tmp_path, TRIAL) == []
