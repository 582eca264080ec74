"""P10: each swallowed failure is counted with its reason, and shown."""

import sqlite3
from contextlib import closing

from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import ORIGIN, STIRRED, completed, leo, settled
from tests.helpers.peer import PlainPeer
from tests.helpers.trouble import Locked, impatient
from tests.helpers.waiting import until_on_loop


async def test_p10_takes_over_the_failures_of_a_host_from_hello_and_contexts(tmp_path):
    async with serving(tmp_path) as service, await PlainPeer.connect(service.socket) as peer:
        await peer.hello(failures={"full": 2})
        await peer.call("dream.context", {"failures": {"full": 1, "no word at all": 3, "none": 0}})
        assert service.failures.counts == {"host: full": 3, "host: other": 3}


async def test_p10_trouble_of_the_store_and_of_the_inbox_is_the_state(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        inbox = tmp_path / "inbox" / "dreams"
        inbox.rename(tmp_path / "aside")
        inbox.write_text("in the way")
        await peer.call("dream.now", STIRRED)
        await settled(service)
        status = await peer.call("status")
        assert status["state"] == "degraded: ValidationError"
        assert status["inbox"]["trouble"] == "ValidationError"
        assert status["failures"] == {"inbox: ValidationError": 1}
        lock = Locked(tmp_path)
        await impatient(service.store)
        lock.begin()
        await peer.call("dream.now", STIRRED)
        status = await peer.call("status")
        assert status["state"] == "degraded: locked"
        assert status["database"]["trouble"] == "locked"
        assert status["failures"]["store: locked"] == 1
        lock.end()
        await settled(service)


async def test_p10_a_tick_that_fails_is_counted_and_the_next_one_tries_again(tmp_path, caplog):
    async with serving(tmp_path, tick_s=0.01) as service:
        with closing(sqlite3.connect(tmp_path / "dream.sqlite3", isolation_level=None)) as other:
            other.execute("ALTER TABLE dream_meta RENAME TO aside")
            await until_on_loop(lambda: service.failures.counts.get("daemon: StoreError", 0) >= 2)
            assert "the tick: StoreError at " in caplog.text
            other.execute("ALTER TABLE aside RENAME TO dream_meta")
        async with await PlainPeer.connect(service.socket) as peer:
            assert (await peer.call("status"))["state"] == "ok"


async def test_p10_failed_pending_work_is_counted_and_retried(tmp_path):
    async with serving(tmp_path) as service, await leo(service) as peer:
        await peer.call("dream.now", STIRRED)
        await settled(service)
        lock = Locked(tmp_path)
        lock.begin()
        lock._other.execute("UPDATE dream_dialogs SET shard_at = NULL")
        lock._other.execute("COMMIT")
        await impatient(service.store)
        service.engine.pending.left = True
        lock.begin()
        await completed(service)
        assert service.failures.counts == {"store: locked": 1}
        assert service.engine.pending.left
        await completed(service)
        assert service.failures.counts == {"store: locked": 1}  # told once
        lock.end()
        await service.store.probe()
        await completed(service)
        assert not service.engine.pending.left


async def test_p10_a_fault_of_the_daemon_ends_one_dialogue_and_is_logged_without_text(tmp_path, caplog):
    """P14 too: the exception's text does not get into the log."""
    async with serving(tmp_path) as service, await leo(service) as peer:
        real = service.friend.friend
        service.friend.friend = None
        answer = await peer.call("dream.now", {"prompt": "secret", "reply": "words"})
        assert (answer["outcome"], answer["lines"]) == ("store_error", 0)
        assert service.failures.counts == {"engine: AttributeError": 1}
        service.friend.friend = real
        assert (await peer.call("dream.now", STIRRED))["outcome"] == "complete"
    assert "a dialogue: AttributeError at dialogue_run.py" in caplog.text
    assert "secret" not in caplog.text


async def test_p10_an_end_that_could_not_be_stored_is_completed_later_and_counted_once(tmp_path):
    """P5: its lines are delivered then. The friend has learnt nothing from it, in memory and on disk."""

    def observe(text, meta):
        if meta["turn"] == 3:
            lock.begin()

    async with (
        serving(tmp_path, dialogue__turns_max=3) as service,
        await leo(service, observe=observe) as peer,
    ):
        lock = Locked(tmp_path)
        await impatient(service.store)
        await peer.call("dream.seed", ORIGIN)
        before = service.friend.friend
        assert (await peer.call("dream.now", STIRRED)) == {"dialog": 1, "outcome": "complete", "lines": 3}
        assert service.failures.counts == {"store: locked": 2}  # what observe told, and the end
        assert service.friend.friend is before
        lock.end()
        await service.store.probe()
        await completed(service)
        status = await peer.call("status")
        assert status["dialogues"] == {"left": 1}
        assert status["inbox"]["waiting"] == 1
        assert len((await peer.call("dialogs.get", 1))["turns"]) == 3
