"""Private conversations: the block itself, and what the clients send of it: a number."""

import asyncio
import contextvars
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dreamclient
import pytest
from dreamclient.clients.loop import AsyncDreamClient
from dreamclient.clients.run import Timing
from dreamclient.clients.thread import DreamClient
from dreamclient.errors import UsageError
from dreamclient.messages import DreamContext
from dreamclient.privacy import is_private, private

from tests.helpers.daemons.little import DEADLINE_S, LittleDaemon
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.waiting import until

QUICK = Timing(hello_s=DEADLINE_S, first_retry_s=0.01, last_retry_s=0.02)
SECRET = DreamContext("a secret prompt", "a secret reply", trauma_level=1.0)
OPEN = DreamContext("who are you", "a field")


# --- the block ---------------------------------------------------------------------------------------


def test_blocks_nest_and_end_with_an_exception() -> None:
    assert not is_private()
    with private():
        with pytest.raises(ValueError, match="once"), private():
            raise ValueError("once")
        assert is_private()
    assert not is_private()


def test_one_object_may_be_entered_again_and_anywhere() -> None:
    block = private()
    with block, block:
        assert is_private()
        contextvars.Context().run(block.__exit__)  # in another context, as a generator that is closed there
        assert is_private()
    assert not is_private()
    with block:
        assert is_private()


def test_holds_for_its_thread_alone() -> None:
    with ThreadPoolExecutor(1) as other, private():
        assert not other.submit(is_private).result()


async def test_holds_for_its_task_the_tasks_it_starts_and_to_thread() -> None:
    entered, seen = asyncio.Event(), asyncio.Event()

    async def other() -> bool:
        await entered.wait()
        found = is_private()
        seen.set()
        return found

    async def inner() -> bool:
        return is_private()

    beside = asyncio.create_task(other())
    with dreamclient.private():
        entered.set()
        await seen.wait()
        assert await asyncio.create_task(inner())
        assert await asyncio.to_thread(is_private)
    assert not await beside
    assert not await inner()


# --- the clients -------------------------------------------------------------------------------------


def test_sends_the_number_of_private_replies_and_nothing_of_them(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with LittleDaemon(path) as daemon, DreamClient(socket_path=path, timing=QUICK) as client:
        assert client.start(DEADLINE_S)
        connection = daemon.arrival()
        connection.hears("hello")
        with client.private():
            assert client.offer(SECRET) is False
            assert connection.hears("dream.private") == [{"private": 1}]
            assert client.offer({"prompt": SECRET.prompt}) is False
            assert connection.hears("dream.private") == [{"private": 1}]
        assert client.offer(OPEN)
        assert connection.hears("dream.context") == [
            {"prompt": "who are you", "reply": "a field", "themes": [], "expert": ""}
        ]
        assert client.failures == {}


def test_a_private_reply_of_one_thread_keeps_no_other_thread_from_offering(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with LittleDaemon(path) as daemon, DreamClient(socket_path=path, timing=QUICK) as client:
        assert client.start(DEADLINE_S)
        connection = daemon.arrival()
        connection.hears("hello")
        with client.private():
            other = threading.Thread(target=client.offer, args=(OPEN,))
            other.start()
            other.join()
            assert connection.hears("dream.context")[0]["prompt"] == "who are you"


def test_private_replies_without_a_daemon_are_told_with_the_next_hello(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with DreamClient(socket_path=path, timing=QUICK) as client:
        client.start(DEADLINE_S)
        with client.private():
            for _ in range(3):
                client.offer(SECRET)
        assert "private" not in client.failures
        with LittleDaemon(path) as daemon:
            (hello,) = daemon.arrival().hears("hello")
            assert hello["private"] == 3


@pytest.mark.parametrize("method", ["dream.now", "dream.context"])
def test_refuses_to_send_a_context_by_hand(tmp_path: Path, method: str) -> None:
    path = tmp_path / "s"
    with LittleDaemon(path) as daemon, DreamClient(socket_path=path, timing=QUICK) as client:
        assert client.start(DEADLINE_S)
        connection = daemon.arrival()
        connection.hears("hello")
        with client.private():
            with pytest.raises(UsageError, match="this conversation is private"):
                client.call(method, {"prompt": SECRET.prompt})
            with pytest.raises(UsageError, match="this conversation is private"):
                client.dream_now(SECRET)
            assert client.dream_now() is True  # of the last reply that was told
        assert connection.hears("dream.now") == [None, None]


async def test_the_client_of_a_loop_sends_nothing_of_a_private_task(tmp_path: Path) -> None:
    path = tmp_path / "s"

    async def talk(client: AsyncDreamClient) -> None:
        with client.private():
            await asyncio.sleep(0)
            assert not client.offer(SECRET)
            with pytest.raises(UsageError, match="this conversation is private"):
                await client.call("dream.now", {"prompt": SECRET.prompt})

    with LittleDaemon(path) as daemon:
        async with AsyncDreamClient(socket_path=path, timing=QUICK) as client:
            assert await client.start(DEADLINE_S)
            connection = await asyncio.to_thread(daemon.arrival)
            connection.hears("hello")
            talking = asyncio.create_task(talk(client))
            await asyncio.sleep(0)
            assert client.offer(OPEN)
            await talking
            heard = {connection.heard.get(timeout=DEADLINE_S)[0] for _ in range(2)}
            assert heard == {"dream.private", "dream.context"}


def test_a_dream_in_progress_takes_nothing_of_a_private_reply_beside_it(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def generate(*_: object) -> str:
        asked.set()
        go_on.wait(DEADLINE_S)
        return "the river is near"

    state = tmp_path / "state"
    with (
        DaemonProcess(state, "--set", "gate.chance=1", "--set", "gate.cooldown_s=0") as daemon,
        DreamClient(generate, lambda text: None, lambda query, n: [], socket_path=daemon.socket) as client,
    ):
        assert client.start(DEADLINE_S)
        assert client.offer(DreamContext("who are you", "a field", trauma_level=1.0))
        assert asked.wait(DEADLINE_S)
        with client.private():
            client.offer(SECRET)
        until(lambda: daemon.call("status")["decisions"].get("private") == 1, "the count")
        go_on.set()
        until(lambda: daemon.call("status")["dialogues"], "the end of the dream")
        assert client.dream_now()["lines"]  # of the last context that was told
    found = [path for path in state.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    assert found == []
    assert b"who are you" in (state / "dream.sqlite3").read_bytes()
