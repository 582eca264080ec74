"""P14: no text of a dream reaches a log."""

import asyncio

import msgpack
import pytest

from tests.helpers.daemons.in_loop import serving
from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.dreaming import STIRRED, Gate, leo, leo_at, onlooker_at

SECRETS = ("marmalade", "quicksilver", "zephyrine", "obsidian", "tourmaline", "heliotrope")


async def test_p14_no_output_contains_a_word_of_a_dream(tmp_path):
    """The test makes all that can be logged: a dream, failing hooks of each kind, refusals, a bad peer, a restart."""
    prompt, reply, line, raised, seeded, damaged = SECRETS
    spoken = [0]

    def generate(*_):
        spoken[0] += 1
        return f"{line} number {spoken[0]} says {spoken[0]}"

    def fail(*_):
        raise RuntimeError(f"{raised} in the {line}")

    ctx = STIRRED | {"prompt": prompt, "reply": reply, "expert": prompt, "math_state": {prompt: reply}}
    daemon = DaemonProcess(
        tmp_path / "s", "--set", "log.level=debug", env={"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"}
    )
    with daemon:
        async with await leo_at(
            daemon.socket, generate=generate, recall=lambda *_: [f"{seeded} of old"]
        ) as peer:
            await peer.call("dream.seed", {"origin": [f"{seeded} is the origin."]})
            assert (await peer.call("dream.now", ctx))["outcome"] == "complete"
            await peer.call("dream.context", ctx)
        for hook, does in (
            ("generate", fail), ("observe", fail), ("recall", fail),
            ("generate", lambda *_: [line]), ("generate", lambda *_: line * 200_000),
        ):  # fmt: skip
            async with await leo_at(daemon.socket, **({"generate": generate} | {hook: does})) as peer:
                await asyncio.gather(peer.call("dream.now", ctx), return_exceptions=True)
        for method, params in (
            ("dream.context", [{"prompt": [prompt]}]), ("dream.seed", [{"origin": [[seeded]]}]), (line, [line]),
            ("inbox.persist", [{"seed": {"goal": prompt}, "result": {"trace_id": line}, "cap_token": {line: line}}]),
            ("inbox.read", [line + "/"]), ("inbox.ack", [line]), ("hello", [{"protocol": 1, "name": ""}]),
        ):  # fmt: skip
            async with await onlooker_at(daemon.socket) as peer:
                with pytest.raises(Exception, match=r"\["):
                    await peer.call(method, *params)
        async with await onlooker_at(daemon.socket) as peer:
            peer.send(msgpack.packb([0, line, prompt]))
            await peer.closed()
        gate = Gate()
        peer = await leo_at(daemon.socket, generate=gate)
        peer.send([0, 99, "dream.now", [ctx]])
        await gate.reached.wait()
        daemon.kill()
        await peer.close()
        (tmp_path / "s" / "inbox" / "dreams" / "x.json").write_text(damaged)
        daemon.start()
        status = daemon.call("status")
    said = daemon.said()
    assert "serving at" in daemon.stderr.read_text()
    assert status["dialogues"]["complete"] >= 1
    for secret in SECRETS:
        assert secret not in said, said
        assert secret not in str(status)


async def test_p14_no_text_of_a_dream_is_in_the_last_errors(tmp_path):
    def fail(*_):
        raise ValueError("the river speaks of snow")

    async with serving(tmp_path) as service, await leo(service, generate=fail) as peer:
        await peer.call("dream.now", STIRRED)
        [error] = (await peer.call("status"))["last_errors"]
    assert (error["type"], error["where"], error["times"]) == ("ValueError", "generate (session 1)", 1)
