"""Any value of MessagePack, as every param of every method and as the answer of every hook. Each call is answered, each
dialogue ends, the daemon has no fault of its own, and nothing is left behind."""

import asyncio
import math
import os
import random
import struct
from contextlib import suppress

import msgpack
import pytest

from dreamd.wire.handlers import TABLE
from tests.helpers.daemons.in_loop import serving
from tests.helpers.dreaming import STIRRED, leo, settled
from tests.helpers.peer import PeerError, PlainPeer

ODD = [
    b"\xc0", b"\xc2", b"\xc3", b"\x00", b"\x01", b"\xff", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7),
    *(b"\xcb" + struct.pack(">d", x) for x in (0.0, -0.0, 1.0, 0.5, 1e300, 2.0**63, 5e-324, math.nan, math.inf)),
    b"\xca\x7f\x80\x00\x00", b"\xa0", b"\xa1x", b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\xd9\x05hello", b"\xc4\x00",
    b"\xc4\x01\xff", b"\xd4\x05a", b"\xc7\x00\xff", b"\xc7\x05\xff12345", b"\xd6\xff" + b"\xff" * 4,
    b"\xd7\xff" + b"\xff" * 8,
    *(b"\xc7\x0c\xff" + struct.pack(">Iq", *at) for at in ((0, 253402300800), (0, -(2**63)), (2**32 - 1, 2**63 - 1))),
    b"\x90", b"\x80", b"\xdc\x00\x00", b"\xdf\x00\x00\x00\x00", b"\x91" * 40 + b"\xc0", b"\x91" * 500 + b"\xc0",
]  # fmt: skip
KEYS = [
    "protocol", "name", "version", "pid", "provides", "failures", "prompt", "reply", "math_state", "pulse", "novelty",
    "trauma_level", "themes", "expert", "quality", "origin", "readme", "text", "weight", "seed", "result", "cap_token",
    "trace_id", "shards", "scopes", "taken", "trauma", "arousal", "dialog", "added_at", "exp_ts",
]  # fmt: skip
TEXTS = ["leo", "generate", "observe", "t1", "memory.inbox.dreams.write", "a line of some words", "previous"]


def value(chance: random.Random, depth: int = 3) -> bytes:
    """Return a value as bytes."""
    kind = chance.random()
    if depth == 0 or kind < 0.4:
        return chance.choice(ODD)
    if kind < 0.55:
        return msgpack.packb(chance.choice(TEXTS))
    parts = [value(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind < 0.7:
        return bytes([0x90 | len(parts)]) + b"".join(parts)
    keys = [
        msgpack.packb(chance.choice(KEYS)) if chance.random() < 0.9 else chance.choice(ODD) for _ in parts
    ]
    return bytes([0x80 | len(parts)]) + b"".join(key + part for key, part in zip(keys, parts, strict=True))


class Raw(PlainPeer):
    """A peer that sends values as bytes, and reads no answer but its number and its error."""

    async def ask(self, msgid: int, method: str, params: list[bytes]) -> int:
        """Return the code of the answer, 0 for a result."""
        answer = self._waiting[msgid] = asyncio.get_running_loop().create_future()
        head = b"\x94\x00" + msgpack.packb(msgid) + msgpack.packb(method)
        self.send(head + bytes([0x90 | len(params)]) + b"".join(params))
        try:
            async with asyncio.timeout(20):
                await answer
        except PeerError as error:
            return error.code
        return 0


def own_faults(failures: dict[str, int]) -> list[str]:
    """Return the failures of the daemon's own parts, and those with the name of an exception that is no refusal."""
    places = ("engine: ", "daemon: ", "store: ")
    return [key for key in failures if key.startswith(places) or key.endswith(("TypeError", "OverflowError"))]


@pytest.mark.parametrize("seed", range(20 if os.environ.get("HUNT") else 1))
async def test_any_value_as_params_of_every_method(tmp_path, seed):
    chance = random.Random(seed)
    async with serving(tmp_path, gate__chance=1, gate__cooldown_s=0) as service, await leo(service) as other:
        async with await Raw.connect(service.socket) as peer:
            await peer.hello("fuzz")
            codes = set()
            for msgid in range(1000, 1600):
                method = chance.choice(sorted(set(TABLE) - {"shutdown"}))
                params = [value(chance) for _ in range(chance.choice((0, 1, 1, 1, 2, 3)))]
                code = await peer.ask(msgid, method, params)
                assert code != 1, (method, params)
                codes.add(code)
                if chance.random() < 0.2:
                    peer.send(b"\x93\x02" + msgpack.packb(method) + b"\x91" + value(chance))
            assert {0, 2} <= codes
        await settled(service)
        assert own_faults(service.failures.counts) == []
        assert (await other.call("dream.now", STIRRED))["outcome"] in ("complete", "repeat")
        assert len(service.sessions) == 1
        assert service.subscriptions.subscribers == set()
        assert service.subscriptions.taps == {}


@pytest.mark.parametrize("seed", range(20 if os.environ.get("HUNT") else 1))
async def test_any_value_as_answer_of_every_hook(tmp_path, seed):
    chance = random.Random(seed)
    async with (
        serving(tmp_path, dialogue__call_deadline_s=5) as service,
        await Raw.connect(service.socket) as peer,
    ):
        asked = peer._take

        async def take(message):
            """Answer a call of the daemon with anything, as a result or as an error."""
            if message[0] != 0:
                return await asked(message)
            error, result = b"\xc0", value(chance)
            if chance.random() < 0.3:
                error, result = chance.choice((value(chance), b"\x93\x0b\xa1x" + value(chance))), b"\xc0"
            elif message[2] == "generate" and chance.random() < 0.5:
                result = msgpack.packb(f"a line {chance.random()} of {chance.random()}")
            return peer.send(b"\x94\x01" + msgpack.packb(message[1]) + error + result)

        peer._take = take
        outcomes = set()
        for _ in range(120):
            if peer.reading.done():  # an error that no map can have cost the connection
                await peer.close()
                peer = await Raw.connect(service.socket)
                asked, peer._take = peer._take, take
            await peer.hello(provides=["generate", "observe", "recall"])
            with suppress(ConnectionError):
                outcomes.add((await peer.call("dream.now", STIRRED))["outcome"])
        await settled(service)
        assert "hook_error" in outcomes
        assert own_faults(service.failures.counts) == []
        assert service.engine.dialogues.running == {}
        found = await service.store.recent(1000)
        assert [each for each in found if each["outcome"] is None] == []
        await peer.close()
