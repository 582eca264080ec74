"""A plain MessagePack-RPC peer, made of msgpack and a socket, dreams with the daemon."""

import json
import socket

import msgpack
import pytest

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.waiting import until

SAID = [
    "The river speaks!",
    "I hear the river speak of snow",
    "snow on the dark river",
    "LIGHT and more light",
]


class Plain:
    def __init__(self, path):
        self.connection, self.unpacker = socket.socket(socket.AF_UNIX), msgpack.Unpacker()
        self.connection.settimeout(20)
        self.connection.connect(str(path))
        self.msgid, self.lines, self.line, self.generated, self.observed = 0, iter(SAID), "", [], []

    def call(self, method, *params):
        self.msgid += 1
        self.connection.sendall(msgpack.packb([0, self.msgid, method, list(params)]))
        while True:
            for message in self.unpacker:
                if message[0] == 1 and message[1] == self.msgid:
                    assert message[2] is None, message[2]
                    return message[3]
                if message[0] == 0:
                    self.serve(*message[1:])
            self.unpacker.feed(self.connection.recv(65536))

    def serve(self, msgid, method, params):
        answer = None
        if method == "generate":
            seed, temperature, semantic_weight, meta = params
            if meta["candidate"] == 1:
                self.generated.append((meta["turn"], meta["speaker"], seed, temperature, semantic_weight))
                self.line = next(self.lines)
            answer = self.line
        else:
            text, meta = params
            self.observed.append((meta["turn"], meta["speaker"], text))
        self.connection.sendall(msgpack.packb([1, msgid, None, answer]))


@pytest.fixture
def plain(tmp_path):
    with DaemonProcess(tmp_path / "state") as daemon:
        peer = Plain(daemon.socket)
        yield peer
        peer.connection.close()


def test_a_plain_client_drives_a_dream_and_all_records_agree(plain, tmp_path):
    """P2, P5: three or four lines are observed in order, and the rows and the inbox file agree."""
    hello = plain.call(
        "hello",
        {"protocol": 1, "name": "plain", "version": "1", "pid": 1, "provides": ["generate", "observe"]},
    )
    assert (hello["protocol"], hello["seeded"]) == (1, False)
    assert plain.call("status")["sessions"][0]["name"] == "plain"
    assert plain.call("dream.seed", {"origin": ["I am small. I listen."], "readme": ["Leo drifts."]}) == 2
    ended = plain.call("dream.now", {"prompt": "hello", "reply": "here I am", "trauma_level": 0.9}, None)
    assert ended["outcome"] == "complete"
    assert len(plain.observed) == ended["lines"] in (3, 4)
    assert [turn for turn, *_ in plain.observed] == list(range(1, ended["lines"] + 1))
    dialog = plain.call("dialogs.get", ended["dialog"])
    assert [(t["turn"], t["speaker"], t["text"]) for t in dialog["turns"]] == plain.observed
    asked = [
        (t["turn"], t["speaker"], t["seed"], t["temperature"], t["semantic_weight"]) for t in dialog["turns"]
    ]
    assert asked == plain.generated
    path = tmp_path / "state" / "inbox" / "dreams" / f"{dialog['trace_id']}.json"
    until(path.exists, "its file")
    file = json.loads(path.read_text())
    assert [(s["index"] + 1, s["speaker"], s["text"]) for s in file["shards"]] == plain.observed
    assert [n["trace"]["order"] for n in file["matada_nodes"]] == [turn for turn, *_ in plain.observed]
