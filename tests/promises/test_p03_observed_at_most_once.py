"""P3: a line is observed at most once, whatever crashes."""

import socket
import subprocess
import sys

import pytest

from tests.helpers.daemons.process import DaemonProcess
from tests.helpers.peer import HELLO, answered
from tests.helpers.state_folder import rows
from tests.helpers.waiting import until

# A leo of its own process, whose observe writes down what it heard and then never answers.
LEO = """
import os, socket, sys, msgpack
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(msgpack.packb([0, 1, "hello", [{"protocol": 1, "name": "leo", "provides": ["generate", "observe"]}]]))
sock.sendall(msgpack.packb([0, 2, "dream.now", [{"prompt": "hello"}]]))
unpacker = msgpack.Unpacker()
heard = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
while data := sock.recv(1 << 16):
    unpacker.feed(data)
    for message in unpacker:
        if message[0] == 0 and message[2] == "generate":
            sock.sendall(msgpack.packb([1, message[1], None, "the river under the house"]))
        elif message[0] == 0:
            os.write(heard, message[3][0].encode() + b"\\n")
"""


@pytest.mark.parametrize("killed", ["daemon", "leo"])
def test_p2_p3_killed_between_record_and_observes_answer(tmp_path, killed):
    """The row is there before the call. If either side dies, the line is not observed again, and not lost (P5)."""
    daemon = DaemonProcess(tmp_path / "s").start()
    heard = tmp_path / "heard"
    host = subprocess.Popen([sys.executable, "-c", LEO, daemon.socket, heard])
    until(lambda: heard.exists() and heard.read_text().endswith("\n"), "a line that leo has heard")
    assert rows(tmp_path / "s", "SELECT text, observed FROM dream_turns") == [
        ("the river under the house", "sent")
    ]
    if killed == "daemon":
        daemon.kill()
        host.wait(20)
        daemon.start()
    else:
        host.kill()
        host.wait(20)
    until(lambda: daemon.call("status")["dialogues"], "the end of the dialogue")
    [outcome] = daemon.call("status")["dialogues"]
    assert outcome == "left"  # the field that it feeds is not known: it does not go on
    with socket.socket(socket.AF_UNIX) as again:  # the same leo comes back, and hears nothing
        again.connect(str(daemon.socket))
        again.sendall(HELLO)
        assert answered(again)[0] == 1
        again.settimeout(0.2)
        with pytest.raises(TimeoutError):
            again.recv(1)
    daemon.stop()
    assert heard.read_text() == "the river under the house\n"
    kept = rows(
        tmp_path / "s",
        "SELECT observed, shard_at IS NOT NULL FROM dream_turns JOIN dream_dialogs ON dream_dialogs.id = dialog_id",
    )
    assert kept == [("sent" if killed == "daemon" else "failed", 1)]
    assert len(list((tmp_path / "s" / "inbox" / "dreams").glob("*.json"))) == 1
