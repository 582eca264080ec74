"""Changes of MessagePack that keep it MessagePack: a value takes the place of another, and the rest stays whole."""

import random
import struct
from contextlib import suppress
from typing import Any

import msgpack

NUMBERS = (
    0,
    1,
    -1,
    3,
    127,
    128,
    255,
    256,
    65535,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
    (1 << 64) - 1,
)
FLOATS = (0.0, -0.0, 0.5, 1.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf"), 3.0)
TEXTS = (
    "",
    "x",
    "é" * 40,
    "a" * 70,
    "\0",
    "../x",
    "leo",
    "generate",
    "t1",
    "text",
    "{}",
    "\udc80y",
    "x" * 5000,
)
KINDS = (
    None,
    True,
    False,
    b"",
    b"\xff\xfe",
    [],
    {},
    [[]],
    {"": None},
    msgpack.ExtType(1, b"a"),
    msgpack.Timestamp(-1),
)
LENGTHS = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}


def unpack_stream(data: bytes) -> list[Any]:
    """Return the whole messages at the beginning of a stream."""
    unpacker = msgpack.Unpacker(strict_map_key=False, unicode_errors="surrogateescape")
    unpacker.feed(data)
    found = []
    with suppress(Exception):  # the rest is no MessagePack; what came before stays
        found.extend(unpacker)
    return found


def pack_stream(messages: list[Any]) -> bytes:
    """Return the bytes of messages."""
    packer = msgpack.Packer(unicode_errors="surrogateescape")
    return b"".join(packer.pack(message) for message in messages)


def mutate_stream(data: bytes, chance: random.Random) -> bytes:
    """Change some values of a stream of MessagePack, or its order, or the bytes of it."""
    try:
        messages = unpack_stream(data)
        for _ in range(chance.choice((1, 1, 2, 4))):
            messages = _changed(messages, chance, 0)
        data = pack_stream(messages)
    except (ValueError, OverflowError, TypeError, RecursionError):
        pass
    return _torn(data, chance) if chance.random() < 0.3 else data


def _changed(value: Any, chance: random.Random, depth: int) -> Any:
    """Return a value with one change in it."""
    if isinstance(value, list) and value and chance.random() < 0.9:
        value = list(value)
        at, how = chance.randrange(len(value)), chance.random()
        if how < 0.75 and depth < 30:
            value[at] = _changed(value[at], chance, depth + 1)
        elif how < 0.83:
            del value[at]
        elif how < 0.91:
            value.insert(at, chance.choice(value))
        else:
            value.insert(at, _odd(chance))
        return value
    if isinstance(value, dict) and value and chance.random() < 0.9:
        value = dict(value)
        key, how = chance.choice(list(value)), chance.random()
        if how < 0.8 and depth < 30:
            value[key] = _changed(value[key], chance, depth + 1)
        elif how < 0.9:
            del value[key]
        else:
            value[chance.choice(("", "x", 1, b"x", key))] = _odd(chance)
        return value
    if isinstance(value, list) and depth == 0:
        return [*value, [0, 1, "status", []]]
    return _other(value, chance)


def _other(value: Any, chance: random.Random) -> Any:
    how = chance.random()
    if type(value) is int and how < 0.4:
        return max(-(1 << 63), min((1 << 64) - 1, value + chance.choice((-1, 1, 2, 1 << 8, 1 << 16))))
    if isinstance(value, str) and how < 0.5:
        at = chance.randrange(len(value) + 1)
        return (
            value[:at]
            + chance.choice(("", "\0", "é", "\u2028", value[:40]))
            + value[at + chance.randrange(3) :]
        )
    return _odd(chance)


def _odd(chance: random.Random) -> Any:
    found = chance.choice(chance.choice((NUMBERS, FLOATS, TEXTS, KINDS)))
    for _ in range(chance.choice((0, 0, 0, 1, 3, 40))):
        found = [found]
    return found


def _torn(data: bytes, chance: random.Random) -> bytes:
    """Cut, double or flip bytes, or make a length lie."""
    if not data:
        return data
    at, how = chance.randrange(len(data)), chance.random()
    if how < 0.2:
        return data[:at]
    if how < 0.3:
        return data[:at] + data[at : at + chance.randrange(1, 9)] + data[at:]
    lengths = [place for place, byte in enumerate(data[:400]) if byte in LENGTHS]
    if how < 0.6 and lengths:
        place = chance.choice(lengths)
        width = LENGTHS[data[place]]
        lie = struct.pack(">I", chance.choice((0, 1, 255, 65535, 1 << 20, (1 << 20) + 1, (1 << 32) - 1)))[
            -width:
        ]
        return data[: place + 1] + lie + data[place + 1 + width :]
    return (
        data[:at]
        + bytes([chance.choice((data[at] ^ 1 << chance.randrange(8), 0xC1, 0xDD, 0x94))])
        + data[at + 1 :]
    )
