"""docs/reference/protocol.md and the code say the same: its worked bytes, its methods, its codes, its limits."""

import json
import re
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, get_args

import msgpack
import pytest
from dreamclient.messages import (
    ADDED_BYTES,
    CALLS_IN_FLIGHT,
    MESSAGE_BYTES,
    NESTING,
    PAGE,
    PROTOCOL_VERSION,
    Code,
    LineMeta,
    LineMetrics,
    Method,
)
from dreamclient.protocol import rpc
from dreamclient.protocol.rpc import Notification, Peer, Reply, Request

from dreamd.dream import gate
from dreamd.dream.outcomes import Outcome
from dreamd.wire import codec as typed
from dreamd.wire.handlers import TABLE

TEXT = (Path(__file__).parents[2] / "docs/reference/protocol.md").read_text()
WORKED = re.findall(r"^```wire\n(.+)\n((?:[0-9a-f ]+\n)+)```$", TEXT, re.MULTILINE)


def section(title: str) -> str:
    return TEXT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(title: str) -> list[list[str]]:
    """Return the cells of the first table of a section, without its head."""
    table = section(title).split("\n| ", 1)[1].split("\n\n", 1)[0]
    lines = f"| {table}".splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def names(title: str) -> list[str]:
    return [row[0].strip("`") for row in rows(title)]


def test_the_document_has_worked_bytes() -> None:
    assert len(WORKED) == TEXT.count("```wire") >= 8


@pytest.mark.parametrize(("message", "worked"), WORKED)
@pytest.mark.parametrize("codec", [rpc.PLAIN, typed.CODEC], ids=["client", "daemon"])
def test_worked_bytes_are_what_both_ends_write_and_read(codec: rpc.Codec, message: str, worked: str) -> None:
    said, data = json.loads(message), bytes.fromhex(worked)
    assert msgpack.unpackb(data) == said
    assert codec.encode(said) == data
    peer = Peer(codec)
    peer.pending[said[1]] = "token"
    (event,) = peer.receive_data(data)
    assert type(event) is (Request, Reply, Notification)[said[0]]


def test_worked_calls_are_what_a_peer_makes() -> None:
    for message, worked in WORKED:
        data = bytes.fromhex(worked)
        peer = Peer()
        match json.loads(message):
            case [0, msgid, method, params]:
                peer._ids = count(msgid)
                assert peer.call(method, params, "token") == (msgid, data)
            case [1, msgid, None, result]:
                assert peer.respond(msgid, result) == data
            case [1, msgid, error, None]:
                assert peer.fail(msgid, *error) == data
            case [2, method, params]:
                assert peer.notify(method, params) == data


def test_the_code_table_is_the_code() -> None:
    documented = {name: int(code) for code, name, _ in rows("Errors")}
    assert documented == {name: code for name, code in vars(Code).items() if name.isupper()}


HOOKS = [Method.GENERATE, Method.OBSERVE, Method.RECALL, Method.UNOBSERVE]


def test_every_method_is_documented_where_it_is_served() -> None:
    assert names("Methods that the daemon serves") == [
        name for key, name in vars(Method).items() if key.isupper() and name in TABLE
    ]
    assert set(names("Methods that the daemon serves")) == set(TABLE)
    assert names("Methods that a host serves") == HOOKS
    assert names("Notifications of the daemon") == [Method.EVENT, Method.ERROR]


@pytest.mark.parametrize("row", rows("Methods that the daemon serves"), ids=lambda row: row[0])
def test_params_are_documented_as_many_as_there_are(row: list[str]) -> None:
    method, documented = row[0].strip("`"), row[1].split("`")[1]
    shape = TABLE[method].shape
    inner = re.sub(r"\{.*\}", "map", documented.strip("[]"))
    parts = [part for part in inner.split(", ") if part]
    assert len(parts) == len(shape.__struct_fields__)
    assert sum(" = " in part for part in parts) == len(shape.__struct_defaults__)


@pytest.mark.parametrize("reason", gate.REASONS)
def test_every_reason_is_documented(reason: str) -> None:
    assert f"`{reason}`" in section("Methods that the daemon serves")


def words(first: str) -> list[str]:
    """Return the words in the first column of the table of the methods' section that begins with `first`."""
    table = (
        section("Methods that the daemon serves").split(f"| {first} | meaning |", 1)[1].split("\n\n", 1)[0]
    )
    return [word for row in table.splitlines()[2:] for word in re.findall(r"`(\w+)`", row.split("|")[1])]


def test_the_reasons_and_outcomes_are_those_of_the_code() -> None:
    assert sorted(words("reason")) == sorted(gate.REASONS)
    assert sorted(words("outcome")) == sorted(get_args(Outcome))


@pytest.mark.parametrize("shape", [LineMeta, LineMetrics])
def test_documents_the_arguments_and_answers_of_hooks(shape: Any) -> None:
    documented = section("Methods that a host serves")
    assert [key for key in shape.__annotations__ if not re.search(rf"\b{key}\b", documented)] == []


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (lambda value: f"is at most {value} bytes", MESSAGE_BYTES),
        (lambda value: f"of more than {value} bytes", MESSAGE_BYTES),
        (lambda value: f"of at most {value} bytes", ADDED_BYTES),
        (lambda value: f"nest at most {value} levels", NESTING),
        (lambda value: f"`n` is at most {value}.", PAGE),
        (lambda value: f"at most {value} requests without an answer", CALLS_IN_FLIGHT),
        (lambda value: f"more than {value} calls", CALLS_IN_FLIGHT),
        (lambda value: f"`PROTOCOL_VERSION` {value}.", PROTOCOL_VERSION),
    ],
)
def test_limits_are_written_as_they_are(written: Callable[[int], str], value: int) -> None:
    assert written(value) in TEXT
